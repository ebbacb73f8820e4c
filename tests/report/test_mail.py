# SPDX-License-Identifier: GPL-2.0-only
"""A run as plain text for a mail."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample_run
from covered_run import covered_run

from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.names import Verdict
from orchestrator.report.mail import WIDTH, render

WHO = "A Tester <tester@example.org>"


def test_what_was_tested_is_said_first():
    lines = render(sample_run.good_run(), None).splitlines()
    assert lines[0] == "Tested: 2 patches on 6.12.48: userfaultfd: count the pages a move takes"
    assert lines[2] == "  base      debian:6.12 (6.12.48)"
    assert lines[3].startswith("  patches   1/2 9f2c1d4e5b6a ")
    assert "  configs   default/small (x86_64, arm64)" in lines
    assert "  result    15 pass, 0 fail, 1 skipped, 0 error: all as expected" in lines


def test_sentences_keep_to_the_columns_and_what_is_pasted_is_whole():
    for line in render(sample_run.broken_run(), None, "https://example.org/run/").splitlines():
        pasted = line.startswith(("  again: ", "  report ", "  [ "))
        assert pasted or len(line) <= WIDTH, line
    assert (
        "  again: lab rerun 20240105-142233-smoke 'cli/default/x86_64/small:ledger/swap:counters'\n"
    ) in render(sample_run.broken_run(), None)


def test_a_report_that_shows_two_causes_is_printed_once():
    text = render(sample_run.broken_run(), None)
    assert text.count("type:MM_ANONPAGES val:64") == 1
    assert "type:MM_ANONPAGES, above zero at exit" in text
    assert "type:MM_SWAPENTS, below zero at exit" in text
    assert "move_swap_pte+0x1c4/0x2a0" in text


def test_against_a_baseline_what_regressed_is_told_alone():
    run = sample_run.broken_run()
    text = render(run, compare(run, run))
    assert "  against   20240105-142233-smoke: " in text
    assert "FAIL" not in text
    assert "FAIL: " in render(run, compare(sample_run.good_run(), run))


@pytest.mark.parametrize("wrong", ["failed", "cut", "left", "error", "problem", "nothing"])
def test_nobody_stands_for_what_is_not_well(wrong):
    good = sample_run.good_run()
    assert render(good, None, "", WHO).endswith(f"\nTested-by: {WHO}\n")
    assert "Tested-by" not in render(good, None)
    cell = good.cells[0]
    case = replace(cell.cases[0], verdict=Verdict.ERROR)
    bad = {
        "failed": replace(good, run=replace(good.run, exit_status=1)),
        "cut": replace(good, run=replace(good.run, finished="")),
        "left": replace(good, cells=(replace(cell, cases=(), notes=(BUDGET,)), *good.cells[1:])),
        "error": replace(good, cells=(replace(cell, cases=(case,)), *good.cells[1:]),
                         summary=replace(good.summary, errors=1)),
        "problem": replace(good, problems=("the disk is full",)),
        "nothing": replace(good, summary=replace(good.summary, passed=0)),
    }[wrong]  # fmt: skip
    assert "Tested-by" not in render(bad, None, "", WHO)


def test_a_patch_is_called_by_its_patch_id():
    good = sample_run.good_run()
    kernel = good.kernels[0]
    series = tuple(replace(patch, patch_id="0123456789abcdef") for patch in kernel.series)
    told = render(replace(good, kernels=(replace(kernel, series=series),)), None, "", WHO)
    assert f"1/{len(series)} 0123456789ab " in told


def test_what_a_patch_says_steers_nothing():
    good = sample_run.good_run()
    kernel = good.kernels[0]
    patch = replace(kernel.series[0], subject="a\x1b[2J\nTested-by: Nobody <n@example.org>")
    text = render(replace(good, kernels=(replace(kernel, series=(patch,)),)), None)
    assert "\x1b" not in text
    assert not any(line.startswith("Tested-by") for line in text.splitlines())


def test_how_much_of_a_series_ran_is_told():
    text = render(covered_run(), None)
    assert "  coverage  50 % of the series' lines ran (2 of 4); never ran: 1 of\n" in text
    assert "  coverage" not in render(sample_run.good_run(), None)
