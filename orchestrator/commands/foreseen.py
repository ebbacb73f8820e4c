# SPDX-License-Identifier: GPL-2.0-only
"""Whether lab.yaml foresees a failure, decided when it is told and not only at the run's end.

What is said live is a help to who watches.  What counts is settled at the end of the run, on all of
its records: an expectation that nothing met, or what followed from a known panic, shows only there.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.expectations import apply_expectations
from orchestrator.judge.known_issues import excused, mark
from orchestrator.model.values import CaseResult, Plan, Verdict
from orchestrator.runner.events import Event, Listener

EXPECTED = "expected"
KNOWN = "known issue"


class Foreseeing:
    """A listener that marks what ``plan`` foresees, and hands each event on."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.plan = plan
        self.listener = listener
        self.versions: dict[str, str] = {}
        self.parts: dict[str, str] = {}  # series and builds that fail as foreseen
        self.cells: dict[str, list[str]] = {}  # what was said of each cell's failing cases

    def __call__(self, event: Event) -> None:
        """Mark and hand on one event."""
        if event.kind == "kernel" and event.version:
            self.versions[event.id] = event.version
        if event.verdict is Verdict.FAIL:
            said = self._of_cell(event.id) if event.kind == "cell" else self._of_case(event)
            if event.kind == "case":
                self.cells.setdefault(event.id.partition(":")[0], []).append(said)
            elif said:
                self.parts[event.id] = said
            event = replace(event, foreseen=said)
        self.listener(event)

    def _of_case(self, event: Event) -> str:
        case = event.case or _as_case(event)
        case = mark(case, self.versions.get(case.id.partition("/")[0], ""), self.plan.known_issues)
        if apply_expectations([case], self.plan.expectations)[0].expected:
            return EXPECTED
        return KNOWN if excused(case).known else ""

    def _of_cell(self, cell: str) -> str:
        """A cell fails as foreseen where its build does, or each of its failing cases."""
        said = self.cells.get(cell, [])
        if not said:
            return self.parts.get(cell.rpartition("/")[0], "")
        return "" if "" in said else EXPECTED if EXPECTED in said else KNOWN


def _as_case(event: Event) -> CaseResult:
    """The case that an event tells of; its hits are not known, their titles are in its text."""
    where = {"kernel": f"{event.id}/-/-/-:series:apply", "build": f"{event.id}/-:build:build"}
    case_id = where.get(event.kind, event.id)
    _, _, rest = case_id.partition(":")
    workload, _, name = rest.partition(":")
    return CaseResult(case_id, workload, name, Verdict.FAIL, event.text)
