# SPDX-License-Identifier: GPL-2.0-only
"""The four things that a run does (a kernel, a build looked up or made, a cell), and their records.

What came of each is kept in the run's state, told, and given as the event that the schedule goes
by.  Whatever goes wrong is a record: nothing is raised but an interruption.  Which machine does the
work is the stages' affair: a cluster's engine hands in such as bring what a worker has answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from orchestrator.host.ending import ended_by
from orchestrator.judge.outcome import ENDED
from orchestrator.judge.resumed import joined, workloads_done
from orchestrator.model.errors import Ended, Interrupted, LabError, UserError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import CLI_KERNEL, Verdict
from orchestrator.model.results import BuildRecord, CellRecord, KernelRecord
from orchestrator.model.spec import Build, Cell, KernelSpec
from orchestrator.plan import budget
from orchestrator.runner import build_lines
from orchestrator.runner import context as told
from orchestrator.runner import schedule as rules
from orchestrator.runner.context import Context, Kernel
from orchestrator.runner.stages import Stages, record_build, record_kernel, record_unbooted
from orchestrator.runner.state import RunState


class Doing:
    """What is done in one run, step by step; steps of different tasks may be in any threads.

    :param on_change: called after each kernel, build and cell, to store what there is.
    :param boot: False where it stops after the builds.
    """

    def __init__(
        self, context: Context, state: RunState, stages: Stages,
        on_change: Callable[[RunState], None], *, boot: bool,
    ) -> None:  # fmt: skip
        self.context = context
        self.state = state
        self.stages = stages
        self.boot = boot
        self.on_change = on_change
        self.kernels: dict[str, Kernel] = {}
        # Set once the kernel of --source and --series cannot be had: its base alone is no answer.
        self.useless = False

    def prepare(self, spec: KernelSpec) -> rules.KernelEnded:
        """Have a kernel prepared."""
        try:
            kernel = self.stages.prepare(spec, self.context)
        except Interrupted:
            raise
        except Exception as error:
            typed = spec.name == CLI_KERNEL  # who typed --source knows it by no name
            reason = self.state.explain("" if typed else f"kernel {spec.name}", error)
            if isinstance(error, UserError) and typed:
                self.useless = True  # the run ends at once, and with that error
            else:
                self._tell(told.Event("kernel", spec.name, "done", reason, verdict=Verdict.ERROR))
            return rules.KernelEnded(spec.name, ready=False)
        self.kernels[spec.name] = kernel
        self._keep_kernel(record_kernel(kernel, spec))
        return rules.KernelEnded(spec.name, ready=kernel.tree.failure is None)

    def find(self, build: Build) -> rules.BuildEnded | rules.NotKept:
        """Look a build up among those that are kept."""
        try:
            built = self.stages.find(build, self.kernels[build.kernel.name], self.context)
            if built is None:
                return rules.NotKept(build.id)
            record = record_build(built, self.context, boots=self.boot)
        except Interrupted:
            raise
        except (LabError, OSError):
            return rules.NotKept(build.id)  # building it will tell what is wrong
        return self._build_is_there(built, record)

    def make(self, build: Build) -> rules.BuildEnded | rules.NotKept:
        """Have a build made."""
        try:
            kernel = self.kernels[build.kernel.name]
            with ended_by(self.context.ending):
                built = self.stages.build(build, kernel, self.context)
            record = record_build(built, self.context, boots=self.boot)
            record = build_lines.with_lines(record, kernel, self.context)
        except Ended:
            return rules.NotKept(build.id)
        except Interrupted:
            raise
        except Exception as error:
            return self.not_made(build, error)
        return self._build_is_there(built, record)

    def not_made(self, build: Build, error: Exception) -> rules.BuildEnded:
        """Record that a build could not be made, and why."""
        reason = self.state.explain(f"build {build.id}", error)
        record = BuildRecord(
            build.id, build.kernel.name, build.config.name, build.arch, Verdict.ERROR, reason,
            0.0, False, "", toolchain=str(build.config.toolchain),
        )  # fmt: skip
        self._keep_build(record)
        return rules.BuildEnded(build.id, Verdict.ERROR)

    def run(self, cell: Cell) -> rules.CellEnded:
        """Have a cell run."""
        began = time.monotonic()
        kernel = self.kernels[cell.build.kernel.name]
        earlier = self.state.cells.get(cell.id)  # of a part of the run that was ended
        took = None
        try:
            if earlier is not None:
                cell = replace(cell, done=workloads_done(earlier))
            if cell.on_host:
                ran = self.stages.host(cell, kernel, self.context)
            else:
                built = self.state.built[cell.build.id]
                ran = self.stages.run(cell, built, kernel, self.context)
            record = ran.record
            took = max(0.0, time.monotonic() - began - budget.loop_seconds(cell))
            with self.state.lock:
                self.state.as_ran[cell.id] = ran.cell
            if earlier is not None:
                record = joined(earlier, record, [spec.name for spec in ran.cell.workloads])
        except Ended:
            record = earlier or record_unbooted(cell, Verdict.SKIP, ENDED, self.context)
        except Interrupted:
            raise
        except Exception as error:
            reason = self.state.explain(f"cell {cell.id}", error)
            record = earlier or record_unbooted(cell, Verdict.ERROR, reason, self.context)
        self.keep_cell(record)
        return rules.CellEnded(cell.id, took)

    def leave(self, what: rules.Leave) -> None:
        """Record that a cell is not run."""
        cell = what.cell
        if cell.id in self.state.cut:  # what is known of it stands, and what is not
            return
        try:
            built = self.state.built.get(cell.build.id)
            self.keep_cell(record_unbooted(cell, what.verdict, what.reason, self.context, built))
        except Exception as error:
            self.state.explain(f"cell {cell.id}", error)

    # ------------------------------------------------------------ records

    def _build_is_there(self, built: BuildResult, record: BuildRecord) -> rules.BuildEnded:
        self.state.built[record.id] = built
        self._keep_build(record)
        took = None if built.cached else built.seconds
        return rules.BuildEnded(record.id, built.verdict, took)

    def _keep_kernel(self, record: KernelRecord) -> None:
        with self.state.lock:
            self.state.kernels[record.name] = record
        self._changed()

    def _keep_build(self, record: BuildRecord) -> None:
        with self.state.lock:
            self.state.builds[record.id] = record
        shown = record.reason or ("cached" if record.cached else "")
        took = None if record.cached else record.seconds
        self._tell(told.Event("build", record.id, "done", shown, 1.0, record.verdict, took))
        self._changed()

    def keep_cell(self, record: CellRecord) -> None:
        """Keep a cell's record, and tell of it."""
        with self.state.lock:
            self.state.cells[record.id] = record
        note = record.notes[-1] if record.notes and not record.accelerator else ""
        self._tell(told.Event("cell", record.id, "done", note, 1.0, record.verdict))
        self._changed()

    def _tell(self, event: told.Event) -> None:
        self.context.listener(event)

    def _changed(self) -> None:
        """Have what there is stored; a disk that is full now may have room at the end."""
        try:
            with self.state.lock:
                self.on_change(self.state)
        except LabError as error:
            text = f"{error.message} ({error.hint})"
            if text not in self.state.problems:
                self.state.problem(error.message, error)
