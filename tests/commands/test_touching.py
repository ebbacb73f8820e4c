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
    "mm/mmap.c": FileCode(Lines((3, 13)), (Function("do_mmap", 1, 5), Function("gone", 11, 15)))
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
    assert list_touching("do_brk", False) == 0
    assert "none of the 2 workloads that were counted runs any of do_brk" in capsys.readouterr().out


def test_without_counts_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="nobody has counted"):
        list_touching("do_mmap", False)
