# SPDX-License-Identifier: GPL-2.0-only
"""A comparison in lines of text."""

from __future__ import annotations

from dataclasses import replace

import sample_run

from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare
from orchestrator.model.names import Verdict
from orchestrator.report.compare_text import comparison_text


def test_what_one_cause_made_worse_stands_together() -> None:
    good, run = sample_run.good_run(), sample_run.good_run()
    cell = run.cells[0]
    hit = sample_run.warn_hit()
    cases = tuple(
        replace(
            c, verdict=Verdict.FAIL, reason=hit.title, hits=(hit,), rerun=f"lab rerun R {c.case}"
        )
        if c.case in ("throughput", "kernel-log")
        else c
        for c in cell.cases
    )
    bad = [case for case in cases if case.verdict is Verdict.FAIL]
    run = replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))
    lines = comparison_text(compare(good, run), causes_of(run)).splitlines()
    assert [line for line in lines[3:] if "throughput" not in line][:6] == [
        "regressed: 2",
        f"  pass -> fail  {hit.title} in 2 workloads",
        "      move/compact, ledger/swap",
        "      in its trace, touched by the change: mm/userfaultfd.c:1184 in move_swap_pte",
        f"      passed on the baseline, fails now: {hit.title}",
        "      move: 1,843 MB/s -> 1,843 MB/s (+0.0 %)",
    ]
    assert "      default/x86_64/small:move/compact:throughput and 1 more case" in lines
    assert f"      again: {bad[0].rerun}" in lines
    # Without the causes each case stands for itself.
    assert comparison_text(compare(good, run)).count("pass -> fail") == len(bad)


def test_hostile_text_stays_text() -> None:
    run = sample_run.broken_run()
    cell = run.cells[0]
    worst = replace(cell.cases[-1], reason="\x1b[2J\udcff\u202e gone\nsecond line")
    cells = (replace(cell, cases=(*cell.cases[:-1], worst)), *run.cells[1:])
    text = comparison_text(compare(sample_run.good_run(), replace(run, cells=cells)))
    assert "\\x1b[2J\\xff\\u202e gone" in text
    assert "second line" not in text
