# SPDX-License-Identifier: GPL-2.0-only
"""The geometry of a counter and its page walk in two runs, laid over each other.  Pure.

Steps are those of the later run.  The earlier one's lie at the steps of the same name, counted
where a name comes again; its processes are matched in the order in which they appear, since their
numbers differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.model.evidence import LedgerStep
from orchestrator.report.ledger_plot import (
    Point,
    gap_polygons,
    is_off,
    kept_steps,
    step_place,
    step_ticks,
)
from orchestrator.report.plot import Tick, level, y_range, y_ticks


@dataclass(frozen=True)
class Overlay:
    """One counter of one process in both runs.

    ``before`` and ``after`` are the points of each; ``mark`` is where the runs part, on the axis,
    None where they do not.  ``gaps`` are polygons between the later run's counter and walk.
    ``said`` tells it in words.
    """

    name: str
    pid: int
    before: tuple[Point, ...]
    after: tuple[Point, ...]
    gaps: tuple[str, ...]
    mark: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    said: str

    @property
    def lines(self) -> tuple[str, str, str, str]:
        """Points of the later run's counter and walk, then of the earlier one's."""
        after, before = self.after, self.before
        return (
            _line((p.x, p.counter) for p in after), _line((p.x, p.walk) for p in after),
            _line((p.x, p.counter) for p in before), _line((p.x, p.walk) for p in before),
        )  # fmt: skip


def _line(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def overlays(before: Sequence[LedgerStep], after: Sequence[LedgerStep]) -> tuple[Overlay, ...]:
    """An overlay for each counter that is off in one of the two runs, of the process where it is.

    None where a run has no ledger, or the two have less than two steps in common.
    """
    found = []
    ours, theirs = _processes(after), _processes(before)
    for at, name in enumerate(("RssAnon", "VmSwap")):
        both = [(own, other) for own, other in zip(ours, theirs, strict=False) if len(own) > 1]
        for own, other in both:
            shared = _shared(own, other)
            if len(shared) > 1 and any(is_off(name, step) for step in (*own, *other)):
                found.append(_overlay(name, at, own, shared))
                break
    return tuple(found)


def _processes(ledger: Sequence[LedgerStep]) -> list[list[LedgerStep]]:
    by_pid: dict[int, list[LedgerStep]] = {}
    for step in ledger:
        by_pid.setdefault(step.pid, []).append(step)
    return list(by_pid.values())


def _shared(ours: Sequence[LedgerStep], theirs: Sequence[LedgerStep]) -> dict[int, LedgerStep]:
    """By the place of a step of ours the step of theirs that is the same one."""
    known = dict(zip(_named(theirs), theirs, strict=True))
    return {at: known[key] for at, key in enumerate(_named(ours)) if key in known}


def _named(steps: Sequence[LedgerStep]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    found = []
    for step in steps:
        found.append((step.step, seen[step.step]))
        seen[step.step] += 1
    return found


def _overlay(name: str, at: int, ours: list[LedgerStep], shared: dict[int, LedgerStep]) -> Overlay:
    mine = {n: step.pairs[at][1:] for n, step in enumerate(ours)}
    other = {n: step.pairs[at][1:] for n, step in shared.items()}
    off = [is_off(name, step) or (n in shared and is_off(name, shared[n]))
           for n, step in enumerate(ours)]  # fmt: skip
    every = [value for side in (mine, other) for pair in side.values() for value in pair]
    low, high, step_of_y = y_range(every)

    def place(n: int, values: tuple[int, int], whose: str) -> Point:
        counter, walk = (level(pages, low, high) for pages in values)
        words = f"{n + 1}. {ours[n].step}, {whose}: {name} {values[0]}, page walk {values[1]}"
        return Point(step_place(n, len(ours)), counter, walk, words)

    kept = kept_steps(off)
    after = {n: place(n, mine[n], "now") for n in kept}
    before = tuple(place(n, other[n], "baseline") for n in kept if n in other)
    apart = next((n for n in shared if _apart(mine[n], other[n], ours[n], shared[n])), None)
    return Overlay(
        name,
        ours[0].pid,
        before,
        tuple(after.values()),
        gap_polygons(kept, [is_off(name, step) for step in ours], after),
        None if apart is None else step_place(apart, len(ours)),
        step_ticks(len(ours)),
        y_ticks(low, high, step_of_y),
        _said(name, apart, ours, mine, other),
    )  # fmt: skip


def _apart(
    mine: tuple[int, int], other: tuple[int, int], own: LedgerStep, theirs: LedgerStep
) -> bool:
    """Whether the runs part here: by the drifts, since the walks themselves may well differ."""
    drifts = (mine[0] - mine[1]) - (other[0] - other[1])
    return abs(drifts) > max(own.tolerance, theirs.tolerance)


def _said(
    name: str, apart: int | None, ours: Sequence[LedgerStep],
    mine: dict[int, tuple[int, int]], other: dict[int, tuple[int, int]],
) -> str:  # fmt: skip
    if apart is None:
        return f"{name} is as far off the page walk in both runs, at each step that both have"
    now, then = (values[apart][0] - values[apart][1] for values in (mine, other))
    return (
        f"The runs part at step {apart + 1}, {ours[apart].step}: {name} is {now:+d} pages off "
        f"the page walk now, {then:+d} in the baseline"
    )
