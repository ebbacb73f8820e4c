# SPDX-License-Identifier: GPL-2.0-only
"""Which cases of a run are tried again with and without the series, and what that came to.  Pure.

A case that fails with the series and did not fail without is a *suspect*.  Where its workload comes
to the same each time, the run's own pair decides already and nothing is run again; unless what it
failed of is a matter of time (a hang, a time-out), which one more pair confirms, or the history
knows that the case is not as steady as its manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.judge.outcome import executed
from orchestrator.judge.sequential import decide
from orchestrator.model.judging import Decision, ErrorRates, Retried
from orchestrator.model.names import STAGES, TROUBLE, CaseId, Verdict
from orchestrator.model.results import CaseComparison, CaseResult, Change, Comparison
from orchestrator.model.spec import Cell, WorkloadSpec

#: Without a baseline that can be tried, a case is tried so often at most: what fails each time then
#: fails in at least 55 % of all times, at 95 % (0.55 ** 5 = 0.05).
ALONE = 5


@dataclass(frozen=True)
class Suspect:
    """A case that fails on the kernel under test and did not on the baseline.

    With ``decided`` the run's own pair is enough; with ``steady`` one more that agrees with it is.
    """

    case: CaseResult
    spec: WorkloadSpec
    steady: bool
    decided: bool

    @property
    def cell(self) -> str:
        """The id of its cell."""
        return str(CaseId.parse(self.case.id).cell)


def suspects(comparison: Comparison, cells: Mapping[str, Cell]) -> tuple[Suspect, ...]:
    """The cases of a comparison that one more look may clear, in the comparison's order.

    :param cells: the cells of the kernel under test by id, as they ran.
    """
    ran = {_place(item.key) for item in comparison.cases if item.before and executed(item.before)}
    found = []
    for item in comparison.regressed:
        case = item.after
        if case is None or case.verdict is not Verdict.FAIL or case.workload in STAGES:
            continue
        cell = cells.get(str(CaseId.parse(case.id).cell))
        spec = next((s for s in cell.workloads if s.name == case.workload), None) if cell else None
        if cell is None or spec is None or not _passed(item, ran):
            continue
        steady = spec.deterministic and not _flaked(case)
        decided = steady and case.case not in TROUBLE
        if decided or not cell.on_host:
            found.append(Suspect(case, spec, steady, decided))
    return tuple(found)


def _passed(item: CaseComparison, ran: set[tuple[str, str]]) -> bool:
    """Whether it did not fail on the baseline: what stands there only when it fails did not."""
    if item.before is not None:
        return item.before.verdict is Verdict.PASS and not item.before.expected
    return _place(item.key) in ran


def _place(key: str) -> tuple[str, str]:
    """The cell and workload of a case: only a case's name may hold colons."""
    cell, _, rest = key.partition(":")
    return cell, rest.partition(":")[0]


def _flaked(case: CaseResult) -> bool:
    """Whether the history has it both passed and failed on one kernel."""
    past = case.earlier
    return past is not None and bool(past.passed or past.failed_elsewhere)


# ---------------------------------------------------------------- the trials of one suspect


@dataclass
class Tally:
    """What the trials of a suspect came to so far: pairs (failed, failed on the base).

    Without a ``base`` to try (empty) only the first of each pair counts.  ``cause`` is the number
    of what the case fails for, as the run's causes are counted; None for none that is known.
    """

    suspect: Suspect
    rates: ErrorRates
    most: int
    base: str = ""
    series: bool = True
    cause: int | None = None
    pairs: list[tuple[bool, bool]] = field(default_factory=list)
    note: str = ""

    @property
    def enough(self) -> bool:
        """Whether another trial would tell nothing new, or is one too many."""
        if self.suspect.decided or self.note:
            return True
        if not self.base:
            few = len(self.pairs) >= min(self.most, ALONE)
            return few or len({failed for failed, _ in self.pairs}) == 2
        decided = self._decided()
        return decided is not Decision.UNDECIDED or len(self.pairs) >= self.most

    @property
    def sure(self) -> bool:
        """Whether the series is known to break it."""
        return self.enough and self.retried().decision is Decision.REGRESSION

    def _decided(self) -> Decision:
        return decide(self.pairs, self.rates, deterministic=self.suspect.steady).decision

    def _confirmed(self) -> bool:
        """Whether the run's pair counts: nothing has shown the workload to be other than steady."""
        if not self.suspect.steady:
            return False
        return self.suspect.decided or self.pairs == [(True, False)]

    def retried(self) -> Retried:
        """The outcome, as it stands beside the case."""
        failed, base = (sum(pair[side] for pair in self.pairs) for side in (0, 1))
        count, steady = len(self.pairs), self._confirmed()
        tried = count if self.base or steady else 0
        decision = Decision.REGRESSION
        if not steady:
            decision = self._decided() if self.base else Decision.UNDECIDED
        more = int(steady)
        return Retried(
            decision, failed + more, count + more, base, tried + more, self.base, steady,
            self.series, self.note, self.rates,
        )  # fmt: skip


