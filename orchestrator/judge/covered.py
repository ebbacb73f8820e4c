# SPDX-License-Identifier: GPL-2.0-only
"""How much of a series ran: its lines of code, by patch, over all cells of a run that counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.results import CellRecord


@dataclass(frozen=True)
class Line:
    """A line of code of a patch: the cells that have it, and those of them in which it ran."""

    file: str
    line: int
    text: str
    cells: tuple[str, ...]
    ran: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True)
class PatchCovered:
    """The lines of code of a patch, by file and number."""

    patch: int
    lines: tuple[Line, ...]

    @property
    def ran(self) -> int:
        """How many ran in any cell."""
        return sum(bool(line.ran) for line in self.lines)


def by_patch(cells: Iterable[CellRecord], kernel: str) -> tuple[PatchCovered, ...]:
    """What the cells of one kernel come to; empty where none counted, or the series has no code."""
    found: dict[tuple[int, str, int], Line] = {}
    for cell in cells:
        for one in cell.covered if cell.kernel == kernel else ():
            key = (one.patch, one.file, one.line)
            old = found.get(key, Line(one.file, one.line, one.text, (), (), ()))
            found[key] = Line(
                old.file, old.line, old.text, (*old.cells, cell.id),
                (*old.ran, cell.id) if one.workloads else old.ran,
                tuple(dict.fromkeys((*old.by, *one.by))),
            )  # fmt: skip
    patches = sorted({patch for patch, _, _ in found})
    return tuple(
        PatchCovered(n, tuple(line for key, line in sorted(found.items()) if key[0] == n))
        for n in patches
    )


def sentence(patches: Iterable[PatchCovered]) -> str:
    """How much of the series ran, and of which patch how much did not; empty without a line."""
    told = tuple(patches)
    total, ran = sum(len(one.lines) for one in told), sum(one.ran for one in told)
    if not total:
        return ""
    lacking = [f"{len(p.lines) - p.ran} of patch {p.patch}" for p in told if p.ran < len(p.lines)]
    never = f"; never ran: {', '.join(lacking)}" if lacking else ""
    # Rounded down: 100 % is all of them.
    return f"{100 * ran // total} % of the series' lines ran ({ran} of {total}){never}"
