# SPDX-License-Identifier: GPL-2.0-only
"""How much of a series ran: its lines of code, by patch and function, over all cells of a run that
counted.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from orchestrator.model.coverage import Lines
from orchestrator.model.results import CellRecord

#: Whose lines they are, where nothing said so before.
SERIES_OWN = "the series'"


@dataclass(frozen=True)
class Ran:
    """In which cell a line ran: by how many workloads, and the first few of them."""

    cell: str
    workloads: int
    by: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A line of code of a patch: the cells that have it, and those of them in which it ran.

    ``function`` is the one that it is of, empty outside of any.
    """

    file: str
    line: int
    text: str
    cells: tuple[str, ...]
    ran: tuple[Ran, ...] = ()
    function: str = ""


@dataclass(frozen=True)
class Part:
    """The lines of code that a patch has in one function of a file, by number."""

    patch: int
    file: str
    function: str
    lines: tuple[Line, ...]

    @property
    def ran(self) -> int:
        """How many ran in any cell."""
        return sum(bool(line.ran) for line in self.lines)

    @property
    def never(self) -> Lines:
        """The numbers of those that did not."""
        return Lines(line.line for line in self.lines if not line.ran)

    @property
    def name(self) -> str:
        """``move_pages_pte in mm/userfaultfd.c``."""
        return f"{self.function} in {self.file}" if self.function else self.file


@dataclass(frozen=True)
class PatchCovered:
    """The lines of code of a patch, by file and number."""

    patch: int
    lines: tuple[Line, ...]

    @property
    def ran(self) -> int:
        """How many ran in any cell."""
        return sum(bool(line.ran) for line in self.lines)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Function by function, in the order of their first lines."""
        found: dict[tuple[str, str], list[Line]] = {}
        for line in self.lines:
            found.setdefault((line.file, line.function), []).append(line)
        return tuple(Part(self.patch, *key, tuple(lines)) for key, lines in found.items())


def by_patch(cells: Iterable[CellRecord], kernel: str) -> tuple[PatchCovered, ...]:
    """What the cells of one kernel come to; empty where none counted, or the series has no code."""
    found: dict[tuple[int, str, int], Line] = {}
    for cell in cells:
        for one in cell.covered if cell.kernel == kernel else ():
            key = (one.patch, one.file, one.line)
            old = found.get(key, Line(one.file, one.line, one.text, (), (), one.function))
            ran = (Ran(cell.id, one.workloads, one.by),) if one.workloads else ()
            found[key] = replace(
                old, cells=(*old.cells, cell.id), ran=(*old.ran, *ran),
                function=old.function or one.function,
            )  # fmt: skip
    patches = sorted({patch for patch, _, _ in found})
    return tuple(
        PatchCovered(n, tuple(line for key, line in sorted(found.items()) if key[0] == n))
        for n in patches
    )


def counts(patches: Iterable[PatchCovered]) -> tuple[int, int]:
    """How many lines of code there are, and how many of them ran."""
    told = tuple(patches)
    return sum(len(one.lines) for one in told), sum(one.ran for one in told)


def share(patches: Iterable[PatchCovered], whose: str = "its") -> str:
    """``92 % of its lines ran``; empty without a line.  Rounded down: 100 % is all of them.

    :param whose: the series, in other words where that is needed.
    """
    total, ran = counts(patches)
    return f"{100 * ran // total} % of {whose} lines ran" if total else ""


def sentence(patches: Iterable[PatchCovered]) -> str:
    """How much of the series ran, and of which patch how much did not; empty without a line."""
    told = tuple(patches)
    total, ran = counts(told)
    if not total:
        return ""
    lacking = [f"{len(p.lines) - p.ran} of patch {p.patch}" for p in told if p.ran < len(p.lines)]
    never = f"; never ran: {', '.join(lacking)}" if lacking else ""
    return f"{share(told, SERIES_OWN)} ({ran} of {total}){never}"
