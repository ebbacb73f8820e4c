# SPDX-License-Identifier: GPL-2.0-only
"""Which cells of a plan come first where time may not do for all of them.  Pure.

A night that is cut tells nothing of its last cells.  So first comes what failed the last time it
ran: whether it still does is asked in the morning.  Then what was not run for longest, that no cell
is cut every night; then what has found most for its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.model.names import CellId
from orchestrator.model.results import CellPast
from orchestrator.model.spec import Cell, Plan


def most_valuable_first(plan: Plan, past: Mapping[str, CellPast]) -> Plan:
    """The plan, its cells and their builds in order of worth; equal ones in the order they had.

    A baseline's cell comes with the one it is to be compared with, since neither is of use alone.

    :param past: by the id of a cell, or of a build that failed; what is not there never ran.
    """
    worth: dict[str, tuple[bool, str, float]] = {}
    for cell in plan.cells:
        known = _known(cell, past)
        mine = (not known.failed, known.last, -known.per_second)
        worth[_place(cell)] = min(mine, worth.get(_place(cell), mine))
    cells = tuple(sorted(plan.cells, key=lambda cell: worth[_place(cell)]))
    ordered = dict.fromkeys(cell.build for cell in cells if not cell.on_host)
    return replace(plan, cells=cells, builds=tuple(ordered))


def _known(cell: Cell, past: Mapping[str, CellPast]) -> CellPast:
    """What is known of a cell: its own last run, or that its build failed since."""
    own = past.get(cell.id, CellPast())
    build = past.get(cell.build.id, CellPast())
    return build if build.last > own.last else own


def _place(cell: Cell) -> str:
    """Where a cell runs, whatever its kernel."""
    return CellId.parse(cell.id).place
