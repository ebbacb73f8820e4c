# SPDX-License-Identifier: GPL-2.0-only
"""The geometry of a plot of live samples over time, in pages: numbers that a template draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.model.evidence import Sample

# User units of the SVG; the page scales it.  Small enough that its text can be read at 340 px.
WIDTH, HEIGHT = 400, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 24, 32
_SHOWN = ("RssAnon", "VmSwap")
_MAX_LINES = 6
_MAX_POINTS = 160
# Fewer samples hide what happened between them: a plot of four says that a counter never rose.
_FEWEST = 20


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One counter: its name and the points of a polyline, gaps making several."""

    name: str
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Plot:
    """All that the template needs.  ``summary`` says in words what the plot shows."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str


def plot(samples: tuple[Sample, ...]) -> Plot | None:
    """The plot of RssAnon and VmSwap (of every process that was sampled); None below 20 samples.

    A series longer than 160 samples is thinned to the least and greatest of each stretch, so that
    no peak is lost.
    """
    usable = sorted(
        (s for s in samples if math.isfinite(s.seconds)), key=lambda sample: sample.seconds
    )
    names = dict.fromkeys(name for sample in usable for name in sample.values)
    shown = [name for name in names if name.startswith(_SHOWN)]
    shown.sort(key=lambda name: (not name.startswith(_SHOWN[0]), name))
    shown = shown[:_MAX_LINES]
    if len(usable) < _FEWEST or not shown:
        return None
    begin, end = usable[0].seconds, usable[-1].seconds
    values = [s.values[name] for name in shown for s in usable if name in s.values]
    low, high, step = y_range(values)

    def x(seconds: float) -> float:
        span = end - begin or 1.0
        return LEFT + (seconds - begin) / span * (WIDTH - LEFT - RIGHT)

    def y(pages: float) -> float:
        return level(pages, low, high)

    lines = []
    for name in shown:
        pieces: list[list[str]] = [[]]
        for seconds, pages in _thin([(s.seconds, s.values.get(name)) for s in usable]):
            if pages is None:
                pieces.append([])
            else:
                pieces[-1].append(f"{x(seconds):.1f},{y(pages):.1f}")
        lines.append(Line(name, tuple(" ".join(piece) for piece in pieces if piece)))
    x_step = nice_step(end - begin, 5)
    marks = range(math.ceil(begin / x_step - 1e-9), math.floor(end / x_step + 1e-9) + 1)
    ranges = []
    for name in shown:
        found = [s.values[name] for s in usable if name in s.values]
        ranges.append(f"{name} from {min(found)} to {max(found)} pages, {found[-1]} at the end")
    return Plot(
        tuple(lines),
        tuple(Tick(x(n * x_step), f"{n * x_step:g}") for n in marks),
        y_ticks(low, high, step),
        f"{len(usable)} samples over {end - begin:.1f} s: {'; '.join(ranges)}",
    )


def y_range(values: list[int]) -> tuple[float, float, float]:
    """The lowest and the highest mark of an upright axis of whole pages, and their distance."""
    step = max(1.0, nice_step(max(values) - min(0, *values), 4))
    low = math.floor(min(0, *values) / step) * step
    return low, max(low + step, math.ceil(max(values) / step) * step), step


def level(value: float, low: float, high: float) -> float:
    """Where a value is drawn between the lowest and the highest mark of the upright axis."""
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def y_ticks(low: float, high: float, step: float) -> tuple[Tick, ...]:
    """The marks of an upright axis, from the lowest to the highest."""
    marks = [low + n * step for n in range(round((high - low) / step) + 1)]
    return tuple(Tick(level(mark, low, high), short(mark)) for mark in marks)


def nice_step(span: float, about: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides ``span`` into about that many parts."""
    if not math.isfinite(span) or span <= 0:
        return 1
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    factor = next(f for f in (1, 2, 5, 10) if f * power >= raw * 0.999)
    step = factor * power
    return round(step) if step >= 1 else step


def short(value: float) -> str:
    """``12k``, ``1.5M``: an axis label of at most six characters where that is exact enough."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.4g}{letter}"
    return f"{value:g}"


def _thin(points: list[tuple[float, int | None]]) -> list[tuple[float, int | None]]:
    if len(points) <= _MAX_POINTS:
        return points
    stretch = math.ceil(len(points) / (_MAX_POINTS // 2))
    kept: list[tuple[float, int | None]] = []
    for at in range(0, len(points), stretch):
        part = points[at : at + stretch]
        known = [(v, t) for t, v in part if v is not None]
        if len(known) < len(part):
            kept.append((part[0][0], None))
        if known:
            ends = {min(known), max(known, key=lambda item: item[0])}
            kept += [(t, v) for v, t in sorted(ends, key=lambda item: item[1])]
    last_known = points[-1]
    if kept[-1] != last_known:
        kept.append(last_known)
    return kept
