# SPDX-License-Identifier: GPL-2.0-only
"""Measurements made fit to be read: with their spread, and what was measured in several ways beside
each other.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.judge.compare import SPREAD, FigureChange
from orchestrator.model.evidence import Measurement
from orchestrator.model.formats import counted
from orchestrator.model.results import CaseResult


@dataclass(frozen=True)
class Figure:
    """A measurement; ``spread`` is how far its rounds lay apart, in percent, if that is known."""

    name: str
    value: float
    unit: str
    spread: float | None = None

    @property
    def text(self) -> str:
        """The number alone."""
        return number(self.value)

    @property
    def spread_text(self) -> str:
        """Half the distance between its quartiles, or nothing."""
        return "" if self.spread is None else f"± {percent(self.spread / 2)}"


@dataclass(frozen=True)
class Field:
    """A figure in a table; ``ratio`` sets it against the first of its row."""

    figure: Figure | None
    ratio: str = ""


@dataclass(frozen=True)
class FigureTable:
    """What was measured in several ways: a row for what, a column for which way."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Field, ...]], ...]


def number(value: float) -> str:
    """Four digits that count, thousands apart, and never an exponent: 1,131,760 812.5 0.0042."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    for digits, limit in ((1, 100), (2, 10), (3, 1), (4, 0.1)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.6f}".rstrip("0").rstrip(".") or "0"


def percent(value: float) -> str:
    """``2.1 %``; from 10 on without a digit behind the point."""
    return f"{value:,.0f} %" if abs(value) >= 10 else f"{value:.1f} %"


def figures(measurements: Iterable[Measurement]) -> tuple[Figure, ...]:
    """The measurements, each spread beside what it belongs to and no line of its own."""
    listed = tuple(measurements)
    names = {m.name for m in listed}
    spreads = {m.name: m.value for m in listed if m.unit == "%" and m.name.endswith(SPREAD)}
    owned = {name for name in spreads if name.removesuffix(SPREAD) in names}
    return tuple(
        Figure(m.name, m.value, m.unit, spreads.get(m.name + SPREAD))
        for m in listed
        if m.name not in owned
    )


def side_by_side(cases: Iterable[CaseResult]) -> FigureTable | None:
    """A workload's figures whose names differ in their first word alone, that word a column.

    ``move-base-throughput`` and ``copy-base-throughput`` are one row.  None where there is no such.
    """
    rows: dict[tuple[str, str], dict[str, Figure]] = {}
    for case in cases:
        for figure in figures(case.measurements):
            way, _, what = figure.name.partition("-")
            if what:
                rows.setdefault((what, figure.unit), {}).setdefault(way, figure)
    rows = {what: ways for what, ways in rows.items() if len(ways) > 1}
    columns = tuple(dict.fromkeys(way for ways in rows.values() for way in ways))
    if not rows:
        return None
    return FigureTable(
        columns,
        tuple((what, unit, _fields(ways, columns)) for (what, unit), ways in rows.items()),
    )


def _fields(ways: dict[str, Figure], columns: tuple[str, ...]) -> tuple[Field, ...]:
    found = []
    first = ways.get(columns[0])
    for way in columns:
        figure = ways.get(way)
        beside = figure is not None and first is not None and figure is not first
        ratio = ""
        if beside and figure is not None and first is not None and first.value > 0:
            ratio = f"{figure.value / first.value:,.2f}x"
        found.append(Field(figure, ratio))
    return tuple(found)


def beyond_noise(changes: Iterable[FigureChange]) -> tuple[FigureChange, ...]:
    """The changes that are told apart from noise, in their order."""
    return tuple(c for c in changes if c.judged in ("worse", "changed", "better"))


def change_counts(changes: Iterable[FigureChange]) -> str:
    """How the measurements of a comparison stand, in a sentence."""
    judged = [c.judged for c in changes]
    loud = ("worse", "better", "changed")
    parts = [f"{judged.count(word)} {word}" for word in loud if word in judged] or ["none changed"]
    within = judged.count("noise") + judged.count("same")
    if within:
        parts.append(f"{within} within noise")
    if "unknown" in judged:
        parts.append(f"{judged.count('unknown')} of which too few runs are known to tell")
    return f"{counted(len(judged), 'measurement')} on both sides: {', '.join(parts)}"


def noise_text(change: FigureChange) -> str:
    """What a change was judged by."""
    if change.noise is None:
        return "unknown"
    return f"{percent(change.noise.percent)} in {change.noise.runs} runs"
