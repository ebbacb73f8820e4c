# SPDX-License-Identifier: GPL-2.0-only
"""A cell that was run in two parts, since the run was ended between them, as one record.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.judge.outcome import BAD, cell_verdict
from orchestrator.model.names import NOT_RUN
from orchestrator.model.results import CaseResult, CellRecord


def workloads_done(cell: CellRecord) -> tuple[str, ...]:
    """What of a cell was run, or told why not, before the run was ended."""
    return tuple(dict.fromkeys(c.workload for c in cell.cases if c.case != NOT_RUN))


def joined(first: CellRecord, rest: CellRecord, workloads: Iterable[str]) -> CellRecord:
    """What was found before the run was ended stays; what was left out then comes of the rest.

    Of what both parts tell of the guest itself (that it boots) the first stands, and beside it
    whatever the second found bad.

    :param workloads: the cell's, in the order of its record.
    """
    if not rest.cases:  # it came to nothing, and says why
        return replace(first, notes=tuple(dict.fromkeys((*first.notes, *rest.notes))))
    cases = [case for case in first.cases if case.case != NOT_RUN]
    ids = {case.id for case in cases}
    for case in rest.cases:
        if case.id in ids and case.verdict not in BAD:
            continue
        case = _unique(case, ids)
        ids.add(case.id)
        cases.append(case)
    order = {name: number for number, name in enumerate(workloads, 1)}
    cases.sort(key=lambda case: order.get(case.workload, 0))  # sort() is stable
    return replace(
        rest,
        verdict=cell_verdict(cases),
        boot_seconds=first.boot_seconds or rest.boot_seconds,
        cases=tuple(cases),
        qemu_command=first.qemu_command or rest.qemu_command,
        console_log=first.console_log or rest.console_log,
        notes=tuple(dict.fromkeys((*first.notes, *rest.notes))),
        restore_seconds=first.restore_seconds or rest.restore_seconds,
        coverage=rest.coverage or first.coverage,
        covered=rest.covered or first.covered,
        loops=(*first.loops, *(one for one in rest.loops if one not in first.loops)),
    )


def _unique(case: CaseResult, ids: set[str]) -> CaseResult:
    """The case under an id of its own, numbered as a cell's log numbers them."""
    unique, number = case, 2
    while unique.id in ids:
        unique = replace(case, id=f"{case.id}-{number}", case=f"{case.case}-{number}")
        number += 1
    return unique
