# SPDX-License-Identifier: GPL-2.0-only
"""Simulated error rates of the sequential test: ``python tests/support/measure_sequential.py``."""

from __future__ import annotations

import random
from collections import Counter

from orchestrator.judge.sequential import decide
from orchestrator.model.judging import Decision

#: How often a case fails with a series and without it.
RATES = ((1.0, 0.0), (0.5, 0.2), (0.3, 0.0), (0.9, 0.6), (0.2, 0.2), (0.5, 0.5), (0.05, 0.05))
HISTORIES = 1000
MOST = 300


def simulated(rate: float, base: float) -> tuple[Counter[Decision], int]:
    """Decisions of so many histories of at most :data:`MOST` pairs, and the median of pairs."""
    chance = random.Random(f"{rate} {base}")
    found: Counter[Decision] = Counter()
    pairs = []
    for _ in range(HISTORIES):
        one = decide((chance.random() < rate, chance.random() < base) for _ in range(MOST))
        found[one.decision] += 1
        pairs.append(one.pairs)
    return found, sorted(pairs)[HISTORIES // 2]


def main() -> None:
    """Print the table of docs/commands.md."""
    print("| fails with the series | without | called a regression | median pairs |")
    print("|---|---|---|---|")
    for rate, base in RATES:
        found, median = simulated(rate, base)
        called = found[Decision.REGRESSION] / HISTORIES
        print(f"| {rate:.0%} | {base:.0%} | {called:.1%} | {median} |")


if __name__ == "__main__":
    main()
