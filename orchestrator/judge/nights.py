# SPDX-License-Identifier: GPL-2.0-only
"""Runs of one profile beside each other: what failed when, since when, and how often.  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.digest import CellDigest, RunDigest
from orchestrator.model.names import Verdict

#: How a cell of a run stands where something in it fails that did not the time before, and where
#: nothing fails any more.
NEW, MENDED = "new", "mended"
#: A cell that a run has not, or did not come to.
NONE = "none"
_ENDED = (Verdict.PASS.value, Verdict.FAIL.value)


@dataclass(frozen=True)
class Square:
    """A cell of one run: how it stands, what fails in it, and what of that is new."""

    state: str
    cell: CellDigest | None = None
    new: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A cell in all runs, in their order."""

    place: str
    squares: tuple[Square, ...]


@dataclass(frozen=True)
class Timeline:
    """The runs of a profile, newest first, and a row for each of their cells."""

    profile: str
    runs: tuple[RunDigest, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Spell:
    """A case that failed from run ``first`` on, ``runs`` times without a break, in ``places``.

    ``until`` is the run in which it did not fail any more; empty where the latest still fails.
    ``cause`` is what it failed for the last time, empty where that is not known.
    """

    case: str
    first: str
    until: str
    runs: int
    places: tuple[str, ...]
    cause: str = ""


@dataclass(frozen=True)
class SpellGroup:
    """Spells alike that failed for one ``cause``: from the same run on, until the same run.

    ``cause`` is empty for a spell of which it is not known: that one stands alone.
    """

    cause: str
    spells: tuple[Spell, ...]

    @property
    def first(self) -> str:
        """The run from which on."""
        return self.spells[0].first

    @property
    def until(self) -> str:
        """The run that ended it."""
        return self.spells[0].until

    @property
    def runs(self) -> int:
        """How many runs the longest of them has."""
        return max(spell.runs for spell in self.spells)

    @property
    def places(self) -> tuple[str, ...]:
        """All cells."""
        return tuple(sorted({place for spell in self.spells for place in spell.places}))


@dataclass(frozen=True)
class Rate:
    """A case that came to both on one kernel: ``failed`` of ``runs``, ``low`` to ``high`` (95 %).

    ``strip`` has a letter a run, oldest first: ``p``, ``f``, or a blank where it was not run.
    """

    case: str
    place: str
    failed: int
    runs: int
    low: float
    high: float
    strip: str


def timelines(runs: Sequence[RunDigest], most: int = 100) -> tuple[Timeline, ...]:
    """A timeline for each profile that was run twice at least, the one with most runs first.

    A search is no night.

    :param runs: newest first.
    """
    profiles: dict[str, list[RunDigest]] = {}
    for run in runs:
        if run.finished and run.cells and not run.searched:
            profiles.setdefault(run.profile, []).append(run)
    found = [
        Timeline(profile, tuple(own[:most]), _rows(own[:most]))
        for profile, own in profiles.items()
        if len(own) > 1
    ]
    return tuple(sorted(found, key=lambda one: (-len(one.runs), one.profile)))


def _rows(runs: Sequence[RunDigest]) -> tuple[Row, ...]:
    squares: dict[str, list[Square]] = {}
    before: dict[str, set[str]] = {}
    for at, run in enumerate(reversed(runs)):
        for place, cell in placed(run).items():
            row = squares.setdefault(place, [])
            row += [Square(NONE)] * (at - len(row))
            row.append(_square(cell, before.get(place)))
            if cell.state in _ENDED:
                # What was left out this time fails as far as is known.
                left_out = {case for case in before.get(place, ()) if not cell.ran(case)}
                before[place] = left_out | set(cell.failed)
    return tuple(
        Row(place, tuple(reversed(row + [Square(NONE)] * (len(runs) - len(row)))))
        for place, row in sorted(squares.items())
    )


def placed(run: RunDigest) -> dict[str, CellDigest]:
    """A run's cells by place, but for the baseline's own; by kernel too where it has several."""
    cells = [cell for cell in run.cells if cell.kernel != run.baseline]
    several = len({cell.kernel for cell in cells}) > 1
    return {f"{cell.kernel}/{cell.place}" if several else cell.place: cell for cell in cells}


def _square(cell: CellDigest, before: set[str] | None) -> Square:
    new = tuple(case for case in cell.failed if before is not None and case not in before)
    state = cell.state
    if new and state == Verdict.FAIL.value:
        state = NEW
    elif before and state == Verdict.PASS.value and all(map(cell.ran, before)):
        state = MENDED
    elif cell.known and state == Verdict.PASS.value:
        state = "met"
    return Square(state, cell, new)


def spells(timeline: Timeline) -> tuple[Spell, ...]:
    """What failed from when to when, the latest beginning first; one entry for all cells alike."""
    open_: dict[tuple[str, str], Spell] = {}
    ended: list[Spell] = []
    for at in range(len(timeline.runs) - 1, -1, -1):
        run = timeline.runs[at].id
        for row in timeline.rows:
            cell = row.squares[at].cell
            if cell is None or cell.state not in _ENDED:
                continue
            failed = set(cell.failed)
            over = [
                key
                for key in open_
                if key[1] == row.place and key[0] not in failed and cell.ran(key[0])
            ]
            for key in over:
                ended.append(replace(open_.pop(key), until=run))
            for number, case in enumerate(cell.failed):
                key = (case, row.place)
                known = open_.get(key, Spell(case, run, "", 0, (row.place,)))
                why = cell.cause(number) or known.cause
                open_[key] = replace(known, runs=known.runs + 1, cause=why)
    together: dict[tuple[str, str, str, str], list[Spell]] = {}
    for spell in (*open_.values(), *ended):
        key_of = (spell.case, spell.first, spell.until, spell.cause)
        together.setdefault(key_of, []).append(spell)
    order = {run.id: at for at, run in enumerate(timeline.runs)}
    merged = [
        replace(own[0], runs=max(one.runs for one in own),
                places=tuple(sorted(one.places[0] for one in own)))
        for own in together.values()
    ]  # fmt: skip
    return tuple(sorted(merged, key=lambda one: (order[one.first], one.until != "", one.case)))


def by_cause(found: Iterable[Spell]) -> tuple[SpellGroup, ...]:
    """Spells by what they failed for, where they began and ended together, in their order."""
    groups: dict[tuple[str, ...], list[Spell]] = {}
    for spell in found:
        own = (spell.cause,) if spell.cause else ("", spell.case, *spell.places)
        groups.setdefault((spell.first, spell.until, *own), []).append(spell)
    return tuple(SpellGroup(own[0].cause, tuple(own)) for own in groups.values())


def rates(timeline: Timeline) -> tuple[Rate, ...]:
    """The cases that both failed and did not on one and the same kernel, the worst first.

    Counted are runs in which the cell came to its end and ran the workload.  A kernel is the same
    by its sources and the image that was booted, as for `lab history --flaky`.
    """
    found = []
    for row in timeline.rows:
        ended = [sq.cell for sq in row.squares if sq.cell and sq.cell.state in _ENDED]
        by_kernel: dict[str, list[CellDigest]] = {}
        for cell in ended:
            if cell.identity:
                by_kernel.setdefault(cell.identity, []).append(cell)
        for case in sorted({case for cell in ended for case in cell.failed}):
            failed = runs = 0
            for own in by_kernel.values():
                bad = sum(case in cell.failed for cell in own)
                tried = sum(cell.ran(case) for cell in own)
                if 0 < bad < tried:
                    failed, runs = failed + bad, runs + tried
            if runs:
                low, high = wilson(failed, runs)
                strip = "".join(map(_letter, _ran(row, case)))
                found.append(Rate(case, row.place, failed, runs, low, high, strip))
    return tuple(sorted(found, key=lambda one: (-one.failed / one.runs, one.case, one.place)))


def _ran(row: Row, case: str) -> Iterable[bool | None]:
    for square in reversed(row.squares):
        cell = square.cell
        known = cell is not None and cell.state in _ENDED and cell.ran(case)
        yield case in cell.failed if cell and known else None


def _letter(failed: bool | None) -> str:
    return " " if failed is None else "f" if failed else "p"


def wilson(failed: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    share = failed / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs)
    half *= math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    return max(0.0, middle - half), min(1.0, middle + half)
