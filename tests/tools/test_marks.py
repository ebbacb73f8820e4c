# SPDX-License-Identifier: GPL-2.0-only
"""tools/marks.py: a page's part between two marks, and how campaigns run and keep their records."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import marks
import pytest
from marks import put_between, run_lab, source_text, work_folder


def test_the_table_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- a -->\nold\n<!-- end -->\nbelow\n")
    put_between(page, "<!-- a -->\n", "<!-- end -->", "new")
    assert page.read_text() == "above\n<!-- a -->\nnew\n<!-- end -->\nbelow\n"


def test_records_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert work_folder("lab-clean") == Path("/var/x/lab-clean")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert work_folder("lab-clean") == Path.home() / ".cache" / "lab-clean"


@pytest.mark.parametrize(("budget", "told"), [(None, "whole\n"), (3.0, "interrupted\n")])
def test_a_lab_whose_time_is_up_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float | None, told: str
) -> None:
    out = tmp_path / "out"
    lab = tmp_path / "lab"
    lab.write_text(
        "#!/usr/bin/env python3\nimport sys, time\n"
        f"out = open({str(out)!r}, 'w')\n"
        "try:\n    time.sleep(float(sys.argv[1]))\n    out.write('whole\\n')\n"
        "except KeyboardInterrupt:\n    out.write('interrupted\\n')\n"
    )
    lab.chmod(0o755)
    monkeypatch.setattr(marks, "LAB", lab)
    began = time.monotonic()
    run_lab(["0" if budget is None else "60"], budget, grace=30)
    assert out.read_text() == told
    assert time.monotonic() - began < 30


def test_the_text_of_what_was_tested(tmp_path: Path) -> None:
    store = tmp_path / "kernels.git"
    subprocess.run(["git", "init", "-q", "--bare", store], check=True, timeout=20)

    def git(*words: str, text: str) -> str:
        argv = ["git", "--git-dir", str(store), *words]
        return subprocess.run(
            argv, input=text, capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    blob = git("hash-object", "-w", "--stdin", text="int x;\n")
    tree = git("mktree", text=f"100644 blob {blob}\tx.c\n")
    results = {"run": {"host": {"cache": str(tmp_path)}}}
    assert source_text(results, {"tree": tree}, "x.c") == "int x;\n"
