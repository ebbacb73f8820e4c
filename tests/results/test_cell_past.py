# SPDX-License-Identifier: GPL-2.0-only
"""What the history has of each cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sample_run

from orchestrator.judge.outcome import BUDGET
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellPast, RunResult
from orchestrator.results import history
from orchestrator.results.cell_past import cell_pasts

P, F = Verdict.PASS, Verdict.FAIL


def night(day: int, found: Verdict, *, arm: bool = True) -> RunResult:
    run = sample_run.good_run()
    x86, other = run.cells
    case = CaseResult(f"{x86.id}:f/a:c", "f/a", "c", found, seconds=10.0)
    x86 = replace(x86, cases=(case,))
    arm_case = CaseResult(f"{other.id}:f/a:c", "f/a", "c", P, seconds=20.0)
    left = replace(other, cases=(), verdict=Verdict.SKIP, notes=(BUDGET,))
    info = replace(run.run, id=f"r{day}", started=f"2024-01-{day:02}T21:30:00Z")
    other = replace(other, cases=(arm_case,)) if arm else left
    return replace(run, run=info, cells=(x86, other))


def test_no_history_knows_nothing(tmp_path: Path) -> None:
    assert cell_pasts(tmp_path / "none.sqlite") == {}


def test_the_last_time_counts_and_a_cell_that_was_left_out_did_not_run(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    first, second = night(1, F), night(2, P, arm=False)
    x86, arm = (cell.id for cell in first.cells)
    history.record(db, first)
    assert cell_pasts(db)[x86] == CellPast(True, "2024-01-01T21:30:00Z", 1, 10.0)
    history.record(db, second)
    assert cell_pasts(db) == {
        x86: CellPast(False, "2024-01-02T21:30:00Z", 1, 20.0),
        arm: CellPast(False, "2024-01-01T21:30:00Z", 0, 20.0),
    }
    assert cell_pasts(db, runs=1) == {x86: CellPast(False, "2024-01-02T21:30:00Z", 0, 10.0)}


def test_a_build_that_failed_is_told_by_its_own_id(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    run = night(1, P)
    build = replace(run.builds[0], verdict=F, reason="no")
    history.record(db, replace(run, builds=(build, *run.builds[1:]), cells=run.cells[1:]))
    told = cell_pasts(db)
    assert told[build.id].failed
    assert set(told) == {build.id, run.cells[1].id}
