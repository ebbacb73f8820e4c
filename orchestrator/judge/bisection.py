# SPDX-License-Identifier: GPL-2.0-only
"""Which patch of several brought a failure, also one that does not show each time.  Pure.

A *place* is a number of patches that are applied: 0 is the base, ``patches`` the whole series (or
the commits of a range).  Trials before the culprit fail at one rate, trials from it on at a higher
one, both unknown: a mixture over rates stands for them, and Bayes' rule weighs each patch after
each trial.  The next place to try is the one whose outcome is expected to tell most (Horstein,
Sequential transmission using noiseless feedback, 1963: of a noisy search, halve what is likely).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.judge.rates import RATES, log, times


@dataclass(frozen=True)
class Tried:
    """One trial: with so many patches applied, whether the case failed."""

    place: int
    failed: bool


@dataclass(frozen=True)
class Culprit:
    """It is one of the patches ``first`` to ``last``, counted from 1, by ``probability``.

    They are several where what lies between them cannot be tried.
    """

    first: int
    last: int
    probability: float


@dataclass(frozen=True)
class Search:
    """The likeliest culprit, and where to try next; None where no place is left between."""

    culprit: Culprit
    place: int | None


# Weight of "always, and never before": of any case (with more the wrong patch is named too often
# where one fails at 70 % with it and 20 % without), and of one that always comes to the same.
_CLEAR = 0.1
_CLEAR_DETERMINISTIC = 0.9999


def search(
    patches: int,
    trials: Iterable[Tried],
    untried: Iterable[int] = (),
    *,
    deterministic: bool = False,
) -> Search:
    """What the trials tell so far, and where the next one tells most.

    :param patches: how many there are, 1 or more.
    :param untried: places that cannot be tried, because they do not build or boot.
    """
    weighed = _weighed(patches, trials, deterministic)
    weights = [weight for weight, _, _ in weighed]
    blocks = [
        Culprit(before + 1, place, sum(weights[before:place]))
        for before, place in _blocks(patches, untried)
    ]
    likeliest = max(blocks, key=lambda block: block.probability)
    gains = _gains(weighed)
    between = [block.last for block in blocks[:-1]]
    return Search(likeliest, max(between, key=lambda place: gains[place], default=None))


def _blocks(patches: int, untried: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Neighbours among the places that can be tried; the culprit is after one, up to the other."""
    left_out = set(untried)
    before = 0
    for place in range(1, patches + 1):
        if place == patches or place not in left_out:
            yield before, place
            before = place


def _weighed(
    patches: int, trials: Iterable[Tried], deterministic: bool
) -> Sequence[tuple[float, float, float]]:
    """For each patch: probability that it is the culprit, and the rates before and from it on."""
    failed, passed = [0] * (patches + 1), [0] * (patches + 1)
    for trial in trials:
        (failed if trial.failed else passed)[trial.place] += 1
    mixture = _mixture(_CLEAR_DETERMINISTIC if deterministic else _CLEAR)
    all_failed, all_passed = sum(failed), sum(passed)
    before_failed = before_passed = 0
    found = []
    for patch in range(1, patches + 1):
        before_failed += failed[patch - 1]
        before_passed += passed[patch - 1]
        counts = (before_failed, before_passed, all_failed - before_failed,
                  all_passed - before_passed)  # fmt: skip
        logs = [
            weight + sum(times(n, one) for n, one in zip(counts, ratios, strict=True))
            for weight, _, ratios in mixture
        ]
        most = max(logs)
        if most == -math.inf:
            found.append((-math.inf, 0.0, 1.0))
            continue
        shares = [math.exp(one - most) for one in logs]
        total = sum(shares)
        pairs = [pair for _, pair, _ in mixture]
        low = sum(share * pair[0] for share, pair in zip(shares, pairs, strict=True)) / total
        high = sum(share * pair[1] for share, pair in zip(shares, pairs, strict=True)) / total
        found.append((most + math.log(total), low, high))
    most = max(weight for weight, _, _ in found)
    weights = [math.exp(weight - most) for weight, _, _ in found]
    total = sum(weights)
    return [
        (weight / total, low, high) for weight, (_, low, high) in zip(weights, found, strict=True)
    ]


@lru_cache(maxsize=2)
def _mixture(
    clear: float,
) -> tuple[tuple[float, tuple[float, float], tuple[float, float, float, float]], ...]:
    """Log weight, the rates before the culprit and from it on, and logarithms of likelihoods.

    These are of a failure and a pass before, and of a failure and a pass from it on.
    """
    pairs = [(low, high) for low in RATES for high in RATES if low < high]
    share = (1 - clear) / (len(pairs) - 1)
    return tuple(
        (
            math.log(clear if pair == (0.0, 1.0) else share),
            pair,
            (log(pair[0]), log(1 - pair[0]), log(pair[1]), log(1 - pair[1])),
        )
        for pair in pairs
    )


def _gains(weighed: Sequence[tuple[float, float, float]]) -> list[float]:
    """For each place, how much a trial there is expected to tell of the patch, in nats."""
    # What follows at place 0: each patch is still to come.
    rate = sum(weight * low for weight, low, _ in weighed)
    unsure = sum(weight * _entropy(low) for weight, low, _ in weighed)
    gains = [_entropy(rate) - unsure]
    for weight, low, high in weighed:
        rate += weight * (high - low)
        unsure += weight * (_entropy(high) - _entropy(low))
        gains.append(_entropy(rate) - unsure)
    return gains


def _entropy(rate: float) -> float:
    return -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)
