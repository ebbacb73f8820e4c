# SPDX-License-Identifier: GPL-2.0-only
"""The cases of a comparison by the cause for which they fail, as a summary has them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.causes import Cause
from orchestrator.judge.signs import CauseKind
from orchestrator.model.results import CaseComparison, Comparison


@dataclass(frozen=True)
class Grouped:
    """What stands together: ``items`` in the order of ``cause``, which has no other cases.

    ``cause`` is None for a case alone of which the candidate tells no cause: it is gone, or skips.
    """

    cause: Cause | None
    items: tuple[CaseComparison, ...]


def by_cause(items: Sequence[CaseComparison], causes: Iterable[Cause]) -> tuple[Grouped, ...]:
    """Cases by cause, in the order of the causes; then what has none, each alone, then the host's.

    A case that shows several causes stands with the first.  What only follows from a cause that
    none of ``items`` shows (it was there before) stands alone too.

    :param causes: those of the candidate's run.
    """
    left = {item.after.id: item for item in items if item.after is not None}
    alone = [item for item in items if item.after is None]
    found = []
    for cause in causes:
        shown = [case for case in cause.cases if case.id in left]
        if not shown:
            continue
        after = [case for case in cause.followers if case.id in left]
        own = replace(cause, cases=tuple(shown), followers=tuple(after))
        names = dict.fromkeys(case.id for case in (*shown, *after))
        found.append(Grouped(own, tuple(left.pop(name) for name in names)))
    hosts = [g for g in found if g.cause is not None and g.cause.kind is CauseKind.ERROR]
    without = [Grouped(None, (item,)) for item in (*left.values(), *alone)]
    return (*(group for group in found if group not in hosts), *without, *hosts)


def causes_to_tell(comparison: Comparison | None, causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """What a summary tells: every cause, or with a baseline those by which something regressed."""
    if comparison is None:
        return causes
    groups = by_cause(comparison.regressed, causes)
    return tuple(group.cause for group in groups if group.cause is not None)
