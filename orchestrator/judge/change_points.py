# SPDX-License-Identifier: GPL-2.0-only
"""Where a measurement's level changed in the course of many runs.  Pure.

Seeded binary segmentation (S. Kovacs, P. Buehlmann, H. Li, A. Munk, Biometrika 110, 2023) with
narrowest-over-threshold selection (R. Baranowski, Y. Chen, P. Fryzlewicz, J. R. Stat. Soc. B 81,
2019): a fixed set of intervals is looked at, in each every split is put to a two-sample t test, and
of the intervals that show a change the narrowest says where.  The threshold is that of Bonferroni
over all splits of all intervals (as K. J. Worsley, J. Am. Stat. Assoc. 74, 1979, bounds it for
one): of series of independent normal values without a change at most :data:`FALSE_ALARMS` get one,
whatever their length and spread (three times as many where 3 in 100 lie wildly off).  A single
wild value is no change: a level is four runs at least.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.judge.noise import student_t, tail

#: The share of series without a change that are said to have one: a lab has thousands of series.
FALSE_ALARMS = 1e-4
#: A level is so many runs at least.
LEAST = 4
#: What the bands of a level leave out.
_OUTSIDE = 0.05
_DECAY = math.sqrt(2)


@dataclass(frozen=True)
class Level:
    """Runs ``begin`` to ``end`` (exclusive) of a series lie about ``mean``.

    ``low`` and ``high`` hold the level itself, ``least`` and ``most`` a further run, with 95 %
    confidence each; all are equal where one run is all there is.
    """

    begin: int
    end: int
    mean: float
    low: float
    high: float
    least: float
    most: float


def change_points(values: Sequence[float], false_alarms: float = FALSE_ALARMS) -> tuple[int, ...]:
    """The places at which a new level begins, in their order."""
    intervals = list(_intervals(len(values)))
    splits = sum(end - begin - 2 * LEAST + 1 for begin, end in intervals)
    sums = _Sums(values)
    shown = []
    for begin, end in intervals:
        at, chance = sums.best(begin, end)
        if chance * splits <= false_alarms:
            shown.append((end - begin, chance, begin, end, at))
    found: list[int] = []
    for _, _, begin, end, at in sorted(shown):
        if not any(begin < other < end for other in found):
            found.append(at)
    return _moved(sums, sorted(found), len(values))


def levels(values: Sequence[float], points: Sequence[int]) -> tuple[Level, ...]:
    """The levels between change points, with their bands."""
    edges = (0, *points, len(values))
    return tuple(_level(values, begin, end) for begin, end in itertools.pairwise(edges))


def _intervals(length: int) -> Iterator[tuple[int, int]]:
    """The seeded intervals: ever shorter ones, each layer's overlapping by half or more."""
    found = set()
    wide, share = float(length), 1.0
    while wide >= 2 * LEAST:
        size, count = math.ceil(wide), 2 * math.ceil(share) - 1
        step = (length - size) / (count - 1) if count > 1 else 0.0
        found |= {(int(n * step), int(n * step) + size) for n in range(count)}
        share *= _DECAY
        wide = length / share
    yield from sorted(found)


class _Sums:
    """Running sums of a series, from which any split's t is worked out at once."""

    def __init__(self, values: Sequence[float]) -> None:
        middle = fmean(values) if values else 0.0
        apart = [value - middle for value in values]
        self.total = [0.0, *itertools.accumulate(apart)]
        self.square = [0.0, *itertools.accumulate(value * value for value in apart)]

    def best(self, begin: int, end: int) -> tuple[int, float]:
        """The split of an interval that divides it best, and the chance of one as good."""
        total, size = self.total, end - begin
        whole = total[end] - total[begin]
        best, at = -1.0, begin + LEAST
        for split in range(begin + LEAST, end - LEAST + 1):
            left = split - begin
            off = (total[split] - total[begin]) - whole * left / size
            gain = off * off * size / (left * (size - left))
            if gain > best:
                best, at = gain, split
        spread = self.square[end] - self.square[begin] - whole * whole / size
        rest = spread - best
        # What rounding leaves of a series that stands still is no spread.
        if best <= 1e-12 * max(self.square[-1], 1e-300):
            return at, 1.0
        if rest <= 1e-12 * spread:
            return at, 0.0
        freedom = size - 2
        return at, tail(math.sqrt(best * freedom / rest), freedom)


def _moved(sums: _Sums, points: list[int], length: int) -> tuple[int, ...]:
    """Each point moved to where it divides the runs between its neighbours best."""
    for at in range(len(points)):
        begin = points[at - 1] if at else 0
        end = points[at + 1] if at + 1 < len(points) else length
        if end - begin >= 2 * LEAST:
            points[at] = sums.best(begin, end)[0]
    return tuple(points)


def _level(values: Sequence[float], begin: int, end: int) -> Level:
    own = values[begin:end]
    mean, count = fmean(own), len(own)
    if count < 2:
        return Level(begin, end, mean, mean, mean, mean, mean)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in own) / (count - 1))
    wide = student_t(count - 1, _OUTSIDE) * deviation
    level, one = wide / math.sqrt(count), wide * math.sqrt(1 + 1 / count)
    return Level(begin, end, mean, mean - level, mean + level, mean - one, mean + one)
