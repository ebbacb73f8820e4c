# SPDX-License-Identifier: GPL-2.0-only
"""Whether lab.yaml foresees a failure, decided when it is told and not only at the run's end.

That is a help to who watches; what counts is settled at the end of the run, on all of its records:
an expectation that nothing met, or what followed from a known panic, shows only there.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.expectations import apply_expectations
from orchestrator.judge.known_issues import excused, mark
from orchestrator.model.formats import counted
from orchestrator.model.names import BUILD, CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Plan
from orchestrator.runner.context import OF_BUILD, OF_CASE, OF_CELL, OF_KERNEL, Event, Listener

EXPECTED = "expected"
KNOWN = "known issue"
# Of a cell in which nothing else fails: one such case and several.
_OF_A_CELL = {EXPECTED: ("expected failure", "expected failures"), KNOWN: (KNOWN, "known issues")}


def said(event: Event) -> str:
    """An event's verdict for people: ``fail``, ``fail (known issue)``, ``pass (3 known issues)``.

    A cell in which nothing fails but what lab.yaml foresees does not make the run fail.  Empty
    without a verdict.
    """
    if event.verdict is None:
        return ""
    if event.foreseen and event.foreseen_cases:
        one, many = _OF_A_CELL[event.foreseen]
        return f"{Verdict.PASS.value} ({counted(event.foreseen_cases, one, many)})"
    return f"{event.verdict.value} ({event.foreseen})" if event.foreseen else event.verdict.value


class Foreseeing:
    """A listener that marks what ``plan`` foresees, and hands each event on."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.plan = plan
        self.listener = listener
        self.versions: dict[str, str] = {}
        self.parts: dict[str, str] = {}  # series and builds that fail as foreseen
        self.cells: dict[str, list[str]] = {}  # what was said of each cell's bad cases

    def __call__(self, event: Event) -> None:
        """Mark and hand on one event."""
        if event.kind == OF_KERNEL and event.version:
            self.versions[event.id] = event.version
        if event.verdict is Verdict.FAIL:
            found = self._of_cell(event.id) if event.kind == OF_CELL else self._of_case(event)
            if event.kind == OF_CASE:
                self._keep(event.id, found)
            elif found:
                self.parts[event.id] = found
            event = replace(event, foreseen=found)
            if found and event.kind == OF_CELL and event.id in self.cells:
                event = replace(event, foreseen_cases=len(self.cells[event.id]))
        elif event.kind == OF_CASE and event.verdict is Verdict.ERROR:
            self._keep(event.id, "")  # nobody foresees what the host does
        self.listener(event)

    def _keep(self, case: str, found: str) -> None:
        self.cells.setdefault(str(CaseId.parse(case).cell), []).append(found)

    def _of_case(self, event: Event) -> str:
        case = event.case or _as_case(event)
        kernel = CaseId.parse(case.id).cell.kernel
        case = mark(case, self.versions.get(kernel, ""), self.plan.known_issues)
        if apply_expectations([case], self.plan.expectations)[0].expected:
            return EXPECTED
        return KNOWN if excused(case).known else ""

    def _of_cell(self, cell: str) -> str:
        """A cell fails as foreseen where its build does, or each of its failing cases."""
        found = self.cells.get(cell, [])
        if not found:
            return self.parts.get(CellId.parse(cell).build, "")
        return "" if "" in found else EXPECTED if EXPECTED in found else KNOWN


def case_of(event: Event) -> CaseId:
    """The case that an event of a kernel, a build or a case tells of."""
    if event.kind == OF_KERNEL:
        return CaseId.of_series(event.id)
    if event.kind == OF_BUILD:
        return CaseId(CellId.parse(event.id), BUILD, BUILD)
    return CaseId.parse(event.id)


def _as_case(event: Event) -> CaseResult:
    """The case that an event tells of; its hits are not known, their titles are in its text."""
    case_id = case_of(event)
    return CaseResult(str(case_id), case_id.workload, case_id.case, Verdict.FAIL, event.text)
