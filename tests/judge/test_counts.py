# SPDX-License-Identifier: GPL-2.0-only
"""A failure that known issues excuse is counted as that: no pass, and no skip."""

from dataclasses import replace

from sample_run import broken_run, cell, cell_id, good_run

from orchestrator.judge.counts import (
    Counts,
    counts_of,
    counts_of_run,
    is_known_failure,
    is_skipped,
)
from orchestrator.model.names import UNFINISHED, Verdict
from orchestrator.model.results import CaseResult


def case(verdict, known="", judged="", name="y"):
    return CaseResult(f"k/c/a/s:w/x:{name}", "w/x", name, verdict, known=known, judged=judged)


def test_each_case_is_counted_once():
    found = [
        case(Verdict.PASS),
        case(Verdict.FAIL),
        case(Verdict.SKIP),
        case(Verdict.ERROR),
        case(Verdict.SKIP, "why", "fail: so"),  # a case that fails as lab.yaml says
        case(Verdict.PASS, "why", "fail: so"),  # a kernel log whose reports are all known
    ]
    assert counts_of(found) == Counts(passed=1, failed=1, known=2, skipped=1, errors=1)
    assert counts_of(found).total == len(found)


def test_what_a_lost_guest_left_undone_was_skipped():
    undone = case(Verdict.SKIP, "why", name=UNFINISHED)
    waiting = case(Verdict.SKIP, "why", "skip: the guest was lost")
    for one in (undone, waiting):
        assert not is_known_failure(one)
        assert is_skipped(one)


def test_a_case_that_fails_besides_is_no_known_failure():
    assert not is_known_failure(case(Verdict.FAIL, "why"))
    assert not is_known_failure(case(Verdict.ERROR, "why"))


def test_a_run_that_an_older_lab_stored_tells_it_too():
    assert is_known_failure(case(Verdict.SKIP, "why"))


def test_a_run_has_its_series_and_builds_counted():
    run = broken_run()
    assert counts_of_run(run) == Counts(passed=11, failed=4, errors=1)
    assert counts_of_run(run).total == 16


def test_a_problem_without_a_case_is_an_error():
    run = replace(good_run(), problems=("no space",))
    assert counts_of_run(run).errors == 1
    empty = replace(run, kernels=(), builds=(), cells=(), problems=("no QEMU", "no space"))
    assert counts_of_run(empty) == Counts(errors=2)
    lost = (case(Verdict.ERROR),)
    cells = (cell("cli", "x86_64", lost, id=cell_id("cli", "x86_64")),)
    assert counts_of_run(replace(run, cells=cells)).errors == 1
