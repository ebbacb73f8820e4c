# SPDX-License-Identifier: GPL-2.0-only
"""The geometry of a counter beside the page walk, step by step, where they part.  Pure.

Both were read while the process stood still: unlike live samples this is the evidence itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.model.evidence import LedgerStep
from orchestrator.report.plot import LEFT, RIGHT, WIDTH, Tick, level, y_range, y_ticks

# More steps than these are thinned; those at which the counter goes off or comes back never are.
_MOST = 80


@dataclass(frozen=True)
class Point:
    """A step: where its counter and its walk are, and both in words."""

    x: float
    counter: float
    walk: float
    words: str


@dataclass(frozen=True)
class Panel:
    """One counter of one process.  ``gaps`` are polygons between counter and walk.

    ``said`` tells in words where they part, and by how much at last.
    """

    name: str
    pid: int
    points: tuple[Point, ...]
    gaps: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    said: str

    @property
    def counter(self) -> str:
        """The points of the counter's line."""
        return " ".join(f"{p.x:.1f},{p.counter:.1f}" for p in self.points)

    @property
    def walk(self) -> str:
        """The points of the walk's line."""
        return " ".join(f"{p.x:.1f},{p.walk:.1f}" for p in self.points)


def panels(ledger: Sequence[LedgerStep]) -> tuple[Panel, ...]:
    """A panel for each counter that parts from the walk, of the process in which it does so first.

    None for a ledger in which all agrees, and for one step alone.
    """
    found = []
    for at, name in enumerate(("RssAnon", "VmSwap")):
        pid = next((s.pid for s in ledger if name in [off for off, _, _ in s.off]), None)
        steps = [step for step in ledger if step.pid == pid]
        if len(steps) > 1:
            found.append(_panel(name, at, steps))
    return tuple(found)


def _panel(name: str, at: int, steps: list[LedgerStep]) -> Panel:
    values = [step.pairs[at][1:] for step in steps]
    off = [is_off(name, step) for step in steps]
    low, high, step_of_y = y_range([value for pair in values for value in pair])

    def y(pages: float) -> float:
        return level(pages, low, high)

    kept = kept_steps(off)
    points = {
        n: Point(step_place(n, len(steps)), y(values[n][0]), y(values[n][1]),
                 f"{n + 1}. {steps[n].step}: {name} {values[n][0]}, page walk {values[n][1]}")
        for n in kept
    }  # fmt: skip
    first, last = off.index(True), len(steps) - 1
    drifts = [have - real for have, real in values]
    said = f"{name} parts from the page walk at step {first + 1}, {steps[first].step}: "
    said += f"{drifts[first]:+d} pages"
    if drifts[last] != drifts[first]:
        said += f"; {drifts[last]:+d} at the last step" if drifts[last] else "; none at the last"
    return Panel(
        name,
        steps[0].pid,
        tuple(points.values()),
        gap_polygons(kept, off, points),
        step_ticks(len(steps)),
        y_ticks(low, high, step_of_y),
        said,
    )


def is_off(name: str, step: LedgerStep) -> bool:
    """Whether a counter and its walk part at a step."""
    return any(name == one for one, _, _ in step.off)


def step_place(number: int, steps: int) -> float:
    """Where a step of so many is drawn; ``number`` counts from 0."""
    return LEFT + number / (steps - 1) * (WIDTH - LEFT - RIGHT)


def step_ticks(steps: int) -> tuple[Tick, ...]:
    """About eight marks of the axis of steps."""
    every = max(1, math.ceil(steps / 8))
    return tuple(Tick(step_place(n, steps), str(n + 1)) for n in range(0, steps, every))


def kept_steps(off: list[bool]) -> list[int]:
    """The steps to draw: all of few; of many every so often, and where it turns off or back."""
    every = max(1, math.ceil(len(off) / _MOST))
    turns = {n + side for n in range(1, len(off)) if off[n] != off[n - 1] for side in (-1, 0)}
    return [n for n in range(len(off)) if n % every == 0 or n in turns or n == len(off) - 1]


def gap_polygons(kept: list[int], off: list[bool], points: dict[int, Point]) -> tuple[str, ...]:
    """Polygons: each stretch that is off, with the step before it, where both still agree."""
    found = []
    for is_off, run in groupby(range(len(kept)), key=lambda place: off[kept[place]]):
        places = list(run)
        if is_off:
            here = [points[kept[place]] for place in range(max(0, places[0] - 1), places[-1] + 1)]
            line = [f"{p.x:.1f},{p.counter:.1f}" for p in here]
            back = [f"{p.x:.1f},{p.walk:.1f}" for p in reversed(here)]
            found.append(" ".join((*line, *back)))
    return tuple(found)
