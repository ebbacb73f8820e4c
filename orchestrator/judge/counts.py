# SPDX-License-Identifier: GPL-2.0-only
"""How many cases came to what, a failure that known issues excuse apart from all others.  Pure.

Such a case is told as a skip or as a pass, so that it makes no run fail; it is neither: it ran, and
failed as lab.yaml says it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.judge.outcome import cases_of
from orchestrator.model.names import UNFINISHED, Verdict
from orchestrator.model.results import CaseResult, Found


@dataclass(frozen=True)
class Counts:
    """How many cases passed, failed, failed as known issues say, were skipped, could not be judged.

    Each case is counted once.
    """

    passed: int = 0
    failed: int = 0
    known: int = 0
    skipped: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.known + self.skipped + self.errors


def is_known_failure(case: CaseResult) -> bool:
    """Whether a case failed and known issues excuse that.

    What a guest that was lost to a known issue left undone was skipped, and did not fail.
    """
    if not case.known or case.verdict not in (Verdict.PASS, Verdict.SKIP):
        return False
    if case.judged:
        return case.judged.startswith(Verdict.FAIL.value)
    return case.case != UNFINISHED


def is_skipped(case: CaseResult) -> bool:
    """Whether a case was not run: a skip that is no known failure."""
    return case.verdict is Verdict.SKIP and not is_known_failure(case)


def counts_of(cases: Iterable[CaseResult]) -> Counts:
    """The counts of these cases."""
    tally = dict.fromkeys(("known", *Verdict), 0)
    for case in cases:
        tally["known" if is_known_failure(case) else case.verdict] += 1
    return Counts(
        tally[Verdict.PASS],
        tally[Verdict.FAIL],
        tally["known"],
        tally[Verdict.SKIP],
        tally[Verdict.ERROR],
    )


def counts_of_run(run: Found) -> Counts:
    """Those of all cases of a run.

    What kept a kernel from being tried at all has no case, and is an error all the same.
    """
    found = counts_of(placed.case for placed in cases_of(run))
    if found.errors or not run.problems:
        return found
    return Counts(found.passed, found.failed, found.known, found.skipped, len(run.problems))
