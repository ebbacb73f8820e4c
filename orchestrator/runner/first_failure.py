# SPDX-License-Identifier: GPL-2.0-only
"""The first failure of a run that nobody foresaw: what ``--fail-fast`` ends it for.

A known issue and what lab.yaml expects do not count, nor does what the host did.  Where the run is
compared with a baseline, what the baseline has too does not count either: with a baseline in the
same run a failure waits until the same case is known there.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from orchestrator.judge.outcome import cases_of, kernels_of, left_out_of
from orchestrator.model.names import BUILD, CaseId, CellId, Verdict
from orchestrator.model.results import RunResult
from orchestrator.model.spec import Plan
from orchestrator.runner.context import OF_BUILD, OF_CASE, OF_CELL, OF_KERNEL, Event, Listener
from orchestrator.runner.foreseeing import Foreseeing, case_of


class FirstFailure:
    """Listens to a run, and sets ``ending`` at its first failure; ``case`` is that one's id then.

    :param beside: who listens too, and is told before the run is ended.
    :param against: an earlier run that this one is compared with, in place of the plan's baseline.
    :param done: the part of this run that was before, where it goes on.
    :param regressions: only what the baseline has not counts, where there is one.
    """

    def __init__(
        self, plan: Plan, beside: Listener, against: RunResult | None = None,
        done: RunResult | None = None, *, regressions: bool,
    ) -> None:  # fmt: skip
        self.ending = threading.Event()
        self.case = ""
        self._beside = beside
        # The kernel of this run to compare with, and what is known of it or of an earlier run.
        self._base = (plan.baseline or "") if regressions and against is None else ""
        self._known = _earlier(plan, against) if regressions and against is not None else {}
        # Where the baseline has yet to run, and failures that wait for it.
        self._open = {CellId.parse(c.id) for c in plan.cells if c.build.kernel.name == self._base}
        if self._base and done is not None:
            self._known = {CaseId.parse(one.case.id): one.case.verdict
                           for one in cases_of(done, self._base)}  # fmt: skip
            self._open -= {CellId.parse(cell.id) for cell in done.cells
                           if cell.cases and not left_out_of(cell)}  # fmt: skip
        self._waiting: dict[CaseId, CaseId] = {}
        self._lock = threading.Lock()
        self._mark = Foreseeing(plan, self._look)

    def __call__(self, event: Event) -> None:
        """Hand an event on, and see whether it ends the run."""
        self._beside(event)
        # Without a verdict too: a kernel that could be made has none, but the version that known
        # issues ask for.
        if event.kind in (OF_KERNEL, OF_BUILD, OF_CELL, OF_CASE):
            with self._lock:
                self._mark(event)

    def _look(self, event: Event) -> None:
        if event.verdict is None:
            return
        if event.kind == OF_CELL:
            self._over(CellId.parse(event.id))
            return
        case = case_of(event)
        if case.cell.kernel == self._base:
            self._of_base(case, event.verdict)
        elif event.verdict is Verdict.FAIL and not event.foreseen:
            self._failed(case)

    def _failed(self, case: CaseId) -> None:
        there = replace(case, cell=replace(case.cell, kernel=self._base or case.cell.kernel))
        if there in self._known:
            if self._known[there] is not Verdict.FAIL:
                self._end(case)
        elif self._base and (case.workload == BUILD or there.cell in self._open):
            self._waiting[there] = case
        else:
            self._end(case)

    def _of_base(self, case: CaseId, found: Verdict) -> None:
        if self._known.get(case) is not Verdict.FAIL:
            self._known[case] = found
        waiting = self._waiting.pop(case, None)
        if waiting is not None and found is not Verdict.FAIL:
            self._end(waiting)

    def _over(self, cell: CellId) -> None:
        """A cell of the baseline is over: a case that it has not fails on the other alone."""
        if cell.kernel != self._base:
            return
        self._open.discard(cell)
        for there, case in self._waiting.items():
            if there.cell == cell:
                self._end(case)

    def _end(self, case: CaseId) -> None:
        self.case = self.case or str(case)
        self.ending.set()


def _earlier(plan: Plan, run: RunResult) -> dict[CaseId, Verdict]:
    """What the cases of an earlier run came to, under the names that its kernels have in the plan.

    One kernel is set against one, whatever they are called, as a comparison does.
    """
    tested = tuple(dict.fromkeys(cell.build.kernel.name for cell in plan.cells))
    alone = len(tested) == 1 == len(kernels_of(run))
    return {
        CaseId.of_key(tested[0] if alone else one.kernel, one.key): (
            Verdict.FAIL if one.case.known else one.case.verdict
        )
        for one in cases_of(run)
    }
