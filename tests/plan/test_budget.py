# SPDX-License-Identifier: GPL-2.0-only
"""How a time budget is shared by the workloads that loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.results import LoopRecord
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, ShapeSpec, WorkloadSpec
from orchestrator.plan.budget import LONGEST, Ahead, as_ran, loop_seconds, seeded, stretched

BUILD = Build("k/c/x86_64", KernelSpec("k", "path:x"), ConfigSpec("c"), "x86_64")


def cell(*budgets: float) -> Cell:
    specs = tuple(
        WorkloadSpec(f"race/w{n}", "race", Path(), "w.c", budget=budget)
        for n, budget in enumerate(budgets)
    )
    return Cell("k/c/x86_64/small", BUILD, ShapeSpec("small"), specs)


def budgets(made: Cell) -> list[float]:
    return [spec.budget for spec in made.workloads]


def test_loops_share_what_the_rest_leaves() -> None:
    ahead = Ahead(left=2000, cells=2, builds=1, at_once=1, build_seconds=100, cell_seconds=100)
    # (2000 * 0.95 - 100) / 2 - 100 = 800 s for 10 s of loops.
    assert budgets(stretched(cell(4.0, 6.0, 0.0), ahead)) == [320.0, 480.0, 0.0]


def test_cells_side_by_side_have_as_much_more() -> None:
    one = Ahead(left=1000, cells=4, builds=0, at_once=1, cell_seconds=0)
    two = Ahead(left=1000, cells=4, builds=0, at_once=2, cell_seconds=0)
    assert loop_seconds(stretched(cell(5.0), one)) == pytest.approx(237.5)
    assert loop_seconds(stretched(cell(5.0), two)) == pytest.approx(475.0)


@pytest.mark.parametrize("left", [-50.0, 0.0, 100.0])
def test_no_loop_is_shorter_than_asked(left: float) -> None:
    ahead = Ahead(left=left, cells=3, builds=2, at_once=1)
    assert budgets(stretched(cell(4.0, 6.0), ahead)) == [4.0, 6.0]


def test_no_loop_is_longer_than_half_an_hour_unless_asked() -> None:
    ahead = Ahead(left=1e7, cells=1, builds=0, at_once=1)
    assert budgets(stretched(cell(5.0, 2 * LONGEST), ahead)) == [LONGEST, 2 * LONGEST]


def test_cells_without_loops_keep_their_time() -> None:
    ahead = Ahead(
        left=2000, cells=1, builds=0, at_once=1, others=3, cell_seconds=100, other_seconds=500
    )
    # 2000 * 0.95 - 3 * 500 - 100
    assert loop_seconds(stretched(cell(10.0), ahead)) == pytest.approx(300.0)


def test_without_loops_nothing_changes() -> None:
    plain = cell(0.0)
    assert stretched(plain, Ahead(left=1e6, cells=1, builds=0, at_once=1)) is plain


def test_a_seed_of_nought_is_a_seed() -> None:
    given = as_ran(cell(4.0, 6.0, 0.0), [LoopRecord("race/w0", 0, 4.0)]).workloads
    assert [spec.seed for spec in seeded(given, 99)] == [0, 99, None]


def test_a_rerun_loops_as_the_run_did() -> None:
    again = as_ran(cell(4.0, 6.0), [LoopRecord("race/w1", 17, 480.0), LoopRecord("gone", 1, 1.0)])
    assert [(spec.seed, spec.budget) for spec in again.workloads] == [(None, 4.0), (17, 480.0)]
