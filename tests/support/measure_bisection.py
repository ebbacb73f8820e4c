# SPDX-License-Identifier: GPL-2.0-only
"""Simulated searches for a patch: ``python tests/support/measure_bisection.py``."""

from __future__ import annotations

import random
from collections.abc import Callable

from orchestrator.judge.bisection import Culprit, Tried, search

#: How often a case fails with the culprit and before it.
RATES = ((1.0, 0.0), (0.4, 0.0), (0.7, 0.2))
SEARCHES = 300
PATCHES = 6


def searched(
    patches: int,
    fails: Callable[[int], bool],
    *,
    untried: tuple[int, ...] = (),
    deterministic: bool = False,
    most: int = 400,
) -> tuple[Culprit, int]:
    """Go on until a patch is sure by 99 %: what was found, and how many trials it took."""
    trials = [Tried(0, fails(0)), Tried(patches, fails(patches))]
    while True:
        found = search(patches, trials, untried, deterministic=deterministic)
        if found.culprit.probability >= 0.99 or found.place is None or len(trials) >= most:
            return found.culprit, len(trials)
        trials += [Tried(found.place, fails(found.place)), Tried(0, fails(0))]


def simulated(rate: float, base: float, searches: int = SEARCHES) -> tuple[int, int]:
    """How many of so many searches among :data:`PATCHES` named a wrong patch; median of trials."""
    chance = random.Random(f"{rate} {base}")
    wrong, took = 0, []
    for _ in range(searches):
        guilty = chance.randint(1, PATCHES)
        found, trials = searched(
            PATCHES, lambda place, at=guilty: chance.random() < (rate if place >= at else base)
        )
        wrong += not found.first <= guilty <= found.last
        took.append(trials)
    return wrong, sorted(took)[searches // 2]


def main() -> None:
    """Print the table of docs/commands.md."""
    print("| fails with the culprit | before it | the wrong one named | median trials |")
    print("|---|---|---|---|")
    for rate, base in RATES:
        wrong, median = simulated(rate, base)
        print(f"| {rate:.0%} | {base:.0%} | {wrong / SEARCHES:.1%} | {median} |")


if __name__ == "__main__":
    main()
