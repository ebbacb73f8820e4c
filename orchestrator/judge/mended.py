# SPDX-License-Identifier: GPL-2.0-only
"""What a comparison says of cases that a known issue excused on the baseline.  Pure.

Such a case failed there, whatever it was told as: passing now it is fixed.  What stood beside it
only because of the issue is no news by itself, nor is that there is a series, and that it applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.outcome import BAD, executed
from orchestrator.model.names import SERIES, STAGES, SYNTHETIC, TROUBLE, Verdict
from orchestrator.model.results import CaseComparison, CaseResult, Change


def failed_as_known(case: CaseResult) -> bool:
    """Whether a case failed, and passes or is skipped only because lab.yaml knows why."""
    return bool(case.known) and case.judged.startswith(Verdict.FAIL.value)


def without_companions(found: Sequence[CaseComparison]) -> list[CaseComparison]:
    """All cases of one kernel beside another's, each companion of a known issue told as one."""
    groups: dict[str, list[CaseComparison]] = {}
    for item in found:
        groups.setdefault(_place(item), []).append(item)
    facts = {place: _facts(items) for place, items in groups.items()}
    both = any(item.before for item in found) and any(item.after for item in found)
    return [_told(item, facts[_place(item)], both) for item in found]


@dataclass(frozen=True)
class _Facts:
    """Of a workload in a cell: the issue that ended its guest on the baseline, and what is now.

    ``fixed``: a case that the issue had excused passes; ``mended``: that, or one is gone that was
    there only for its failure, such as a hang.
    """

    lost: str = ""
    ran: bool = False
    fixed: bool = False
    mended: bool = False


def _place(item: CaseComparison) -> str:
    """The cell and workload of a case: only a case's name may hold colons."""
    cell, _, rest = item.key.partition(":")
    return f"{cell}:{rest.partition(':')[0]}"


def _facts(items: Sequence[CaseComparison]) -> _Facts:
    known = [item for item in items if item.before and item.before.known]
    if not known:  # nearly always
        return _Facts()
    trouble = [item for item in known if _only_bad(item)]
    after = [item.after for item in items if item.after]
    # A workload that came to a bad end may not have come to where the issue shows.
    ended_badly = any(case.case in TROUBLE and case.verdict in BAD for case in after)
    ran = any(map(_is_there, after)) and not ended_badly
    fixed = any(item.change is Change.FIXED for item in known)
    ended = any(item.before and failed_as_known(item.before) for item in trouble)
    lost = next((item.before.known for item in trouble if item.before), "")
    return _Facts(lost, ran, fixed, fixed or (ran and ended))


def _only_bad(item: CaseComparison) -> bool:
    """A case that the baseline had only because something went wrong."""
    return item.change is Change.GONE and item.before is not None and item.before.case in TROUBLE


def _is_there(case: CaseResult) -> bool:
    return executed(case) or (case.workload in STAGES and case.verdict is Verdict.PASS)


def _told(item: CaseComparison, facts: _Facts, both: bool) -> CaseComparison:
    before, after = item.before, item.after
    one = after or before
    if one is None or (before is not None and after is not None and item.change is not Change.NEW):
        return item
    if one.workload == SERIES and one.verdict is Verdict.PASS and not one.expected and both:
        told = "the baseline has no series" if before is None else "there is no series now"
        return replace(item, change=Change.UNCHANGED, reason=told)
    if before is not None and before.known and _only_bad(item) and facts.ran:
        if failed_as_known(before) and not facts.fixed:
            told = f"a known issue on the baseline, does not happen now: {before.known}"
            return replace(item, change=Change.FIXED, reason=told)
        told = f"there only for the known issue of the baseline: {before.known}"
        return replace(item, change=Change.UNCHANGED, reason=told)
    if after is None or after.verdict is not Verdict.PASS:
        return item
    if after.case in SYNTHETIC and facts.mended:
        told = "not judged on the baseline for its known issue"
        return replace(item, change=Change.UNCHANGED, reason=told)
    if before is None and facts.lost:
        return replace(item, reason=f"baseline: not reached for a known issue: {facts.lost}")
    return item
