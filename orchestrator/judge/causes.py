# SPDX-License-Identifier: GPL-2.0-only
"""Why a run fails: its bad cases grouped by cause, in the order in which they are worth reading.

One wrong line makes many cases fail.  Two cases are of one cause where evidence says so:

* kernel-log reports of one signature (of a counter that is not zero at exit, of one sign too); a
  report that is cut or mixed stands alone, since its signature may be that of another;
* a counter that is off on the same side, or the same leak;
* a guest that was lost without a report, or a hang: by workload, since nothing tells why;
* a check that failed at the same place of the same workload and said the same but for numbers;
* random programs that broke the same rule by the same step;
* what is no check: the same workload, case and reason; a promise that is broken for one reason;
* a symbol that did not take: the build that it stopped, and the case ``config`` of its cells.

Causes of different kernels are never one.  A case may show several causes, and stands in each.  It
*follows* from one only where that is proved: a guest that is lost to a fatal report, a hang where a
stall was reported, a check whose numbers are those of a drift in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from orchestrator.judge.outcome import BAD, PlacedCase, cases_of
from orchestrator.judge.signs import CauseKind, Key, Sign, first_line, signs_of
from orchestrator.model.evidence import Hit
from orchestrator.model.names import (
    BUILD,
    CaseId,
    Verdict,
)
from orchestrator.model.results import CaseResult, Found, RunResult


@dataclass(frozen=True)
class Cause:
    """One cause: ``cases`` show it, ``followers`` fail because of it; all of them on ``kernel``.

    ``title`` says what is wrong and not where, ``evidence`` what the first case says of it in a
    line (empty where that is the title).  ``hits`` are the first case's reports of it.
    """

    kind: CauseKind
    kernel: str
    title: str
    evidence: str
    cases: tuple[CaseResult, ...]
    followers: tuple[CaseResult, ...] = ()
    hits: tuple[Hit, ...] = ()

    @property
    def first(self) -> CaseResult:
        """The case to look at, and to run again."""
        return self.cases[0]

    @property
    def verdict(self) -> Verdict:
        """Fail where the kernel is to blame, else error."""
        return self.first.verdict


def causes_of(run: Found) -> tuple[Cause, ...]:
    """All causes of what failed or could not be judged; none for a run in which all is well.

    The kernel under test comes before the baseline; then reports, counters, builds, guests, cases
    and what the host did; of reports the fatal first; else in the order of the run.
    """
    baseline = run.run.baseline if isinstance(run, RunResult) else ""
    return causes_among(cases_of(run), baseline)


def causes_among(cases: Iterable[PlacedCase], baseline: str = "") -> tuple[Cause, ...]:
    """The causes of what is bad among some cases, in the same order.

    :param baseline: the name of the kernel that comes last.
    """
    bad = [placed for placed in cases if placed.case.verdict in BAD]
    places: dict[tuple[str, str], list[PlacedCase]] = {}
    for placed in bad:
        cell = str(CaseId.parse(placed.case.id).cell)
        places.setdefault((cell, placed.case.workload), []).append(placed)
    # A symbol that stops a build fails the case `config` of each of its cells too.
    stopped = {(p.kernel, first_line(p.case)) for p in bad if p.case.workload == BUILD}
    found: dict[Key, _Growing] = {}
    later: list[tuple[Key, CaseResult]] = []
    for together in places.values():
        for placed, sign in signs_of(together, stopped):
            key = (placed.kernel, *sign.key)
            if sign.follows:
                later.append((key, placed.case))
            else:
                found.setdefault(key, _Growing(placed.kernel, sign)).add(placed.case, sign)
    for key, case in later:
        found[key].followers.append(case)
    order = list(CauseKind)
    ranked = sorted(
        found.values(), key=lambda one: (one.kernel == baseline, order.index(one.sign.kind),
                                         one.sign.rank),
    )  # fmt: skip
    return tuple(one.cause() for one in ranked)


def failures(run: Found) -> tuple[CaseResult, ...]:
    """Each bad case once, in the order of the causes: the first is *the* first failure of a run."""
    causes = causes_of(run)
    shown = [case for cause in causes for case in (*cause.cases, *cause.followers)]
    return tuple({case.id: case for case in shown}.values())


class _Growing:
    """A cause while cases are added."""

    def __init__(self, kernel: str, sign: Sign) -> None:
        self.kernel = kernel
        self.sign = sign
        self.cases: list[CaseResult] = []
        self.followers: list[CaseResult] = []

    def add(self, case: CaseResult, sign: Sign) -> None:
        self.cases.append(case)
        if sign.rank < self.sign.rank:
            self.sign = replace(self.sign, rank=sign.rank)

    def cause(self) -> Cause:
        sign = self.sign
        return Cause(
            sign.kind, self.kernel, sign.title, sign.evidence, tuple(self.cases),
            tuple(self.followers), sign.hits,
        )  # fmt: skip
