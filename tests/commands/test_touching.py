# SPDX-License-Identifier: GPL-2.0-only
"""``lab list --touching``, over counts in a cache of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.commands.touching import list_touching
from orchestrator.commands.workspace import find_places
from orchestrator.model.coverage import Coverage, FileCode, Function, Lines
from orchestrator.model.errors import UserError
from orchestrator.runner.coverage_map import remember

CODE = {
    "mm/mmap.c": FileCode(
        Lines((3, 13)),
        (Function("do_mmap", 1, 5), Function("gone", 11, 15), Function("idle", 20, 22)),
    )
}
RAN = {"a/map": {"mm/mmap.c": Lines((3,))}, "a/gone": {"mm/mmap.c": Lines((13,))}}
PATCH = """From: A <a@example.org>
Subject: [PATCH] mm/mmap: x
---
diff --git a/mm/mmap.c b/mm/mmap.c
--- a/mm/mmap.c
+++ b/mm/mmap.c
@@ -10,5 +10,6 @@ int gone(void)
 ten
 eleven
+new
 twelve
 thirteen
 fourteen
"""


@pytest.fixture(autouse=True)
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    remember(Coverage(CODE, RAN), "x86_64", "6.12", find_places(anywhere=True).cache)


def test_by_function_and_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_touching("do_mmap", False) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ["a/map", "x86_64", "do_mmap"]
    assert list_touching("mm/mmap.c", True) == 0
    assert [one["workload"] for one in json.loads(capsys.readouterr().out)] == ["a/gone", "a/map"]


def test_a_file_of_the_kernel_may_stand_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/mmap.c").write_text("int x;\n")
    for name in ("mm/mmap.c", "./mm/mmap.c"):
        assert list_touching(name, False) == 0
        assert "a/gone" in capsys.readouterr().out


def test_a_series_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"nothing/there\.patch"):
        list_touching("nothing/there.patch", False)


def test_by_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.patch").write_text(PATCH)
    assert list_touching("one.patch", False) == 0
    assert capsys.readouterr().out.split() == ["a/gone", "x86_64", "gone"]


def test_what_nobody_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_touching("idle", False) == 0
    assert "none of the 2 workloads that were counted runs any of idle" in capsys.readouterr().out
    assert list_touching("mm/mmap.c", False) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["run", "by", "none", "idle"]


def test_what_was_not_counted_is_not_called_run_by_nobody() -> None:
    with pytest.raises(UserError, match="no function do_mmp was counted") as found:
        list_touching("do_mmp", False)
    assert found.value.hint == "did you mean 'do_mmap'?"
    with pytest.raises(UserError, match=r"mm/ksm\.c was not counted"):
        list_touching("mm/ksm.c", False)


@pytest.mark.parametrize(
    "form",
    [
        "mm/mmap.c", "./mm/mmap.c", "/src/linux/mm/mmap.c", "../linux/mm/mmap.c", "mmap.c",
        "mm", "mm/", "/src/linux/mm", "mm/mmap.c:1-15",
    ],
)  # fmt: skip
def test_a_file_or_folder_of_the_kernel_in_whichever_form(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_touching(form, True) == 0
    assert [one["workload"] for one in json.loads(capsys.readouterr().out)] == ["a/gone", "a/map"]


def test_lines_of_a_file_and_a_function_with_its_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for form in ("mm/mmap.c:3", "do_mmap()"):
        assert list_touching(form, False) == 0
        assert capsys.readouterr().out.split()[:1] == ["a/map"]


def test_a_name_that_is_no_functions_is_taken_for_a_series() -> None:
    with pytest.raises(UserError, match=r"v3\.mbx"):
        list_touching("v3.mbx", False)


def test_a_series_says_what_of_it_was_not_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.patch").write_text(PATCH.replace("mm/mmap.c", "mm/ksm.c"))
    assert list_touching("one.patch", False) == 0
    told = capsys.readouterr()
    assert "not counted, so that nobody is known to run it: mm/ksm.c" in told.err
    assert "none of the 2 workloads" in told.out


def test_without_counts_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="nobody has counted"):
        list_touching("do_mmap", False)
