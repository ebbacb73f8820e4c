# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab run`` does around a run: its folder, and its last words on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator import HOME
from orchestrator.commands.summary import print_summary
from orchestrator.judge.outcome import BUDGET


def test_the_summary_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = sample_run.broken_run()
    bad = replace(result, problems=("the compiler said \x1b]0;owned\x07",))
    print_summary(bad, None, tmp_path, 1.0, as_json=False)
    shown = capsys.readouterr().out
    assert "owned" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_summary_tells_of_cells_that_were_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample_run.good_run()
    left = replace(run.cells[1], cases=(), notes=(f"{BUDGET} before its build",))
    cut = replace(run, cells=(run.cells[0], left))
    print_summary(cut, None, tmp_path, 1.0, as_json=False)
    assert "\n1 cell not run: time budget\n" in capsys.readouterr().out
    print_summary(cut, None, tmp_path, 1.0, as_json=True)
    assert json.loads(capsys.readouterr().out)["not_run"] == [left.id]
    print_summary(run, None, tmp_path, 1.0, as_json=True)
    assert "not_run" not in json.loads(capsys.readouterr().out)


def test_a_workload_that_does_not_compile_is_told_first(
    lab: Callable[..., object], folder: Path
) -> None:
    """Before anything is fetched or built, and without a run left behind."""
    tests = folder / "guest-tests"
    (tests / "bad").mkdir(parents=True)
    (tests / "lib").symlink_to(HOME / "guest-tests" / "lib")
    (tests / "bad" / "x.c").write_text("int main(void) { return nothing_here; }\n")
    (tests / "bad" / "manifest.yaml").write_text(
        "family: bad\ndescription: broken\n"
        "workloads:\n  - {name: x, program: x.c, description: does not compile}\n"
    )
    (folder / "lab.yaml").write_text(
        "version: 1\nkernels: {k: {source: 'debian:6.12'}}\n"
        "configs: {default: {fragments: [base]}}\nshapes: {small: {}}\n"
        "default_profile: p\nworkload_folders: [guest-tests]\n"
        "profiles: {p: {matrix: [{configs: [default], arches: [x86_64], shapes: [small]}]}}\n"
    )
    done = lab("run")
    assert done.status == 2, done  # type: ignore[attr-defined]
    assert "x.c:1" in done.err  # type: ignore[attr-defined]
    assert not (folder / "reports").exists()
