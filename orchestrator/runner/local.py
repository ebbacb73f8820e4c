# SPDX-License-Identifier: GPL-2.0-only
"""Carry out a plan on this machine, in threads; what comes next is the schedule's to say."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from orchestrator.host import process
from orchestrator.host.ending import ended_by
from orchestrator.judge.outcome import ENDED, left_out_of
from orchestrator.judge.resumed import joined, workloads_done
from orchestrator.model.errors import Ended, Interrupted, LabError, UserError
from orchestrator.model.formats import counted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import CLI_KERNEL, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CellRecord,
    KernelRecord,
    RunResult,
)
from orchestrator.model.spec import Build, Cell, Plan
from orchestrator.plan import budget
from orchestrator.runner import build_lines
from orchestrator.runner import context as told
from orchestrator.runner import schedule as rules
from orchestrator.runner.context import Context, Kernel
from orchestrator.runner.schedule import Schedule
from orchestrator.runner.stages import Stages, record_build, record_kernel, record_unbooted
from orchestrator.runner.state import RunState


def carry_out(
    plan: Plan,
    context: Context,
    on_change: Callable[[RunState], None],
    *,
    cores: int | None = None,
    boot: bool = True,
    done: RunResult | None = None,
    stages: Stages | None = None,
) -> RunState:
    """Carry out a plan; what goes wrong on the way is in the result, never raised.

    :param on_change: called after each kernel, build and cell, to store what there is.
    :param cores: how many cores to use (default: all).
    :param boot: False to stop after the builds.
    :param done: an earlier, interrupted run of the same plan: its finished cells are kept.
    :param stages: what is done for each step (default: the lab's own stages).
    """
    state = RunState()
    if done is not None:
        _keep_finished(state, plan, done)
    kept = {*state.cells, *state.builds} - state.cut
    took = [build.seconds for build in state.builds.values() if not build.cached]
    schedule = Schedule(plan, cores or os.cpu_count() or 1, boot=boot, done=kept, took=took)
    return _Engine(plan, context, on_change, schedule, state, stages or Stages(), boot).go()


def refuse_other_plan(earlier: RunResult, plan: Plan) -> None:
    """See that a plan has what a run that it goes on with has: what it has not would be lost.

    :raises UserError: when it has not.
    """
    mine = {cell.id for cell in plan.cells}
    other = [cell.id for cell in earlier.cells if cell.id not in mine]
    if other:
        more = f" and {counted(len(other) - 1, 'other cell')}" if len(other) > 1 else ""
        raise UserError(
            f"run {earlier.run.id} has {other[0]}{more}, which is not asked for now",
            f"nothing was changed; it was started as `{earlier.run.command}`, and its kernels and "
            "configs have to be in lab.yaml",
        )


def _keep_finished(state: RunState, plan: Plan, done: RunResult) -> None:
    """Take over what an earlier run finished; what erred there is done again."""
    planned = {cell.id for cell in plan.cells}
    for cell in done.cells:
        if cell.id in planned and cell.cases and cell.verdict is not Verdict.ERROR:
            state.cells[cell.id] = cell
            if left_out_of(cell):
                state.cut.add(cell.id)
    finished = state.cells.keys() - state.cut
    for build in done.builds:
        cells = [cell.id for cell in plan.cells if cell.build.id == build.id]
        if cells and all(cell in finished for cell in cells):
            state.builds[build.id] = build


class _Stopped:
    """Put into the queue by a thread that was interrupted."""


class _Engine:
    """Threads that do what the schedule says, and a queue by which they tell what came of it."""

    def __init__(
        self,
        plan: Plan,
        context: Context,
        on_change: Callable[[RunState], None],
        schedule: Schedule,
        state: RunState,
        stages: Stages,
        boot: bool,
    ) -> None:
        self.plan = plan
        self.schedule = schedule
        self.state = state
        self.stages = stages
        self.boot = boot
        self.on_change = on_change
        self._tell = told.guarded(context.listener)
        self.context = Context(
            replace(context.values, jobs=schedule.build_cores),
            replace(context.machine, spare=self._spare),
            self._tell,
        )
        self.kernels: dict[str, Kernel] = {}
        self.built = state.built
        self.events: queue.SimpleQueue[rules.Event | _Stopped] = queue.SimpleQueue()
        self.deciding = threading.Lock()  # the schedule is asked by one thread at a time
        self.stopped = False
        # Set once the kernel of --source and --series cannot be had: its base alone is no answer.
        self.useless = False

    def go(self) -> RunState:
        """Start what may start, wait for news, and again; until nothing is left, or Ctrl-C."""
        width = 1 + len(self.plan.builds) + len(self.plan.cells)
        with ThreadPoolExecutor(max_workers=width) as pool:
            try:
                todo = self.schedule.begin(time.monotonic())
                while True:
                    for instruction in todo:
                        self._start(pool, instruction)
                    if self.schedule.finished:
                        return self.state
                    # Whatever is under way has a deadline of its own, and tells when it is over.
                    event = self.events.get()
                    if isinstance(event, _Stopped):
                        raise Interrupted("interrupted")
                    if self.useless:  # nothing else is under way while kernels are prepared
                        return self.state
                    with self.deciding:
                        if self.context.ending.is_set():
                            self.schedule.end()
                        todo = self.schedule.on(event, time.monotonic())
            except (KeyboardInterrupt, Interrupted):
                self.state.interrupted = self.stopped = True
                process.cancel()
            except BaseException:
                # A bug in the schedule itself: what is under way must not outlive it.
                self.stopped = True
                process.cancel()
                raise
        return self.state

    def _start(self, pool: ThreadPoolExecutor, instruction: rules.Instruction) -> None:
        if isinstance(instruction, rules.Leave):
            cell = instruction.cell
            if cell.id in self.state.cut:  # what is known of it stands, and what is not
                return
            try:
                why, built = instruction.reason, self.built.get(cell.build.id)
                record = record_unbooted(cell, instruction.verdict, why, self.context, built)
                self._keep_cell(record)
            except Exception as error:
                self.state.explain(f"cell {cell.id}", error)
        else:
            pool.submit(self._carry_out, instruction)

    def _carry_out(self, what: rules.Prepare | rules.Find | rules.Make | rules.Boot) -> None:
        """Do one thing in a thread of its own, and tell what came of it, whatever that is."""
        if self.stopped:
            return
        event: rules.Event | _Stopped
        try:
            event = self._do(what)
        except (Interrupted, KeyboardInterrupt):
            event = _Stopped()
        except Exception as error:
            # What nobody foresaw is a problem of the run, and must not leave the schedule waiting.
            self.state.explain("the run", error)
            event = _failed(what)
        except BaseException:  # SystemExit: the main thread waits for an answer all the same
            self.events.put(_Stopped())
            raise
        self.events.put(event)

    def _do(self, what: rules.Prepare | rules.Find | rules.Make | rules.Boot) -> rules.Event:
        match what:
            case rules.Prepare():
                return self._prepare(what)
            case rules.Find():
                return self._find(what.build)
            case rules.Make():
                return self._make(what.build)
            case rules.Boot():
                return self._run_cell(what.cell)

    @contextlib.contextmanager
    def _spare(self, wanted: int) -> Iterator[bool]:
        """Hold ``wanted`` cores for a with block if they are free and nobody waits for any."""
        with self.deciding:
            ended = self.stopped or self.context.ending.is_set()
            got = not ended and self.schedule.spare(wanted)
        try:
            yield got
        finally:
            if got:
                self.events.put(rules.CoresFreed(wanted))

    # ------------------------------------------------------------ the four things to do

    def _prepare(self, what: rules.Prepare) -> rules.Event:
        spec = what.kernel
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

    def _find(self, build: Build) -> rules.Event:
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

    def _make(self, build: Build) -> rules.Event:
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
            reason = self.state.explain(f"build {build.id}", error)
            record = BuildRecord(
                build.id, build.kernel.name, build.config.name, build.arch, Verdict.ERROR, reason,
                0.0, False, "", toolchain=str(build.config.toolchain),
            )  # fmt: skip
            self._keep_build(record)
            return rules.BuildEnded(build.id, Verdict.ERROR)
        return self._build_is_there(built, record)

    def _build_is_there(self, built: BuildResult, record: BuildRecord) -> rules.Event:
        self.built[record.id] = built
        self._keep_build(record)
        took = None if built.cached else built.seconds
        return rules.BuildEnded(record.id, built.verdict, took)

    def _run_cell(self, cell: Cell) -> rules.Event:
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
                ran = self.stages.run(cell, self.built[cell.build.id], kernel, self.context)
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
        self._keep_cell(record)
        return rules.CellEnded(cell.id, took)

    # ------------------------------------------------------------ records

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

    def _keep_cell(self, record: CellRecord) -> None:
        with self.state.lock:
            self.state.cells[record.id] = record
        note = record.notes[-1] if record.notes and not record.accelerator else ""
        self._tell(told.Event("cell", record.id, "done", note, 1.0, record.verdict))
        self._changed()

    def _changed(self) -> None:
        """Have what there is stored; a disk that is full now may have room at the end."""
        try:
            with self.state.lock:
                self.on_change(self.state)
        except LabError as error:
            text = f"{error.message} ({error.hint})"
            if text not in self.state.problems:
                self.state.problem(error.message, error)


def _failed(what: rules.Prepare | rules.Find | rules.Make | rules.Boot) -> rules.Event:
    """The answer to an instruction that could not be carried out."""
    match what:
        case rules.Prepare():
            return rules.KernelEnded(what.kernel.name, ready=False)
        case rules.Find():
            return rules.NotKept(what.build.id)
        case rules.Make():
            return rules.BuildEnded(what.build.id, Verdict.ERROR)
        case rules.Boot():
            return rules.CellEnded(what.cell.id)
