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
from typing import Protocol

from orchestrator.host import process
from orchestrator.judge.outcome import left_out_of
from orchestrator.model.errors import Interrupted, UserError
from orchestrator.model.formats import counted
from orchestrator.model.names import Verdict
from orchestrator.model.results import RunResult
from orchestrator.model.spec import Plan
from orchestrator.runner import context as told
from orchestrator.runner import schedule as rules
from orchestrator.runner.context import Context
from orchestrator.runner.doing import Doing
from orchestrator.runner.schedule import Schedule
from orchestrator.runner.stages import Stages
from orchestrator.runner.state import RunState


class Engine(Protocol):
    """Who carries a plan out on other machines (:class:`orchestrator.cluster.engine.Cluster`)."""

    def carry_out(
        self, plan: Plan, context: Context, on_change: Callable[[RunState], None], *,
        cores: int | None, boot: bool, done: RunResult | None, stages: Stages,
    ) -> RunState:  # fmt: skip
        """As :func:`carry_out` does on this one."""

    def stages(self, stages: Stages) -> Stages:
        """The stages with which what regressed is tried again once that is over."""


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
    kept = keep_finished(state, plan, done)
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


def keep_finished(state: RunState, plan: Plan, done: RunResult | None) -> set[str]:
    """Take over what an earlier run finished; what erred there is done again.

    Gives the ids of the builds and cells of which nothing is left to do.
    """
    if done is None:
        return set()
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
    return {*state.cells, *state.builds} - state.cut


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
        self.context = Context(
            replace(context.values, jobs=schedule.build_cores),
            replace(context.machine, spare=self._spare),
            told.guarded(context.listener),
        )
        self.doing = Doing(self.context, state, stages, on_change, boot=boot)
        self.events: queue.SimpleQueue[rules.Event | _Stopped] = queue.SimpleQueue()
        self.deciding = threading.Lock()  # the schedule is asked by one thread at a time
        self.stopped = False

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
                    if self.doing.useless:  # nothing else is under way while kernels are prepared
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
            self.doing.leave(instruction)
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
                return self.doing.prepare(what.kernel)
            case rules.Find():
                return self.doing.find(what.build)
            case rules.Make():
                return self.doing.make(what.build)
            case rules.Boot():
                return self.doing.run(what.cell)

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
