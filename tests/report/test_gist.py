# SPDX-License-Identifier: GPL-2.0-only
"""A run in one sentence; the rest of it is tested with the line of a terminal (test_brief.py)."""

from __future__ import annotations

from dataclasses import replace

import sample_run

from orchestrator.judge.compare import compare
from orchestrator.model.results import RunResult
from orchestrator.report.gist import gist


def ended(run: RunResult, status: int) -> RunResult:
    return replace(run, run=replace(run.run, exit_status=status), problems=())


def test_the_first_word_is_the_exit_status() -> None:
    good, broken = sample_run.good_run(), sample_run.broken_run()
    assert gist(good, None) == "pass: 15 cases in 2 cells"
    told = gist(ended(broken, 1), None)
    assert told.startswith("FAIL: WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap and ")
    assert told.endswith(", 4 cases fail")
    assert gist(ended(broken, 3), None).startswith("ERROR: ledger/swap:counters: QEMU ended")
    assert gist(ended(good, 130), None) == "interrupted: 15 cases in 2 cells so far"


def test_against_a_baseline_what_regressed_counts() -> None:
    broken = ended(sample_run.broken_run(), 0)
    assert gist(broken, compare(broken, broken)).endswith(", 4 cases fail and none regressed")
