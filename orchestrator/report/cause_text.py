# SPDX-License-Identifier: GPL-2.0-only
"""A cause of failures in words: for the terminal, for a line, for a script.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.judge.causes import Cause
from orchestrator.judge.retried import retried_text
from orchestrator.judge.signs import CauseKind
from orchestrator.model.formats import counted
from orchestrator.model.names import CaseId
from orchestrator.model.results import CaseResult
from orchestrator.report.trace import touched_places

# As many workloads or cases are named one by one.
_NAMED = 8
# A reason is what a guest says: a line of 2,000 characters is no headline.
_LONGEST = 300


def headline(cause: Cause) -> str:
    """What is wrong and where: ``kernel BUG at mm/swapfile.c:1587 in 3 workloads``.

    Of what is no report and no counter the place comes first, since what is wrong is a sentence:
    ``7 cases of uffd-move/swap: swap.c:68: got 0, expected 1``.
    """
    many, cells = len(cause.cases), _cells(cause.cases)
    title = titled(cause)
    if cause.kind is CauseKind.BUILD:
        return f"{cells[0] if many == 1 else f'{many} builds'}: {title}"
    where = _places(cause.cases)
    if cause.kind in (CauseKind.REPORT, CauseKind.COUNTER):
        word = "in" if len({case.workload for case in cause.cases}) == 1 else "and"
        return f"{title} in {where}" + (f" {word} {len(cells)} cells" if len(cells) > 1 else "")
    if cause.kind is not CauseKind.GUEST:
        where = f"{many} cases of {where}" if many > 1 else f"{where}:{cause.first.case}"
    elif len(cells) > 1:
        where = f"{where} in {len(cells)} cells"
    return f"{where}: {title}"


def titled(cause: Cause) -> str:
    """What is wrong, cut where it is long."""
    return cause.title if len(cause.title) <= _LONGEST else f"{cause.title[:_LONGEST]} [...]"


def block(cause: Cause) -> list[str]:
    """A cause in some lines: what and where, its evidence, who follows, how to repeat it."""
    again = [f"again: {cause.first.rerun}"] if cause.first.rerun else []
    lines = [f"       {text}" for text in (*about(cause), *again)]
    return [f"{cause.verdict.value.upper():5}  {headline(cause)}", *lines]


def about(cause: Cause) -> tuple[str, ...]:
    """What the headline leaves out, a line each: who shows it, its evidence, who follows."""
    places = touched_places(replace(cause.first, hits=cause.hits), 1)
    touched = (f"in its trace, touched by the change: {place}" for place in places)
    before = earlier_text(cause.first)
    again = tried_again(cause)
    told = (_named(cause), cause.evidence, followers_text(cause), *touched, again, before)
    return tuple(filter(None, told))


def tried_again(cause: Cause) -> str:
    """What further trials of a cause's cases came to: of the first that has any.

    Where cases of the same cause were decided otherwise, how many were.
    """
    tried = [case.retried for case in cause.cases if case.retried is not None]
    if not tried:
        return ""
    others = sum(one.decision is not tried[0].decision for one in tried)
    more = f"; {counted(others, 'case')} otherwise" if others else ""
    return retried_text(tried[0]) + more


def earlier_text(case: CaseResult) -> str:
    """What the history has of a case that failed, whether it is flaky; empty for nothing."""
    past = case.earlier
    if past is None:
        return ""
    here, there = past.passed + past.failed, past.passed_elsewhere + past.failed_elsewhere
    told = ""
    if past.passed and not past.failed:
        told = f"passed in {counted(here, 'earlier run')} of this kernel"
    elif past.passed:
        told = f"flaky: failed in {past.failed} of {counted(here, 'earlier run')} of this kernel"
    elif past.failed:
        told = f"failed in {counted(here, 'earlier run')} of this kernel too"
    if not there:
        return told
    failed = past.failed_elsewhere
    if told:
        more = "in" if past.failed else "failed in"
        return f"{told}, {more} {failed} of {there} of others"
    return f"failed in {failed} of {counted(there, 'earlier run')} of other kernels"


def followers_text(cause: Cause) -> str:
    """``17 cases after it in uffd-move/swap``; of a counter ``17 cases fail for it in ...``."""
    if not cause.followers:
        return ""
    said = "after it" if cause.kind is CauseKind.REPORT else _fail(cause.followers)
    return f"{counted(len(cause.followers), 'case')} {said} in {_places(cause.followers)}"


def cause_to_dict(cause: Cause) -> dict[str, object]:
    """A cause for scripts: ``cases`` show it, ``after`` fail because of it."""
    told: dict[str, object] = {
        "kind": cause.kind.value,
        "kernel": cause.kernel,
        "title": cause.title,
        "cases": [case.id for case in cause.cases],
        "after": [case.id for case in cause.followers],
        "again": cause.first.rerun,
    }
    more = {"evidence": cause.evidence, "tried_again": tried_again(cause)}
    return told | {name: text for name, text in more.items() if text}


def _named(cause: Cause) -> str:
    """Those that the headline only counts, by name: a second cause must not hide in a number."""
    if cause.kind is CauseKind.BUILD:
        names = _cells(cause.cases)
    elif cause.kind in (CauseKind.CASE, CauseKind.ERROR) and len(cause.cases) > 1:
        one = len(_workloads(cause.cases)) == 1
        names = [c.case if one else f"{c.workload}:{c.case}" for c in cause.cases]
    else:
        names = _workloads(cause.cases)
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        return ""
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {left} more" if left > 0 else "")


def _places(cases: Iterable[CaseResult]) -> str:
    names = _workloads(cases)
    return names[0] if len(names) == 1 else counted(len(names), "workload")


def _workloads(cases: Iterable[CaseResult]) -> list[str]:
    return list(dict.fromkeys(case.workload for case in cases))


def _cells(cases: Iterable[CaseResult]) -> list[str]:
    cells = (CaseId.parse(case.id).cell for case in cases)
    return list(dict.fromkeys("/".join(cell.applying) for cell in cells))


def _fail(cases: tuple[CaseResult, ...]) -> str:
    return "fails for it" if len(cases) == 1 else "fail for it"
