# SPDX-License-Identifier: GPL-2.0-only
"""What trials of one case come to, on the kernel under test and its base.  Pure.

A *subject* is one kernel in the guest that the case had.  Where the kernel has a series there are
two: its base comes first, since only the two together tell whether the series is to blame.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum

from orchestrator.judge.outcome import executed
from orchestrator.judge.retried import how_sure
from orchestrator.judge.sequential import Decided
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.names import STAGES, Verdict
from orchestrator.model.results import BuildRecord, CaseResult, KernelRecord
from orchestrator.model.spec import Cell, KernelSpec, Plan


@dataclass(frozen=True)
class Subject:
    """A kernel that the case is run on: ``cell`` is the guest with the workloads to run.

    ``image_sha256`` is the image that the earlier run booted, empty where it booted none of this
    kernel or another one is asked for; ``record`` is that run's record of the kernel, ``built``
    that of its build.
    ``command`` is the QEMU command line of the earlier run.
    """

    cell: Cell
    is_base: bool = False
    image_sha256: str = ""
    record: KernelRecord | None = None
    command: str = ""
    built: BuildRecord | None = None


@dataclass(frozen=True)
class Repeat:
    """All it takes: ``subjects``, base first; ``boots`` is False where the case is a build's.

    ``plan`` is a run's of just these, with what lab.yaml expects and knows.
    """

    case: CaseResult
    subjects: tuple[Subject, ...]
    plan: Plan
    boots: bool

    @property
    def tested(self) -> Subject:
        """The kernel under test."""
        return self.subjects[-1]

    @property
    def base(self) -> Subject | None:
        """The kernel that tells whether the series is to blame."""
        return self.subjects[0] if self.subjects[0].is_base else None

    @property
    def steady(self) -> bool:
        """Whether what is run comes to the same each time, as all does that boots nothing."""
        workloads = self.tested.cell.workloads
        return not self.boots or (bool(workloads) and all(spec.deterministic for spec in workloads))


# ---------------------------------------------------------------- what the trials come to


class Shown(str, Enum):
    """What a trial showed of the case."""

    AGAIN = "fails again"
    OTHERWISE = "fails in another case"
    NO = "does not fail"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Trial:
    """One run of one subject; ``reason`` is one line on what failed or why nothing is known.

    ``passed`` tells that the case itself passed, whatever else failed; ``skipped`` is why it was
    left out where others of its workload ran, empty where it was not.
    """

    subject: Subject
    shown: Shown
    reason: str = ""
    passed: bool = False
    skipped: str = ""

    @property
    def failed(self) -> bool:
        """Whether the kernel failed."""
        return self.shown in (Shown.AGAIN, Shown.OTHERWISE)

    @property
    def case_failed(self) -> bool | None:
        """Whether the case itself failed; None where the trial tells nothing of it."""
        if self.shown is Shown.AGAIN:
            return True
        return False if self.passed else None


def by_series(kernel: KernelSpec) -> bool:
    """Whether a kernel differs from its base by a series, and not by all that a tree has."""
    return kernel.series is not None and not kernel.base


def telling(
    cases: Iterable[CaseResult], asked: CaseResult, known: Container[str]
) -> list[CaseResult]:
    """The cases without the failures that are known: they tell nothing of the one in question.

    :param known: the ids of the cases that known issues excuse.
    """
    own = (asked.workload, asked.case)
    return [case for case in cases if case.id not in known or (case.workload, case.case) == own]


def pairs_of(trials: Iterable[Trial]) -> tuple[tuple[bool, bool], ...]:
    """Whether the case failed on the kernel under test and on its base, for each pair of trials.

    Trials of both alternate.  A pair of which one tells nothing is left out.
    """
    every = tuple(trials)
    tested = [t for t in every if not t.subject.is_base]
    base = [t for t in every if t.subject.is_base]
    return tuple(
        (one.shown is Shown.AGAIN, other.shown is Shown.AGAIN)
        for one, other in zip(tested, base, strict=False)
        if Shown.UNKNOWN not in (one.shown, other.shown)
    )


def decided_answer(repeat: Repeat, found: Decided, rates: ErrorRates) -> str:
    """One sentence: what the series does to the case, by what counts, and how sure that is."""
    kernel = repeat.tested.cell.build.kernel
    series = by_series(kernel)
    here, there = ("with the series", "without") if series else ("here", "on the base")
    count = found.pairs
    counts = f"fails {found.failed} of {count} {here}, {found.failed_base} of {count} {there}"
    if found.decision is Decision.UNDECIDED:
        return f"undecided: {counts}"
    if found.decision in (Decision.REGRESSION, Decision.BETTER) and found.pairs == 1:
        return f"{found.decision.value}: {counts}, and its workload is deterministic"
    return f"{found.decision.value}: {counts} ({how_sure(found.decision, rates)})"


def judge_trial(case: CaseResult, subject: Subject, found: Iterable[CaseResult]) -> Trial:
    """What the cases of a trial say of the case that is run again.

    A case that stands there only when it fails (``hang``, ``exit-status``) is missing when it does
    not; so what ran and passed is enough for "does not fail".
    """
    cases = tuple(found)
    failed = [c for c in cases if c.verdict is Verdict.FAIL]
    # A known issue is told as a skip, and is the same failure again.
    own = [c for c in cases if (c.workload, c.case) == (case.workload, case.case)]
    same = [c for c in own if c.verdict is Verdict.FAIL or c.known]
    if same:
        return Trial(subject, Shown.AGAIN, _line(same[0]))
    if failed:
        first = failed[0]
        passed = bool(own) and all(c.verdict is Verdict.PASS for c in own)
        reason = f"{first.workload}:{first.case}: {_line(first)}"
        return Trial(subject, Shown.OTHERWISE, reason, passed)
    wrong = [c for c in cases if c.verdict is Verdict.ERROR]
    if wrong:
        return Trial(subject, Shown.UNKNOWN, _line(wrong[0]))
    staged = case.workload in STAGES
    if any(c.verdict is Verdict.PASS if staged else executed(c) for c in cases if not c.known):
        left_out = own and all(c.verdict is Verdict.SKIP for c in own)
        return Trial(subject, Shown.NO, passed=True, skipped=_line(own[0]) if left_out else "")
    skipped = next((c for c in cases if c.verdict is Verdict.SKIP), None)
    return Trial(subject, Shown.UNKNOWN, _line(skipped) if skipped else "no case was executed")


def _line(case: CaseResult) -> str:
    return case.reason.partition("\n")[0] or case.verdict.value


def answer(repeat: Repeat, trials: Iterable[Trial]) -> str:
    """One sentence: whether it failed again, and whether the series is to blame."""
    every = tuple(trials)
    tested = _worst(t for t in every if not t.subject.is_base)
    base = _worst(t for t in every if t.subject.is_base)
    if tested is None:
        return "nothing was tried" if base is None else f"only the base was tried: {_saying(base)}"
    counts = _counts(every)
    if tested.shown is Shown.UNKNOWN:
        return f"not known whether it fails again: {tested.reason}{counts}"
    kernel = repeat.tested.cell.build.kernel
    series = by_series(kernel)
    name = repeat.base.cell.build.kernel.name if repeat.base else ""
    if not tested.failed:
        told = "did not fail again"
        if base is not None and base.failed:
            what = "not the series" if series else "not what differs"
            told += f", but fails on {name}, the base: {what}"
        return told + counts
    how = "fails" if tested.shown is Shown.AGAIN else "fails in another case"
    if base is None:
        return f"{how} again{counts}" if tested.shown is Shown.AGAIN else f"{how}{counts}"
    if base.shown is Shown.UNKNOWN:
        return f"{how} again; nothing is known of the base {name}: {base.reason}{counts}"
    if not base.failed:
        if series:
            return f"{how} with the series and not without it: the series is to blame{counts}"
        return f"{how} here and not on {name}: what differs between them is to blame{counts}"
    if base.shown is tested.shown:
        return f"fails on the base too: not the series{counts}" if series else (
            f"fails on {name} too: not what differs between them{counts}"
        )  # fmt: skip
    return f"{how}; the base {name} fails too, but otherwise ({base.reason}){counts}"


def _worst(trials: Iterable[Trial]) -> Trial | None:
    order = (Shown.AGAIN, Shown.OTHERWISE, Shown.UNKNOWN, Shown.NO)
    return min(trials, key=lambda trial: order.index(trial.shown), default=None)


def _saying(trial: Trial) -> str:
    return trial.shown.value + (f" ({trial.reason})" if trial.reason else "")


def _counts(trials: tuple[Trial, ...]) -> str:
    """``; 1 of 7 trials failed, 0 of 7 on the base``; empty where each kernel had one trial."""
    tested = [t for t in trials if not t.subject.is_base]
    base = [t for t in trials if t.subject.is_base]
    if len(tested) < 2:
        return ""
    told = f"; {sum(t.failed for t in tested)} of {len(tested)} trials failed"
    return told + (f", {sum(t.failed for t in base)} of {len(base)} on the base" if base else "")
