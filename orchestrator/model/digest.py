# SPDX-License-Identifier: GPL-2.0-only
"""A run in short: what a page over many runs needs to know of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellDigest:
    """One cell of a run.  ``place`` is ``CONFIG/ARCH/SHAPE``.

    ``state`` is a verdict, or ``none`` for a cell that was not run; ``cases`` is how many it had,
    ``failed`` those that failed, as ``WORKLOAD:CASE``, ``known`` how many are excused.
    ``workloads`` are those that it ran, empty where that is not known: what a run left out is not
    mended by it.  ``identity`` is the same for the same sources and image; empty where that is not
    known.  ``causes`` are the titles of what the cases fail for, ``why`` has for each of ``failed``
    the place of its own among them, -1 for none; of an older lab's digest both are empty.
    """

    kernel: str
    place: str
    state: str
    cases: int = 0
    known: int = 0
    failed: tuple[str, ...] = ()
    identity: str = ""
    workloads: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    why: tuple[int, ...] = ()

    def cause(self, at: int) -> str:
        """What the case at a place of ``failed`` fails for; empty where that is not known."""
        number = self.why[at] if at < len(self.why) else -1
        return self.causes[number] if 0 <= number < len(self.causes) else ""

    def ran(self, case: str) -> bool:
        """Whether the workload of a case, ``WORKLOAD:CASE``, was run."""
        return not self.workloads or case.partition(":")[0] in self.workloads


@dataclass(frozen=True)
class RunDigest:
    """One run.  Instants are UTC ISO 8601, ``seconds`` is how long it took.

    ``folder`` is its folder's name below reports/.  ``known`` counts what is excused by a known
    issue or expected, which ``passed`` and ``skipped`` leave out.  ``regressed`` is None where
    there was no baseline, ``regressions`` names the first of them.  ``searched`` is what a search
    came to in few words, empty for every other run: its cases are trials, and no night's.
    """

    id: str
    started: str
    finished: str
    seconds: float
    exit_status: int
    profile: str
    tested: str
    passed: int
    known: int
    failed: int
    skipped: int
    errors: int
    baseline: str = ""
    regressed: int | None = None
    regressions: tuple[str, ...] = ()
    cells: tuple[CellDigest, ...] = ()
    folder: str = ""
    searched: str = ""


#: A run's measurements: by cell's place, then by ``WORKLOAD:CASE NAME (UNIT)``.
Figures = dict[str, dict[str, float]]
