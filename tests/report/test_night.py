# SPDX-License-Identifier: GPL-2.0-only
"""What is told of a night."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_run

from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.errors import HostError
from orchestrator.model.results import RunResult
from orchestrator.report import night

URL = "https://ci.example.org/r/"


def whole(run: RunResult) -> RunResult:
    return replace(run, run=replace(run.run, complete=True))


def test_silent_is_clean_complete_and_without_trouble() -> None:
    good = sample_run.good_run()
    assert night.is_silent(whole(good), ())
    assert not night.is_silent(whole(good), ("the update failed",))
    assert not night.is_silent(good, ())
    assert not night.is_silent(whole(sample_run.broken_run()), ())


def test_a_red_night() -> None:
    good, bad = sample_run.good_run(), sample_run.broken_run()
    told = night.letter(bad, compare(good, bad), URL)
    assert told.subject.startswith("lab nightly: ERROR: ")  # the host's part comes first
    assert len(told.subject) <= 150
    assert told.text.startswith("Tested: ")
    assert f"  report    {URL}\n" in told.text


def test_a_night_that_was_cut_and_one_with_trouble() -> None:
    run = sample_run.good_run()
    left = replace(run.cells[1], cases=(), notes=(BUDGET,))
    cut = night.letter(replace(run, cells=(run.cells[0], left)), None, URL)
    assert cut.subject.endswith("; 1 cell not run: time budget")
    told = night.letter(run, None, URL, ("the update failed: " + "word " * 30, "and\nmore"))
    assert "; the update failed: " in told.subject
    assert told.text.startswith("Trouble: the update failed: word ")
    assert "\nTrouble: and [1 more]\n\nTested: " in told.text
    assert max(len(line) for line in told.text.split("\n\n")[0].splitlines()) <= 72


@pytest.mark.parametrize("message", ["no\nspace", "a\x1b]0;owned\x07 b"])
def test_no_run(message: str) -> None:
    told = night.no_run(HostError(message, "make some"))
    assert told.subject.startswith("lab nightly: ERROR: no run: ")
    assert told.subject.isprintable()
    assert told.text.endswith("\nmake some\n")
