# SPDX-License-Identifier: GPL-2.0-only
"""Simulated error rates of the sequential test: ``python tests/support/measure_sequential.py``."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator.judge.sequential import Decided, decide
from orchestrator.model.judging import Decision

#: How often a case fails with a series and without it.
RATES = ((1.0, 0.0), (0.5, 0.2), (0.3, 0.0), (0.9, 0.6), (0.2, 0.2), (0.5, 0.5), (0.05, 0.05))
HISTORIES = 1000
MOST = 300

#: Of the noise that drifts: how far the rate goes up and down, and in how many pairs it comes back.
SWING, PERIOD = 0.15, 80
#: Of bursts: their share of all trials, the rate in one against the rate outside, and how many
#: trials one lasts on average.
SHARE, TIMES, LENGTH = 0.2, 8.0, 12.0


@dataclass(frozen=True)
class Simulated:
    """What so many histories came to, each of at most :data:`MOST` pairs."""

    histories: tuple[Decided, ...]

    @property
    def found(self) -> Counter[Decision]:
        """How many came to which decision."""
        return Counter(one.decision for one in self.histories)

    @property
    def median(self) -> int:
        """The median of pairs until a history was decided."""
        return sorted(one.pairs for one in self.histories)[len(self.histories) // 2]

    @property
    def mean_trials(self) -> float:
        """How many trials a history took on average, two a pair."""
        return 2 * sum(one.pairs for one in self.histories) / len(self.histories)

    def share(self, decision: Decision, most: int = MOST) -> float:
        """The share of histories that come to a decision within ``most`` pairs."""
        found = [one for one in self.histories if _within(one, most) is decision]
        return len(found) / len(self.histories)


def _within(one: Decided, most: int) -> Decision:
    """What a history comes to where at most so many pairs are tried."""
    return one.decision if one.pairs <= most else Decision.UNDECIDED


Pairs = Iterator[tuple[bool, bool]]


def independent(rate: float, base: float, chance: random.Random) -> Pairs:
    """Trials that know nothing of each other."""
    while True:
        yield chance.random() < rate, chance.random() < base


def drifting(rate: float, base: float, chance: random.Random) -> Pairs:
    """Both rates go up and down together, slowly, from a point of that swing drawn for each."""
    begin = chance.random()
    swing = min(SWING, base, 1 - rate)
    for pair in itertools.count():
        more = swing * math.sin(2 * math.pi * (begin + pair / PERIOD))
        yield chance.random() < rate + more, chance.random() < base + more


def in_bursts(rate: float, base: float, chance: random.Random) -> Pairs:
    """Failures of both crowd: a burst begins and ends between any two trials, also of one pair.

    The base, which is tried first, fails so often on average; the series fails besides, by itself,
    so often that it comes to its rate.

    :raises ValueError: when the base fails so often that no burst could be that bad.
    """
    outside = base / (1 - SHARE + SHARE * TIMES)
    if outside * TIMES > 1:
        raise ValueError(f"no bursts of a case that fails {base:.0%} of the time")
    besides = (rate - base) / (1 - base)
    ends = 1 / LENGTH
    begins = ends * SHARE / (1 - SHARE)
    burst = chance.random() < SHARE

    def fails() -> bool:
        nonlocal burst
        burst = chance.random() >= ends if burst else chance.random() < begins
        return chance.random() < outside * (TIMES if burst else 1.0)

    while True:
        without = fails()
        yield fails() or chance.random() < besides, without


#: The kinds of noise, by how they are called.
NOISES: dict[str, Callable[[float, float, random.Random], Pairs]] = {
    "independent": independent,
    "drifting": drifting,
    "in bursts": in_bursts,
}


def simulated(rate: float, base: float, noise: str = "independent") -> Simulated:
    """So many histories of a case that fails so often with the series, and so often without."""
    chance = random.Random(f"{rate} {base}")
    pairs = NOISES[noise]
    return Simulated(tuple(_one(pairs(rate, base, chance)) for _ in range(HISTORIES)))


def _one(pairs: Pairs) -> Decided:
    return decide(itertools.islice(pairs, MOST))


def main() -> None:
    """Print the table of docs/commands.md."""
    print("| fails with the series | without | called a regression | median pairs |")
    print("|---|---|---|---|")
    for rate, base in RATES:
        found = simulated(rate, base)
        called = found.share(Decision.REGRESSION)
        print(f"| {rate:.0%} | {base:.0%} | {called:.1%} | {found.median} |")


if __name__ == "__main__":
    main()
