# SPDX-License-Identifier: GPL-2.0-only
"""Figures as bars with whiskers, and a latency's percentiles along a line: where to draw.  Pure.

Lengths are in hundredths of the room that there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.report.figures import Field, Figure, number

_PERCENTILES = ("p50", "p90", "p99", "max")


@dataclass(frozen=True)
class Bar:
    """A figure: how long it is, and from where to where its rounds' middle half lies (or None)."""

    length: float
    low: float | None
    high: float | None
    words: str


@dataclass(frozen=True)
class Span:
    """What a latency is, from its median to its worst: a mark and words for each percentile."""

    name: str
    marks: tuple[tuple[str, float], ...]
    words: str


def row_bars(fields: Sequence[Field]) -> tuple[Bar | None, ...]:
    """The bars of a row of figures, all to the scale of the longest; None where there is none."""
    most = max((_end(f.figure) for f in fields if f.figure), default=0.0)
    return tuple(_bar(f.figure, most) if f.figure and most > 0 else None for f in fields)


def _end(figure: Figure) -> float:
    if not math.isfinite(figure.value):
        return 0.0
    return figure.value * (1 + (figure.spread or 0.0) / 200)


def _bar(figure: Figure, most: float) -> Bar | None:
    if not math.isfinite(figure.value) or figure.value < 0:
        return None
    length = figure.value / most * 100
    words = " ".join(filter(None, (figure.text, figure.unit, figure.spread_text)))
    if figure.spread is None:
        return Bar(length, None, None, words)
    half = length * figure.spread / 200
    return Bar(length, max(0.0, length - half), min(100.0, length + half), words)


def spans(found: Iterable[Figure]) -> tuple[Span, ...]:
    """The latencies among a case's figures: what has a median and a worst of one unit."""
    by_name: dict[tuple[str, str], dict[str, float]] = {}
    for figure in found:
        name, _, part = figure.name.rpartition("-")
        if part in _PERCENTILES and math.isfinite(figure.value) and figure.value >= 0:
            by_name.setdefault((name, figure.unit), {})[part] = figure.value
    told = []
    for (name, unit), parts in by_name.items():
        worst = parts.get("max", 0.0)
        if "p50" not in parts or not 0 < max(parts.values()) <= worst:
            continue
        marks = tuple((part, parts[part] / worst * 100) for part in _PERCENTILES if part in parts)
        words = ", ".join(f"{part} {number(parts[part])}" for part, _ in marks)
        told.append(Span(name or "latency", marks, f"{words} {unit}"))
    return tuple(told)
