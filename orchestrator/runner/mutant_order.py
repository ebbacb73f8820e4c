# SPDX-License-Identifier: GPL-2.0-only
"""Which workloads a mutant is tried with, the likeliest to fail first."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from orchestrator.judge.coverage_map import Asked, Reach, touching
from orchestrator.model.spec import WorkloadSpec


class Order:
    """The workloads of a campaign, and what is known of them; it learns from each catch.

    What is deterministic runs first, what races after it: a mutant that the first ones catch is
    never tried with the others.  Among each, those that caught most mutants of the same function
    come first, then those that run most of it and least besides, then those that are over soon.

    :param reaches: what workloads ran when it was counted; of another architecture where nothing
        was counted on this one.
    :param seconds: what each takes, where it is known.
    """

    def __init__(
        self, workloads: Iterable[WorkloadSpec], reaches: Iterable[Reach], arch: str,
        seconds: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._workloads = tuple(workloads)
        known = tuple(reaches)
        self._reaches = tuple(one for one in known if one.arch == arch) or known
        self._counted = {reach.workload for reach in self._reaches}
        self._seconds = seconds
        self._ranks: dict[str, dict[str, int]] = {}
        self._caught: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def mapped(self) -> bool:
        """Whether it is known of any of the workloads what they run."""
        return any(spec.name in self._counted for spec in self._workloads)

    def of(self, function: str) -> tuple[WorkloadSpec, ...]:
        """The workloads for a mutant of a function.

        Left out is only what was counted and did not run it; that may be all of them.  Where no
        workload at all was seen to run it, nothing is: it may be new, or inlined into another.
        """
        ranks = self._ranked(function)
        chosen = [
            spec for spec in self._workloads
            if not ranks or spec.name in ranks or spec.name not in self._counted
        ]  # fmt: skip
        with self._lock:
            caught = {spec.name: self._caught[function, spec.name] for spec in chosen}

        def rank(spec: WorkloadSpec) -> tuple[bool, int, float, float]:
            seconds = self._seconds.get(spec.name, math.inf)
            place = ranks.get(spec.name, math.inf)
            return not spec.deterministic, -caught[spec.name], place, seconds

        return tuple(sorted(chosen, key=rank))

    def caught(self, function: str, workload: str) -> None:
        """Note that a workload has caught a mutant of a function."""
        with self._lock:
            self._caught[function, workload] += 1

    def _ranked(self, function: str) -> dict[str, int]:
        if function not in self._ranks:
            found = touching(self._reaches, Asked(functions=frozenset((function,))))
            self._ranks[function] = {runs.workload: at for at, runs in enumerate(found)}
        return self._ranks[function]


def racing(workloads: Collection[WorkloadSpec]) -> tuple[str, ...]:
    """The names of those that race."""
    return tuple(spec.name for spec in workloads if not spec.deterministic)