def to_try(here: Sequence[Tally], everywhere: Sequence[Tally]) -> tuple[str, ...]:
    """The workloads of a cell to try next: for each cause the first with a case left to decide.

    A cause that is known to be the series' doing by one of its cases needs no other one tried, and
    this is noted.

    :param everywhere: those of all cells, any of which may decide a cause.
    """
    sure: dict[int, str] = {}
    for tally in everywhere:
        if tally.cause is not None and tally.sure:
            sure.setdefault(tally.cause, tally.suspect.case.id)
    names: dict[object, str] = {}
    for tally in here:
        if tally.enough:
            continue
        if tally.cause in sure:
            tally.note = f"what it fails for is decided by {sure[tally.cause]}"
            continue
        name = tally.suspect.spec.name
        names.setdefault(name if tally.cause is None else tally.cause, name)
    return tuple(dict.fromkeys(names.values()))


# ---------------------------------------------------------------- in words


def how_sure(decision: Decision, rates: ErrorRates) -> str:
    """How often the test is wrong where it decides so: ``wrong in at most 1%``."""
    if decision in (Decision.REGRESSION, Decision.BETTER):
        return f"wrong in at most {_percent(rates.false_regressions)}"
    points = f"{rates.points * 100:g} points"
    return f"a regression of {points} would be missed in at most {_percent(rates.missed)}"


def _percent(share: float) -> str:
    return f"{share * 100:g}%"


def counts_text(found: Retried) -> str:
    """``fails 7 of 9 with the series, 0 of 9 without``; of the base only where that was tried."""
    here, there = ("with the series", "without") if found.series else ("here", "on the baseline")
    counts = f"fails {found.failed} of {found.trials} {here}"
    if found.trials_base:
        counts += f", {found.failed_base} of {found.trials_base} {there}"
    return counts


def retried_text(found: Retried | None) -> str:
    """``regression: fails 7 of 9 with the series, 0 of 9 without (wrong in at most 1%)``.

    Empty where nothing was tried again.
    """
    if found is None:
        return ""
    counts = counts_text(found)
    why = f" ({found.note})" if found.note else ""
    if found.steady:
        return f"{found.decision.value}: {counts}, and its workload is deterministic"
    if not found.trials:
        return f"not tried again{why}"
    if not found.trials_base:
        what = "not seen again" if not found.failed else "fails each time"
        if 0 < found.failed < found.trials:
            what = "flaky here, on the baseline not known"
        return f"{what}: {counts}; the baseline is another run, and was not tried{why}"
    if found.decision is Decision.UNDECIDED:
        return f"undecided: {counts}{why}"
    return f"{found.decision.value}: {counts} ({how_sure(found.decision, found.rates)})"


def judged_again(change: Change, reason: str, case: CaseResult, base: str) -> tuple[Change, str]:
    """A change with what the trials of a case that regressed came to.

    What fails as often without the series is flaky and no regression; what was not decided stays
    one.  So does a report of the kernel's that was never seen without the series: that it is rare
    does not make it harmless.

    :param base: the kernel it is compared with, of the same run; empty for another run.
    """
    found = case.retried
    if change is not Change.REGRESSED or found is None or found.base not in ("", base):
        return change, reason
    told = f"{retried_text(found)}: {case.reason or reason}"
    if not found.base or found.decision in (Decision.REGRESSION, Decision.UNDECIDED):
        return change, told
    if not found.failed_base and any(not hit.known for hit in case.hits):
        return change, f"rare, and a report that was never seen without the series; {told}"
    return Change.FLAKY, told
