# SPDX-License-Identifier: GPL-2.0-only
"""A run in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_run

from orchestrator import HOME
from orchestrator.commands.brief import brief
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import summary_of
from orchestrator.model.results import RunResult
from orchestrator.results import store

REPORTS = Path("/elsewhere/reports/r")


def ended(run: RunResult, status: int) -> RunResult:
    run = replace(run, problems=()) if status != 3 else run
    return replace(run, run=replace(run.run, exit_status=status), summary=summary_of(run))


def stored(name: str) -> RunResult:
    run = store.load(HOME / "tests/data/runs" / name)
    return ended(run, run.run.exit_status)


def test_a_good_run() -> None:
    line = brief(ended(sample_run.good_run(), 0), None, REPORTS, 96.4)
    assert line == "pass: 15 cases in 2 cells, 96 s"


def test_a_run_that_only_builds() -> None:
    run = replace(sample_run.good_run(), cells=())
    assert brief(ended(run, 0), None, REPORTS, 300) == "pass: 2 builds, 5 min"


def test_a_series_that_is_wrong() -> None:
    assert brief(stored("drift"), None, REPORTS, 51) == (
        "FAIL: BUG: Bad rss-counter state type:MM_ANONPAGES in 13 workloads and 1 more cause, "
        "78 cases fail; /elsewhere/reports/r"
    )
    assert brief(stored("compile"), None, REPORTS, 51) == (
        "FAIL: cli/default/x86_64: mm/ksm.c:2: error: 'nothing_here' undeclared (first use in this "
        "function), 1 case fails; /elsewhere/reports/r"
    )


def test_what_regressed_comes_first() -> None:
    run = sample_run.broken_run()
    before = sample_run.good_run()
    line = brief(ended(run, 1), compare(before, run), REPORTS, 9)
    assert line.startswith("FAIL: WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap and ")
    assert " regressed; " in line
    assert brief(ended(run, 0), compare(run, run), REPORTS, 9).endswith(
        ", 4 cases fail and none regressed, 9 s"
    )


def test_the_hosts_trouble() -> None:
    line = brief(replace(stored("hostile"), problems=()), None, REPORTS, 9)
    assert line.startswith("ERROR: faults/g-truncated:ktap: incomplete: 3 cases planned, 1 seen")
    run = replace(sample_run.good_run(), problems=("no space left\non /dev/vda",), cells=())
    line = brief(ended(run, 3), None, REPORTS, 9)
    assert line == "ERROR: no space left [1 more]; /elsewhere/reports/r"


def test_an_interrupted_run_and_one_that_tried_nothing() -> None:
    line = brief(ended(sample_run.good_run(), 130), None, REPORTS, 9)
    assert line == "interrupted: 15 cases in 2 cells so far; /elsewhere/reports/r"
    empty = replace(sample_run.good_run(), cells=(), builds=(), kernels=())
    assert brief(ended(empty, 3), None, REPORTS, 9).startswith("ERROR: nothing was executed; ")


def test_a_reruns_answer() -> None:
    run = ended(sample_run.broken_run(), 1)
    line = brief(run, None, REPORTS, 9, "k/c/x86_64/s:w:c: fails again")
    assert line == "FAIL: k/c/x86_64/s:w:c: fails again; /elsewhere/reports/r"


def test_the_folder_is_as_one_would_type_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    line = brief(stored("drift"), None, tmp_path / "reports" / "r", 51)
    assert line.endswith("; reports/r")


def test_a_guests_words_stay_on_the_line() -> None:
    run = sample_run.broken_run()
    run = replace(run, problems=("the guest said \x1b]0;owned\x07\u202e",))
    line = brief(ended(run, 3), None, REPORTS, 9)
    assert "owned" in line
    assert line.isprintable()


# ---------------------------------------------------------------- on the command line


@pytest.mark.parametrize("command", [("run",), ("build",), ("rerun", "latest", "x")])
def test_one_line_for_people_is_not_for_scripts(command: tuple[str, ...], lab: Any) -> None:
    done = lab(*command, "--quiet", "--json")
    assert done.status == 2
    assert "--quiet" in done.err


def test_wrong_input_is_told_all_the_same(lab: Any) -> None:
    done = lab("run", "-q", "--kernel", "nothing")
    assert done.status == 2
    assert "nothing" in done.err
    assert done.out == ""


def test_causes_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator.commands.summary import print_summary

    print_summary(stored("drift"), None, tmp_path, 1.0, as_json=True)
    told = json.loads(capsys.readouterr().out)["causes"]
    assert [(c["kind"], len(c["cases"]), len(c["after"])) for c in told] == [
        ("report", 13, 0), ("counter", 11, 54),
    ]  # fmt: skip
    assert all(c["again"].startswith("lab rerun ") for c in told)
    print_summary(sample_run.good_run(), None, tmp_path, 1.0, as_json=True)
    assert "causes" not in json.loads(capsys.readouterr().out)
