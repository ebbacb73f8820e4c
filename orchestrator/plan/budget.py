# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a time budget, shared by the workloads that loop.  Pure.

A race that is looped twice as long is seen about twice as often, so a night that ends early is a
night wasted.  What a cell takes besides its loops is estimated from the cells before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from orchestrator.model.results import LoopRecord
from orchestrator.model.spec import Cell, WorkloadSpec

#: Seconds that a kernel build and a cell without its loops are taken to need before one was seen.
BUILD_GUESS = 600.0
CELL_GUESS = 120.0
#: No loop is stretched beyond this (s): what it holds in its guest must end some time.
LONGEST = 1800.0
# Part of the budget that is given away: estimates are wrong, and a run late ends without its rest.
GIVEN = 0.95


@dataclass(frozen=True)
class Ahead:
    """What a run has before it, with this cell: ``left`` s, so many cells that loop and builds.

    ``others`` are the cells without a loop.  ``at_once`` cells run side by side;
    ``build_seconds``, ``cell_seconds`` and ``other_seconds`` are what one of each takes, a looping
    cell without its loops.
    """

    left: float
    cells: int
    builds: int
    at_once: int
    others: int = 0
    build_seconds: float = BUILD_GUESS
    cell_seconds: float = CELL_GUESS
    other_seconds: float = CELL_GUESS


def as_ran(cell: Cell, loops: Iterable[LoopRecord]) -> Cell:
    """The cell with the seeds and times that its loops had in a run."""
    had = {loop.workload: loop for loop in loops}
    return replace(
        cell,
        workloads=tuple(
            replace(spec, seed=had[spec.name].seed, budget=had[spec.name].seconds)
            if spec.name in had
            else spec
            for spec in cell.workloads
        ),
    )


def seeded(workloads: Iterable[WorkloadSpec], seed: int) -> tuple[WorkloadSpec, ...]:
    """The workloads, those that loop with ``seed`` unless they have one."""
    return tuple(
        replace(spec, seed=seed) if spec.budget and spec.seed is None else spec
        for spec in workloads
    )


def loop_seconds(cell: Cell) -> float:
    """How long the loops of a cell's workloads take, one after another (s)."""
    return sum(spec.budget for spec in cell.workloads)


def stretched(cell: Cell, ahead: Ahead) -> Cell:
    """The cell with its loops as long as its share of the time allows, never shorter than asked."""
    loops = loop_seconds(cell)
    if not loops:
        return cell
    free = ahead.left * GIVEN - ahead.builds * ahead.build_seconds
    guests = free * ahead.at_once - ahead.others * ahead.other_seconds
    share = guests / max(1, ahead.cells) - ahead.cell_seconds
    factor = max(1.0, share / loops)
    return replace(
        cell,
        workloads=tuple(
            replace(spec, budget=max(spec.budget, min(LONGEST, round(spec.budget * factor, 1))))
            for spec in cell.workloads
        ),
    )
