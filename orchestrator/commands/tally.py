# SPDX-License-Identifier: GPL-2.0-only
"""How far each cell of a run is: workloads done, failures so far, time left.  No clock, no screen.

Time left is what the workloads that are still to come took in earlier runs, at the pace of those
that this cell has done: other work on the machine, copies of a guest side by side and what a
workload takes besides its program are in that pace.  Nothing is told before there is a pace, nor
where no run is known; where loops share what is left of a time budget, what they take is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.model.formats import short_seconds
from orchestrator.model.names import CaseId, CellId, Verdict
from orchestrator.model.spec import Cell, Plan
from orchestrator.runner.context import Event

#: Seconds by ``CONFIG/ARCH/SHAPE`` and workload: what each took in earlier runs.
Durations = Mapping[tuple[str, str], float]
# A pace is known once so many workloads are done, which were known to take so long (s) together.
_PACE_WORKLOADS = 3
_PACE_SECONDS = 2.0


@dataclass(frozen=True)
class Far:
    """How far a cell is: ``done`` of ``total`` workloads, and failures that nobody foresaw.

    ``left`` are the seconds that it will still take (None: not known), ``unknown`` how many of the
    workloads to come are not in them, since no earlier run has them.
    """

    done: int
    total: int
    failed: int = 0
    left: float | None = None
    unknown: int = 0

    def text(self, short: bool = False) -> str:
        """``12/74 workloads, 3 failed, ~40 s left``; where it is to be short ``12/74, 3 failed``.

        What is known of the time left is told in both.
        """
        parts = [f"{self.done}/{self.total}" + ("" if short else " workloads")]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.left is not None and self.done < self.total:
            sign = "over " if self.unknown else "~"
            parts.append(f"{sign}{short_seconds(self.left)}" + ("" if short else " left"))
        return ", ".join(parts)


@dataclass
class _Cell:
    expected: dict[str, float | None]
    done: set[str] = field(default_factory=set)
    failed: int = 0
    began: float | None = None
    end: float | None = None  # when it will be over, as far as was known at the last change


class Tally:
    """Counts what the events of a run tell."""

    def __init__(self, plan: Plan, known: Durations) -> None:
        self._cells = {cell.id: _Cell(_expected(plan, cell, known)) for cell in plan.cells}

    def hear(self, event: Event, now: float) -> None:
        """Take note of one event.

        :param now: when it came, on a clock of seconds that only goes on.
        """
        if event.kind == "cell" and event.stage == "run":
            cell = self._cells.get(event.id)
            if cell is not None and cell.began is None:
                cell.began = now
        if event.kind != "case":
            return
        case = CaseId.parse(event.id)
        cell = self._cells.get(str(case.cell))
        if cell is None:
            return
        if event.verdict in (Verdict.FAIL, Verdict.ERROR) and not event.foreseen:
            cell.failed += 1
        # The cases of a workload come when it is over.
        if case.workload in cell.expected and case.workload not in cell.done:
            cell.done.add(case.workload)
            cell.end = _end(cell, now)

    def far(self, cell_id: str, now: float) -> Far | None:
        """How far a cell is; None for what is no cell of the plan, or has no workloads."""
        cell = self._cells.get(cell_id)
        if cell is None or not cell.expected:
            return None
        to_come = [name for name in cell.expected if name not in cell.done]
        unknown = sum(cell.expected[name] is None for name in to_come)
        left = None if cell.end is None or unknown == len(to_come) else max(0.0, cell.end - now)
        return Far(len(cell.done), len(cell.expected), cell.failed, left, unknown)


def _expected(plan: Plan, cell: Cell, known: Durations) -> dict[str, float | None]:
    place = CellId.parse(cell.id).place
    found: dict[str, float | None] = {}
    for spec in cell.workloads:
        took = known.get((place, spec.name))
        found[spec.name] = None if spec.budget and plan.spend_budget else took
    return found


def _end(cell: _Cell, now: float) -> float | None:
    """When a cell will be over at the pace that it has had; None before it has one."""
    planned = [cell.expected[name] for name in cell.done]
    worth = sum(seconds for seconds in planned if seconds is not None)
    known = sum(seconds is not None for seconds in planned)
    if cell.began is None or known < _PACE_WORKLOADS or worth < _PACE_SECONDS:
        return None
    to_come = [seconds for name, seconds in cell.expected.items() if name not in cell.done]
    pace = (now - cell.began) / worth
    return now + pace * sum(seconds for seconds in to_come if seconds is not None)
