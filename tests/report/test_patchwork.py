# SPDX-License-Identifier: GPL-2.0-only
"""A run as a check of Patchwork."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_run

from orchestrator.judge.compare import compare
from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.report import patchwork
from orchestrator.report.patchwork import check, state

RUN = sample_run.good_run()


def ended(status: int, failed: bool = False, finished: str = "2024-01-05T11:30:00Z") -> RunResult:
    run = sample_run.broken_run() if failed else RUN
    return replace(run, run=replace(RUN.run, exit_status=status, finished=finished))


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (ended(0), "success"), (ended(1, True), "fail"), (ended(130, True), "pending"),
        (ended(130, finished=""), "pending"), (ended(0, finished=""), "pending"),
        (ended(3), "warning"), (ended(2), "warning"), (ended(3, True), "fail"),
    ],
)  # fmt: skip
def test_the_state_is_the_exit_status(run: RunResult, told: str) -> None:
    assert state(run, None) == told


def test_against_a_baseline_a_failure_is_what_regressed() -> None:
    broken = sample_run.broken_run()
    red = replace(broken, run=replace(broken.run, exit_status=3))
    assert state(red, compare(red, red)) == "warning"
    assert state(red, compare(sample_run.good_run(), red)) == "fail"


def test_what_fails_is_told_and_not_the_host_that_failed_besides() -> None:
    told = check(ended(3, True), None)
    assert told["state"] == "fail"
    assert told["description"].startswith("FAIL: WARNING at mm/userfaultfd.c")
    red = replace(sample_run.broken_run(), run=replace(sample_run.broken_run().run, exit_status=3))
    assert check(red, compare(red, red))["description"].startswith("ERROR: ")


def test_fields_are_such_as_patchwork_takes() -> None:
    assert check(RUN, None, "https://ci/1") == {
        "state": "success",
        "context": "lab-smoke",
        "description": "pass: 15 cases in 2 cells",
        "target_url": "https://ci/1",
    }
    other = replace(RUN, run=replace(RUN.run, profile="mein Profil/ö"))
    assert check(other, None)["context"] == "lab-mein-Profil"
    assert check(replace(RUN, run=replace(RUN.run, profile="")), None)["context"] == "lab"
    for context in ("a b", "ö", "x" * 256, "a\n"):
        with pytest.raises(UserError, match="--context"):
            check(RUN, None, context=context)
    with pytest.raises(UserError, match="200 characters, not 201"):
        check(RUN, None, "https://" + "x" * 193)


def test_a_description_is_one_line_of_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchwork, "gist", lambda _run, _against: "FAIL: \x1b[2J\n" + "ö" * 1000)
    told = check(RUN, None)["description"]
    assert len(told) <= patchwork.MOST_DESCRIPTION
    assert told.endswith("ö [...]")
    assert told.isprintable()
