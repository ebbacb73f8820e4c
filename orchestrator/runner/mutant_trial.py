# SPDX-License-Identifier: GPL-2.0-only
"""One mutant: planted, compiled, built, booted, and tried until the first case fails."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from orchestrator.host.cache.trim import remove_build
from orchestrator.judge.outcome import STOPPED
from orchestrator.kernel.mutants.code import NotCompiled, Objects
from orchestrator.kernel.mutants.find import diff_of
from orchestrator.kernel.mutants.plant import plant
from orchestrator.kernel.source import store
from orchestrator.model.errors import Ended, HostError, Interrupted, LabError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.mutants import Mutant, Outcome, Tried, Unmutated
from orchestrator.model.names import NOT_RUN, STAGES, CaseId, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Cell, Plan
from orchestrator.runner.context import (
    OF_CASE,
    OF_CELL,
    OF_KERNEL,
    Context,
    Event,
    Kernel,
    Listener,
)
from orchestrator.runner.foreseeing import Foreseeing
from orchestrator.runner.mutant_order import Order
from orchestrator.runner.stages import Stages
from orchestrator.runner.state import reason_of

#: Below the campaign's folder: what mutants that were caught left, and those that were not judged.
FOLDER = "trials"
#: Why a mutant survives for which no kernel was built.
NOBODY = "none of the workloads runs its function, as was counted"
_log = logging.getLogger("lab.mutate")


class Watch:
    """Listens while a mutant is tried, and sets ``ending`` at the first failure that counts.

    That is one which lab.yaml does not foresee, and which the kernel has not without the mutant.

    :param failing: keys of the cases that fail without it.
    :param beside: is told how far the guest is, and of no failure: a mutant's is none of the run.
    """

    def __init__(
        self, plan: Plan, version: str, failing: Iterable[str], beside: Listener
    ) -> None:  # fmt: skip
        self.ending = threading.Event()
        self.case: CaseResult | None = None
        self.key = ""
        self.at = 0.0
        self.ran: dict[str, None] = {}
        self.left: list[CaseResult] = []
        self.errors: list[CaseResult] = []
        self._failing = frozenset(failing)
        self._beside = beside
        self._lock = threading.Lock()
        self._mark = Foreseeing(plan, self._look)
        kernel = plan.cells[0].build.kernel.name
        self._mark(Event(OF_KERNEL, kernel, "done", version=version))

    def __call__(self, event: Event) -> None:
        """Look at a case, hand on what is no verdict."""
        if event.kind == OF_CASE:
            with self._lock:
                self._mark(event)
        elif event.kind == OF_CELL and event.verdict is None:
            self._beside(event)

    def _look(self, event: Event) -> None:
        if event.kind != OF_CASE or event.case is None:
            return
        case, key = event.case, CaseId.parse(event.id).key
        if case.case == NOT_RUN:
            self.left.append(case)
        elif case.workload not in STAGES:
            self.ran[case.workload] = None
        if key in self._failing:
            return
        if event.verdict is Verdict.ERROR:
            self.errors.append(case)
        if event.verdict is Verdict.FAIL and not event.foreseen and self.case is None:
            self.case, self.key, self.at = case, key, time.monotonic()
            self.ending.set()


@dataclass
class Trials:
    """What the trials of all mutants share.

    One mutant is built at a time: they have a build folder in common.
    """

    cell: Cell
    plan: Plan
    kernel: Kernel
    unmutated: Unmutated
    objects: Objects
    order: Order
    context: Context
    stages: Stages
    building: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, number: int, mutant: Mutant) -> Tried:
        """Try one mutant; what the host does wrong is its outcome ``NOT_JUDGED``.

        :param number: names its folder below :data:`FOLDER`.
        :raises Interrupted: when the campaign is.
        """
        began = time.monotonic()
        draft = Tried(mutant, Outcome.NOT_JUDGED)
        try:
            draft = replace(draft, diff=self._diff(mutant))
            found = self._attempt(number, draft, began)
        except Interrupted:
            raise
        except Exception as error:
            found = replace(draft, reason=reason_of(error, f"mutant {mutant.name}", _log))
        if not found.seconds:
            found = replace(found, seconds=time.monotonic() - began)
        if found.outcome is Outcome.CAUGHT:
            self.order.caught(mutant.function, CaseId.of_key("-", found.case).workload)
        return found

    def _diff(self, mutant: Mutant) -> str:
        source = store.read_file(self.kernel.tree.tree, mutant.file, self.context.cache)
        if source is None:
            raise HostError(f"{mutant.file} is no longer in the cache's store")
        return diff_of(mutant, source)

    def _attempt(self, number: int, draft: Tried, began: float) -> Tried:
        mutant = draft.mutant
        tree = plant(mutant, self.kernel.tree, self.context.cache)
        try:
            if self.objects.changes(mutant.file, tree) is False:
                return replace(draft, outcome=Outcome.SAME_CODE)
        except NotCompiled as error:
            return replace(draft, outcome=Outcome.NOT_COMPILED, reason=str(error))
        if not self.order.of(mutant.function):
            return replace(draft, outcome=Outcome.SURVIVED, reason=NOBODY)
        kernel = replace(self.kernel, tree=tree)
        with self.building:
            built = self.stages.build(self.cell.build, kernel, self.context)
        try:
            draft = replace(draft, build_seconds=time.monotonic() - began)
            if built.verdict is not Verdict.PASS:
                return replace(draft, outcome=Outcome.NOT_COMPILED, reason=built.reason)
            if built.image_sha256 and built.image_sha256 == self.unmutated.image_sha256:
                return replace(draft, outcome=Outcome.SAME_CODE)
            return self._in_guest(number, draft, built, kernel, began)
        finally:
            self._forget(built)

    def _forget(self, built: BuildResult) -> None:
        """A mutant's kernel is of no use to anybody: a hundred of them would fill the cache."""
        same = built.image_sha256 == self.unmutated.image_sha256
        if built.image is not None and not built.cached and not same:
            remove_build(built.image.parent, self.context.cache)

    def _in_guest(
        self, number: int, draft: Tried, built: BuildResult, kernel: Kernel, began: float
    ) -> Tried:
        specs = self.order.of(draft.mutant.function)
        cell = replace(self.cell, workloads=specs, signs=())
        watch = Watch(
            replace(self.plan, cells=(cell,)), kernel.tree.version, self.unmutated.failing,
            self.context.listener,
        )  # fmt: skip
        folder = self.context.folder / FOLDER / str(number)
        shutil.rmtree(folder, ignore_errors=True)  # of a part that was interrupted
        machine = replace(self.context.machine, folder=folder, ending=watch.ending)
        problem: LabError | None = None
        try:
            self.stages.run(cell, built, kernel, Context(self.context.values, machine, watch))
        except Ended:
            pass  # before anything but the failure was known
        except Interrupted:
            raise
        except (LabError, OSError) as error:
            problem = error if isinstance(error, LabError) else HostError(str(error))
        ran = tuple(watch.ran)
        raced = {spec.name for spec in specs if not spec.deterministic}
        draft = replace(draft, workloads=ran, raced=bool(raced & set(ran)))
        if watch.case is not None:
            reason = watch.case.reason
            return replace(
                draft, outcome=Outcome.CAUGHT, case=watch.key, reason=reason,
                seconds=watch.at - began,
            )  # fmt: skip
        if any(case.reason == STOPPED for case in watch.left):
            raise Interrupted("interrupted")  # what was not run might have caught it
        wrong = problem.message if problem else ""
        if not wrong and watch.errors:
            first = watch.errors[0]
            wrong = f"{first.workload}:{first.case}: {first.reason}"
        if not wrong and not ran:
            wrong = "no workload was run"
        if wrong:
            return replace(draft, reason=wrong)
        shutil.rmtree(folder, ignore_errors=True)
        return replace(draft, outcome=Outcome.SURVIVED)
