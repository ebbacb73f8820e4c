# SPDX-License-Identifier: GPL-2.0-only
"""The page's lists: what was skipped and why, what failed as known issues say, patches.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.judge.counts import is_known_failure, is_skipped
from orchestrator.judge.known_issues import NOT_SEEN, NOT_TRIED, SEEN
from orchestrator.judge.outcome import cases_of
from orchestrator.model.results import CaseResult, IssueRecord, KernelRecord, RunResult


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
    """The kernels that have a series."""
    return tuple(kernel for kernel in run.kernels if kernel.series)
