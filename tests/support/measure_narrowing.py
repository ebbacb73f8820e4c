# SPDX-License-Identifier: GPL-2.0-only
"""Simulated searches for what a failure needs: ``python tests/support/measure_narrowing.py``."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from orchestrator.judge.narrowing import Effect, Names, Narrowed, effect_of, search
from orchestrator.model.narrowing import FRAGMENTS, SHAPE, Change

#: How often the case fails where it can.
RATES = (1.0, 0.7, 0.4)
SEARCHES = 300
#: Two of these are needed, or any one of two is enough.
CHANGES = tuple(
    Change(name, axis, name, f"without {name}")
    for name, axis in (
        ("cpu", SHAPE), ("disk", SHAPE), ("zram", SHAPE),
        ("thp", FRAGMENTS), ("ksm", FRAGMENTS), ("memcg", FRAGMENTS),
    )
)  # fmt: skip

Fails = Callable[[Collection[str]], bool | None]


def names(changes: Collection[Change]) -> set[str]:
    """Their names."""
    return {change.name for change in changes}


def needing(*needed: str) -> Fails:
    """A failure that comes while none of these is left out."""
    return lambda gone: not set(needed) & set(gone)


def any_of(*enough: str) -> Fails:
    """A failure that comes until all of these are left out."""
    return lambda gone: not set(enough) <= set(gone)


def narrowed(
    fails: Fails,
    changes: tuple[Change, ...] = CHANGES,
    *,
    rate: float = 1.0,
    chance: random.Random | None = None,
) -> tuple[Narrowed, dict[Names, list[bool | None]]]:
    """A search to its end, and the trials of each step; with ``chance`` it is a flaky case's.

    :param fails: of the names of the changes; None where nothing can be told.
    """
    unchanged = [True]
    tried: dict[Names, list[bool | None]] = {}

    def shows() -> bool:
        return chance is None or chance.random() < rate

    while True:
        known: dict[Names, Effect] = {}
        for step, trials in tried.items():
            effect = effect_of(unchanged, trials, steady=chance is None)
            if effect is not None:
                known[step] = effect
        ahead = search(changes, known)
        if ahead.next is None:
            return ahead, {frozenset(): [*unchanged], **tried}
        trials = tried.setdefault(ahead.next, [])
        if chance is not None and len(unchanged) < len(trials):
            unchanged.append(shows())
        else:
            found = fails(ahead.next)
            trials.append(found if not found else shows())


def simulated(rate: float, searches: int = SEARCHES) -> tuple[int, int]:
    """How many of so many searches for two of :data:`CHANGES` told it wrongly; median of trials.

    Every second failure needs both, the others any one of them.
    """
    chance = random.Random(f"{rate}")
    wrong, took = 0, []
    for number in range(searches):
        pair = set(chance.sample(sorted(names(CHANGES)), 2))
        fails = any_of(*pair) if number % 2 else needing(*pair)
        found, trials = narrowed(fails, rate=rate, chance=None if rate == 1.0 else chance)
        told = [names(group) for group in found.either] if number % 2 else names(found.needed)
        right = [pair] if number % 2 else pair
        wrong += told != right or names(found.free) != names(CHANGES) - pair
        took.append(sum(map(len, trials.values())))
    return wrong, sorted(took)[searches // 2]


def main() -> None:
    """Print the table of docs/commands.md."""
    print("| fails | a wrong statement | median trials |")
    print("|---|---|---|")
    for rate in RATES:
        wrong, median = simulated(rate)
        print(f"| {rate:.0%} | {wrong / SEARCHES:.1%} | {median} |")


if __name__ == "__main__":
    main()
