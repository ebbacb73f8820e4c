# SPDX-License-Identifier: GPL-2.0-only
"""The page of measurements over many runs: their levels, bands, and where a level changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.judge.change_points import FALSE_ALARMS, Level, change_points, levels
from orchestrator.model.digest import Figures, RunDigest
from orchestrator.report import pages
from orchestrator.report.plot import Tick, nice_step, short
from orchestrator.report.runs_page import PAGE, day, link

# User units of a plot's SVG, small enough that its text can be read at 340 px.
WIDTH, HEIGHT = 400, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 18
#: How many plots a page has; of what stands still a line in a table is enough.
MOST_PLOTS, MOST_LINES = 80, 500
#: Below so many runs nothing is told of a measurement.
_LEAST = 4
# A guest may print any number: squares of these can still be added up.
_FARTHEST = 1e100


@dataclass(frozen=True)
class Series:
    """A measurement in the runs that have it, oldest first; its levels lie between ``points``.

    The values are logarithms where all are positive: a change is then a factor.
    """

    name: str
    place: str
    runs: tuple[RunDigest, ...]
    values: tuple[float, ...]
    points: tuple[int, ...]
    levels: tuple[Level, ...]
    logs: bool

    def value(self, at: float) -> float:
        """A value, or a level's edge, as it was measured."""
        return math.exp(min(at, 700.0)) if self.logs else at

    @property
    def spread(self) -> str:
        """How far a further run may lie from the latest level, in percent; empty where unknown."""
        last = self.levels[-1]
        if not self.logs or last.end - last.begin < _LEAST:
            return ""
        return f"{(math.exp(min(50.0, last.most - last.mean)) - 1) * 100:.2g} %"


@dataclass(frozen=True)
class Change:
    """A change of level: from which run on, by how much in words, and ``at`` which x of the SVG."""

    run: RunDigest
    words: str
    at: float


@dataclass(frozen=True)
class Band:
    """A level at ``y``, and its rectangles: the outer holds single runs, the inner the level."""

    x: float
    width: float
    outer: tuple[float, float]
    inner: tuple[float, float]
    y: float


@dataclass(frozen=True)
class Trend:
    """A plot of a series: numbers that a template draws."""

    series: Series
    bands: tuple[Band, ...]
    dots: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    changes: tuple[Change, ...]
    summary: str


def all_series(
    found: Sequence[tuple[RunDigest, Figures]], seconds: float = math.inf
) -> tuple[tuple[Series, ...], int]:
    """Every measurement of four runs or more, and how many there was no time for.

    :param found: runs with their measurements, newest first; ``seconds`` is how long it may take.
    """
    until = time.monotonic() + seconds
    gathered: dict[tuple[str, str], list[tuple[RunDigest, float]]] = {}
    for run, figures in reversed(found):
        for place, own in figures.items():
            for name, value in own.items():
                gathered.setdefault((name, place), []).append((run, value))
    series, left = [], 0
    for (name, place), known in sorted(gathered.items()):
        if len(known) < _LEAST:
            continue
        if time.monotonic() > until:
            left += 1
            continue
        series.append(one_series(name, place, known))
    return tuple(series), left


def one_series(name: str, place: str, known: Sequence[tuple[RunDigest, float]]) -> Series:
    """A measurement with its levels, from runs oldest first."""
    logs = all(value > 0 for _, value in known)
    values = tuple(
        math.log(value) if logs else max(-_FARTHEST, min(_FARTHEST, value)) for _, value in known
    )
    points = change_points(values)
    runs = tuple(run for run, _ in known)
    return Series(name, place, runs, values, points, levels(values, points), logs)


def render(series: Sequence[Series]) -> str:
    """The page: what changed, the latest change first, and what stood still in a table."""
    changed = [one for one in series if one.points]
    changed.sort(key=lambda one: (one.runs[one.points[-1]].started, _moved(one)), reverse=True)
    steady = [one for one in series if not one.points]
    return pages.render(
        "trends.html.j2",
        ("report.css", "runs.css"),
        "report.js",
        trends=[trend(one) for one in changed[:MOST_PLOTS]],
        more=max(0, len(changed) - MOST_PLOTS),
        examples=[trend(one) for one in steady[:6]],
        steady=steady[:MOST_LINES],
        steady_left=max(0, len(steady) - MOST_LINES),
        page=PAGE,
        size=(WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
        alarms=f"{FALSE_ALARMS * 100:g} %",
        link=link,
        day=day,
        short=number,
    )


def _moved(series: Series) -> float:
    """How far its latest change went, in runs' deviations."""
    before, after = series.levels[-2:]
    return abs(after.mean - before.mean) / (after.most - after.least or 1e-9)


def number(value: float) -> str:
    """A figure in at most four digits."""
    return short(float(f"{value:.4g}"))


def trend(series: Series) -> Trend:
    """The plot of a series."""
    shown = [series.value(value) for value in series.values]
    edges = [series.value(edge) for one in series.levels for edge in (one.least, one.most)]
    # A band of few runs may be a hundred times as wide as the values lie apart: it is cut.
    bottom, top = min(shown), max(shown)
    room = (top - bottom or abs(top) or 1.0) * 0.3
    low, high = max(min(edges), bottom - room), min(max(edges), top + room)
    low, high = min(low, bottom), max(high, top)
    if high <= low:
        low, high = low - room, high + room
    step = nice_step(high - low, 3)

    def x(at: float) -> float:
        return round(LEFT + (at + 0.5) / len(shown) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        inside = min(high, max(low, value))
        return round(HEIGHT - BOTTOM - (inside - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    bands = []
    for one in series.levels:
        most, upper, mean, lower, least = (
            y(series.value(edge)) for edge in (one.most, one.high, one.mean, one.low, one.least)
        )
        left = x(one.begin - 0.5)
        width = round(x(one.end - 0.5) - left, 1)
        bands.append(Band(left, width, (most, least), (upper, lower), mean))
    marks = range(math.ceil(low / step), math.floor(high / step) + 1)
    ends = dict.fromkeys((0, len(shown) - 1))
    return Trend(
        series,
        tuple(bands),
        tuple((x(at), y(value)) for at, value in enumerate(shown)),
        tuple(Tick(x(at), series.runs[at].started[:10]) for at in ends),
        tuple(Tick(y(n * step), short(round(n * step, 12))) for n in marks),
        _changes(series, x),
        f"{len(shown)} runs, {number(bottom)} to {number(max(shown))}, {number(shown[-1])} last",
    )


def _changes(series: Series, x: Callable[[float], float]) -> tuple[Change, ...]:
    found = []
    for at, point in enumerate(series.points):
        before, after = series.levels[at], series.levels[at + 1]
        old, new = series.value(before.mean), series.value(after.mean)
        words = f"{number(old)} to {number(new)}"
        if series.logs:
            words += f" ({(new / old - 1) * 100:+.2g} %)"
        found.append(Change(series.runs[point], words, x(point - 0.5)))
    return tuple(found)
