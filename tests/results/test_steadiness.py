# SPDX-License-Identifier: GPL-2.0-only
"""How steady a case is, from the history."""

import contextlib
import sqlite3
from dataclasses import replace

import pytest
from sample_run import good_run

from orchestrator.model.names import Verdict
from orchestrator.model.results import EarlierRuns
from orchestrator.results import history, steadiness

CASE = "default/x86_64/small:ledger/swap:counters"


def run_of(number: int, verdict: Verdict, tree: str = "a"):
    """A run whose kernel has the sources ``tree`` and in which CASE came to ``verdict``."""
    whole = good_run()
    cells = tuple(
        replace(cell, cases=tuple(
            replace(case, verdict=verdict) if case.id == f"cli/{CASE}" else case
            for case in cell.cases
        ))
        for cell in whole.cells
    )  # fmt: skip
    kernels = tuple(replace(kernel, tree=tree) for kernel in whole.kernels)
    info = replace(whole.run, id=f"r{number}", started=f"2026-01-01T00:00:{number:02}Z")
    return replace(whole, run=info, cells=cells, kernels=kernels)


def remember(db, *runs):
    for number, (verdict, tree) in enumerate(runs):
        history.record(db, run_of(number, Verdict(verdict), tree))


def earlier(db, tree="a"):
    """What the history has of the one case that fails in a new run."""
    run = steadiness.with_earlier(db, run_of(50, Verdict.FAIL, tree))
    cases = [case for cell in run.cells for case in cell.cases]
    assert [case.id for case in cases if case.earlier] in ([], [f"cli/{CASE}"])
    return next((case.earlier for case in cases if case.earlier), None)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], None),
        ([("pass", "a"), ("fail", "a"), ("pass", "a")], EarlierRuns(2, 1, 0, 0)),
        ([("fail", "a")], EarlierRuns(0, 1, 0, 0)),
        # Other sources count where the case has passed on them at least once.
        ([("fail", "b"), ("fail", "b")], EarlierRuns(0, 0, 0, 0)),
        ([("fail", "b"), ("pass", "b"), ("pass", "c")], EarlierRuns(0, 0, 2, 1)),
        ([("error", "a"), ("skip", "a")], None),
        # An earlier lab told no sources: its runs count for nothing.
        ([("pass", ""), ("fail", "")], None),
    ],
)
def test_what_a_failed_case_came_to_before(tmp_path, runs, expected):
    db = tmp_path / "history.sqlite"
    remember(db, *runs)
    assert earlier(db) == expected


def test_a_kernel_whose_sources_are_not_known_is_compared_with_none(tmp_path):
    remember(tmp_path / "h", ("pass", "a"))
    assert earlier(tmp_path / "h", tree="") is None


def test_a_failure_that_was_expected_did_not_pass(tmp_path):
    """Its verdict is a pass; a case that fails each time is not flaky for it."""
    db = tmp_path / "history.sqlite"
    remember(db, ("fail", "a"))
    run = run_of(9, Verdict.PASS)
    cells = tuple(
        replace(cell, cases=tuple(
            replace(case, reason="RssAnon drifts", expected="it drifts")
            if case.id == f"cli/{CASE}" else case for case in cell.cases
        ))
        for cell in run.cells
    )  # fmt: skip
    history.record(db, replace(run, cells=cells))
    assert earlier(db) == EarlierRuns(0, 1, 0, 0)
    assert steadiness.flaky(db) == ()


def test_another_image_of_the_same_sources_is_another_kernel(tmp_path):
    run = run_of(1, Verdict.PASS)
    builds = tuple(replace(build, image_sha256="other") for build in run.builds)
    history.record(tmp_path / "h", replace(run, builds=builds))
    assert earlier(tmp_path / "h") == EarlierRuns(0, 0, 1, 0)
    # What was not built was not booted either.
    builds = tuple(replace(build, image_sha256="") for build in run.builds)
    assert history.identities(replace(run, builds=builds)) == {}
    # On the host there is no build.
    assert set(history.identities(replace(run, builds=())).values()) == {"a"}


def test_the_run_itself_is_no_earlier_one(tmp_path):
    db = tmp_path / "h"
    history.record(db, run_of(50, Verdict.FAIL))
    assert earlier(db) is None


def test_a_case_that_passes_is_asked_nothing(tmp_path):
    run = run_of(3, Verdict.PASS)
    assert steadiness.with_earlier(tmp_path / "none", run) is run


def test_flaky_is_what_came_to_both_on_one_kernel(tmp_path):
    db = tmp_path / "h"
    remember(db, ("pass", "a"), ("fail", "a"), ("fail", "b"), ("pass", "a"))
    assert steadiness.flaky(db) == (steadiness.Flaky(CASE, 2, 1, "r3"),)
    assert steadiness.flaky(db, runs=2) == ()
    assert steadiness.flaky(tmp_path / "none") == ()


def test_a_history_of_before_learns_what_runs_ran_on(tmp_path):
    db = tmp_path / "h"
    remember(db, ("pass", "a"))
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("DROP TABLE made_of")
    assert earlier(db) is None
    history.record(db, run_of(1, Verdict.PASS))
    assert earlier(db) == EarlierRuns(1, 0, 0, 0)
