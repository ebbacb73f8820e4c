# SPDX-License-Identifier: GPL-2.0-only
"""The page's lists: causes, patches, what was skipped and why, what known issues excuse.  Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.judge.causes import Cause
from orchestrator.judge.counts import is_known_failure, is_skipped
from orchestrator.judge.known_issues import NOT_SEEN, NOT_TRIED, SEEN
from orchestrator.judge.outcome import cases_of, cell_cases
from orchestrator.judge.tested import tested_kernels
from orchestrator.model.names import CaseId
from orchestrator.model.results import CaseResult, CellRecord, IssueRecord, KernelRecord, RunResult
from orchestrator.model.searched import Searched


@dataclass(frozen=True)
class Listed:
    """Cases that share a reason."""

    reason: str
    cases: tuple[CaseResult, ...]


def skipped(run: RunResult) -> tuple[Listed, ...]:
    """What was skipped, by reason, the most frequent first; known failures are none of it."""
    found: dict[str, list[CaseResult]] = {}
    for placed in cases_of(run):
        if is_skipped(placed.case):
            found.setdefault(placed.case.reason.strip(), []).append(placed.case)
    listed = [Listed(reason or "no reason given", tuple(cases)) for reason, cases in found.items()]
    return tuple(sorted(listed, key=lambda one: -len(one.cases)))


@dataclass(frozen=True)
class KnownIssues:
    """The issues of lab.yaml that share a reason: ``words`` say what it is, ``source`` where more.

    ``cases`` failed for it and are excused, ``logs`` pass although their kernel log shows it too.
    ``state`` is the strongest of its issues.
    """

    words: str
    source: str
    state: str
    issues: tuple[IssueRecord, ...]
    cases: tuple[CaseResult, ...]


def known_issues(run: RunResult) -> tuple[KnownIssues, ...]:
    """The known issues by reason: seen ones first, then those that are gone, then the untried."""
    by_reason: dict[str, list[IssueRecord]] = {}
    for issue in run.known_issues:
        by_reason.setdefault(issue.reason, []).append(issue)
    excused = [p.case for p in cases_of(run) if is_known_failure(p.case)]
    order = (SEEN, NOT_SEEN, NOT_TRIED)
    found = []
    for reason, issues in by_reason.items():
        words, source = _split(reason)
        # A case that several issues excuse has their reasons in a row.
        cases = tuple(case for case in excused if reason in case.known)
        state = min((issue.state for issue in issues), key=order.index)
        found.append(KnownIssues(words, source, state, tuple(issues), cases))
    return tuple(sorted(found, key=lambda one: order.index(one.state)))


def _split(reason: str) -> tuple[str, str]:
    """What a reason says, and the file or address that it names last: ``...; docs/findings.md``."""
    words, _, source = reason.rpartition("; ")
    if words and " " not in source and ("/" in source or source.endswith(".md")):
        return words, source
    return reason, ""


def patched(run: RunResult) -> tuple[KernelRecord, ...]:
    """The kernels that have a series; of a search the one in which the case failed."""
    found = run.kernels if run.searched is None else tested_kernels(run)
    return tuple(kernel for kernel in found if kernel.series)


def searched_patches(run: RunResult, kernel: str) -> dict[int, tuple[Searched, ...]]:
    """By number the patches of a kernel's series that sure searches for its cases name."""
    own = (run.searched,) if run.searched is not None else ()
    found: dict[int, tuple[Searched, ...]] = {}
    for one in (*own, *run.searches):
        if one.sure and CaseId.parse(one.case).cell.kernel == kernel:
            for number in one.patches:
                found[number] = (*found.get(number, ()), one)
    return found


@dataclass(frozen=True)
class ShownCause:
    """A cause as the page has it.

    ``cell`` is that of its first case where the cause shows that one's evidence, None where that
    stands elsewhere: a series, a build, or a case that an earlier cause shows.
    """

    number: int
    cause: Cause
    cell: CellRecord | None
    others: tuple[CaseResult, ...]


def shown_causes(run: RunResult, causes: Sequence[Cause]) -> tuple[ShownCause, ...]:
    """The causes with the cases whose evidence they show; no case's is shown twice."""
    cells = {case.id: cell for cell in run.cells for case in cell_cases(run, cell)}
    found = []
    for number, cause in enumerate(causes, 1):
        cell = cells.pop(cause.first.id, None)
        found.append(ShownCause(number, cause, cell, (*cause.cases[1:], *cause.followers)))
    return tuple(found)


def told_above(shown: Iterable[ShownCause]) -> dict[str, int]:
    """By case the number of the cause that shows its evidence; 0 for every other case."""
    return defaultdict(int, {one.cause.first.id: one.number for one in shown if one.cell})


def configs_of(run: RunResult) -> tuple[str, ...]:
    """The configs of the run's cells in their order."""
    return tuple(dict.fromkeys(cell.config for cell in run.cells))


def workloads_of(run: RunResult) -> tuple[str, ...]:
    """The workloads of the run's cells by name."""
    return tuple(sorted({case.workload for cell in run.cells for case in cell.cases}))
