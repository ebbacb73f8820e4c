# SPDX-License-Identifier: GPL-2.0-only
"""The engine for many machines: a plan's graph as tasks of Dask's, their answers as records.

Kernels are prepared here, where the user's sources are, and what is already built is found here or
in the store.  All the rest is asked for at once; Dask says who does what, and what of it again.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.cluster.again import trials
from orchestrator.cluster.duty import Answer, Failure, Order
from orchestrator.cluster.goods import Good, Store, fetch_all
from orchestrator.cluster.materials import Materials
from orchestrator.cluster.offers import CPUS, Wanted, can, told
from orchestrator.cluster.parcel import unpack
from orchestrator.cluster.remote import Link, Lost, linked
from orchestrator.cluster.story import Ear
from orchestrator.cluster.tls import Address
from orchestrator.host import process
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.errors import Ended, HostError, Interrupted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.results import RunResult
from orchestrator.model.spec import Build, Cell, Plan
from orchestrator.plan.graph import Graph, Needs, Task, graph_of
from orchestrator.results.runs import cell_folder
from orchestrator.runner.context import Context, Event, Kernel, guarded
from orchestrator.runner.doing import Doing
from orchestrator.runner.local import keep_finished
from orchestrator.runner.schedule import Leave, NotKept
from orchestrator.runner.stages import Ran, Stages
from orchestrator.runner.standing import Once
from orchestrator.runner.state import RunState

log = logging.getLogger("lab.cluster")

#: How long a run goes on without a worker that could do what is left (s).
NOBODY = 600.0
_LOOK = 5.0
# Answers are read by so many threads: their evidence is fetched from the store.
_READERS = 4
#: A build is begun before any cell: with many machines it is what is waited for.
_BUILD_FIRST = 10_000_000
#: With this begins the note of a build or cell that says which worker did it.
PLACE = "done by worker "
# Results are stored anew after each task, but at most for a tenth of the time.
_STORING = 10.0


@dataclass
class Cluster:
    """Where a run's tasks go: a scheduler, the store that its workers share, the certificates.

    With ``kvm`` guests run on workers that have KVM, and nowhere else.
    """

    scheduler: Address
    store: str
    tls: Path | None = None
    kvm: bool = False
    nobody: float = NOBODY
    run: _Run | None = field(default=None, init=False)

    def check(self) -> None:
        """See that a scheduler answers, before anything is made.

        :raises HostError: when none does.
        """
        with linked(self.scheduler, self.tls, "lab", lambda _: None, patience=0.0):
            pass

    def carry_out(
        self, plan: Plan, context: Context, on_change: Callable[[RunState], None], *,
        cores: int | None = None, boot: bool = True, done: RunResult | None = None,
        stages: Stages | None = None,
    ) -> RunState:  # fmt: skip
        """Carry out a plan, as :func:`orchestrator.runner.local.carry_out` does on this machine."""
        del cores  # each worker says how many it has
        state = RunState()
        kept = keep_finished(state, plan, done)
        self.run = _Run(
            self, plan, context, state, stages or Stages(), _seldom(on_change),
            boot=boot, kept=kept,
        )  # fmt: skip
        return self.run.go()

    def stages(self, stages: Stages) -> Stages:
        """The stages with which what regressed is tried again: on workers, each trial in turn."""
        return stages if self.run is None else replace(stages, again=self.run.again)


def _seldom(on_change: Callable[[RunState], None]) -> Callable[[RunState], None]:
    """``on_change``, left out where it would take more than a part of the time.

    The results of 10,000 cells are stored in seconds, and not 10,000 times; the end stores them.
    """
    due = 0.0

    def change(state: RunState) -> None:
        nonlocal due
        began = time.monotonic()
        if began >= due:
            on_change(state)
            now = time.monotonic()
            due = now + _STORING * (now - began)

    return change


class _Run:
    """A plan while it is carried out: what is open, and what workers have answered."""

    def __init__(
        self, cluster: Cluster, plan: Plan, context: Context, state: RunState, stages: Stages,
        on_change: Callable[[RunState], None], *, boot: bool, kept: Collection[str],
    ) -> None:  # fmt: skip
        self.cluster = cluster
        self.plan = plan
        self.state = state
        self.boot = boot
        self.context = replace(context, listener=guarded(context.listener))
        self.store = Store(cluster.store)
        self.materials = Materials(plan, self.context, stages, self.store)
        ours = replace(
            stages, prepare=self.materials.prepare, find=self.materials.find, build=self._built,
            run=self._ran, host=lambda cell, kernel, at: self._ran(cell, None, kernel, at),
        )  # fmt: skip
        self.doing = Doing(self.context, state, ours, on_change, boot=boot)
        self.graph: Graph = graph_of(plan, kvm=cluster.kvm)
        self.built: dict[str, Answer] = {}  # builds that are there
        self.answers: dict[str, tuple[Answer, tuple[str, ...]]] = {}
        self.open = {
            task.id: task
            for task in self.graph.tasks
            if task.id not in kept
            and not task.needs.here
            and (boot or isinstance(task.work, Build))
        }
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.wanted = Wanted(())
        self.alone: dict[Needs, float] = {}  # what no worker can do, and since when
        self.full: frozenset[str] = frozenset()  # workers without room
        self.lock = threading.Lock()
        self.job = ""
        kinds = {t.id: t.kind for t in self.graph.tasks}
        self.ear = Ear(self.context.listener, context.folder, kinds)

    def go(self) -> RunState:
        """Prepare, look up, ask for the rest, and take the answers as they come."""
        until = time.time() + self.plan.time_budget if self.plan.time_budget else None
        try:
            for kernel in self.graph.kernels:
                if not self.doing.prepare(kernel).ready:
                    self._drop_kernel(kernel.name)
                if self.doing.useless:
                    return self.state
            for build in self.graph.builds:
                if build.id in self.open:
                    self._look_up(build)
            if self.open:
                work = [task.work for task in self._in_turn()]
                mine = [one for one in work if isinstance(one, Build | Cell)]
                self.job = self.materials.share_job(mine, self.state, until)
                self._ask_until_done()
        except (KeyboardInterrupt, Interrupted):
            self.state.interrupted = True
            process.cancel()
        except HostError as error:
            reason = self.state.explain("the cluster", error)
            self._give_up(list(self.open), Verdict.ERROR, reason)
        return self.state

    def _drop_kernel(self, name: str) -> None:
        """A kernel that cannot be built has neither builds nor cells before it."""
        self.open = {id: t for id, t in self.open.items() if _build_of(t).kernel.name != name}

    # ------------------------------------------------------------ before anything is asked for

    def _look_up(self, build: Build) -> None:
        found = self.doing.find(build)
        if not isinstance(found, NotKept):
            self._build_over(build, found.verdict)

    # ------------------------------------------------------------ asking

    def _ask_until_done(self) -> None:
        """Ask, and ask anew what is open when a scheduler was lost that comes back in time."""
        cluster = self.cluster
        while self.open:
            try:
                topic = f"lab-{self.job[:16]}"
                with linked(cluster.scheduler, cluster.tls, topic, self.ear.hear) as link:
                    self._ask(link)
            except Lost:
                log.warning("the scheduler was lost with %d tasks", len(self.open))
                self.ear.scheduler_lost()

    def _ask(self, link: Link) -> None:
        """Ask for all that could begin, and take answers until nothing is open.

        A cell is asked for when its build is there and was judged: one that failed has no cells.
        """
        self.wanted = Wanted(self._offers(link).values())
        self.events = queue.SimpleQueue()  # of an earlier link nothing is waited for
        for task in self._in_turn():
            self._submit(link, task)
        looked, ended = time.monotonic(), False
        with ThreadPoolExecutor(_READERS) as pool:
            reading: list[Future[None]] = []
            while self.open:
                with contextlib.suppress(queue.Empty):
                    reading.append(pool.submit(self._take, link, self.events.get(timeout=1.0)))
                for future in [future for future in reading if future.done()]:
                    reading.remove(future)
                    future.result()
                if process.cancelled():
                    raise Interrupted("interrupted")
                if self.context.ending.is_set() and not ended:
                    ended = True
                    link.end(self.job)
                if time.monotonic() > looked + _LOOK:
                    self._look_for_workers(link)
                    looked = time.monotonic()

    def _in_turn(self) -> list[Task]:
        with self.lock:
            return sorted(self.open.values(), key=lambda task: task.rank)

    def _submit(self, link: Link, task: Task) -> None:
        """Ask for a task, unless it waits for a build."""
        built = None
        if isinstance(task.work, Cell) and not task.work.on_host:
            built = self.built.get(task.work.build.id)
            if built is None:
                return
        wanted = self.wanted.by(task.needs)
        order = Order(self.cluster.store, self.job, task.id, int(wanted.get(CPUS, 1)))
        if task.id in self.state.cut:
            order = replace(order, before=self.materials.before(task.id))
        link.submit(order, built, wanted, urgency(task), self.events.put, self.full)

    def _offers(self, link: Link) -> Mapping[str, Mapping[str, float]]:
        """The workers; waits for the first."""
        until, told = time.monotonic() + self.cluster.nobody, False
        while not (offers := link.offers()):
            if not told:
                self._wait("waiting for a worker: there is none")
                told = True
            if time.monotonic() > until:
                raise HostError(f"no worker came within {self.cluster.nobody:.0f} s",
                                "start one with `lab worker`")  # fmt: skip
            process.sleep(1.0)
        return offers

    def _wait(self, text: str, name: str = "") -> None:
        task = self.open[name or next(iter(self.open))]
        self.context.listener(Event(task.kind, task.id, "wait", text))

    def _look_for_workers(self, link: Link) -> None:
        """See that what is open can be done by somebody; who comes is awaited for a while."""
        offers, now = link.offers(self.full).values(), time.monotonic()
        self.wanted = Wanted(offers)
        open_tasks = self._in_turn()
        for needs in {task.needs for task in open_tasks}:
            wanted = self.wanted.by(needs)
            if any(can(offer, wanted) for offer in offers):
                self.alone.pop(needs, None)
                continue
            since = self.alone.setdefault(needs, now)
            mine = [task.id for task in open_tasks if task.needs == needs]
            if now > since + self.cluster.nobody:
                why = f"no worker could do it for {self.cluster.nobody:.0f} s: {told(wanted)}"
                self.state.explain(mine[0], HostError(why, "`lab worker` starts one"))
                for name in mine:
                    link.forget(name)
                self._give_up(mine, Verdict.ERROR, why)
            elif since == now:
                self._wait(f"waiting for a worker that has {told(wanted)}")

    # ------------------------------------------------------------ answers

    def _take(self, link: Link, name: str) -> None:
        """Record what came of a task, in one of the threads that do."""
        if name not in self.open:
            return
        try:
            answer = link.answer(name)
        except HostError as error:
            answer = Answer(name, "", "", failure=Failure("host", error.message, error.hint))
        if answer is None:  # it was given up meanwhile
            return
        task = self.open[name]
        if self._elsewhere(link, name, answer):
            return
        self.answers[name] = answer, self.ear.over(name, answer.attempt, answer.events)
        try:
            if isinstance(task.work, Build):
                self._take_build(link, task.work, answer)
            elif isinstance(task.work, Cell):
                if answer.left:
                    self.doing.leave(Leave(task.work, Verdict.SKIP, answer.left))
                else:
                    self.doing.run(task.work)
        finally:
            link.release(name)
            self._close(name)

    def _elsewhere(self, link: Link, name: str, answer: Answer) -> bool:
        """Ask anew for what a worker had no room for; False: it was not that, or all are full."""
        full = answer.failure is not None and answer.failure.full
        self.full |= {answer.worker} if full else set()
        if not full or not link.offers(self.full):
            return False
        self._wait(f"the disk of worker {answer.worker} is full: it is done elsewhere", name)
        link.release(name)
        self._submit(link, self.open[name])
        return True

    def _take_build(self, link: Link, build: Build, answer: Answer) -> None:
        event = self.doing.make(build)
        if isinstance(event, NotKept):  # the run has ended, or its time is over
            why = f"{BUDGET} before its build" if answer.left == BUDGET else answer.left
            self._give_up([cell.id for cell in self._cells_of(build)], Verdict.SKIP, why)
            return
        self.built[build.id] = answer
        self._build_over(build, event.verdict)
        for cell in self._cells_of(build) if self.boot else ():
            self._submit(link, self.graph.by_id[cell.id])

    def _build_over(self, build: Build, found: Verdict) -> None:
        """A build is there, or its cells are left."""
        if found is Verdict.PASS and build.id not in self.built:
            self.built[build.id] = self.materials.known(build, self.state.built[build.id])
        if found is not Verdict.PASS and self.boot:
            why = "its build failed" if found is Verdict.FAIL else "its build could not be made"
            self._give_up([c.id for c in self._cells_of(build)], found, f"not booted: {why}")
        self._close(build.id)

    def _cells_of(self, build: Build) -> list[Cell]:
        works = [task.work for task in self._in_turn() if build.id in task.after]
        return [work for work in works if isinstance(work, Cell)]

    def _give_up(self, names: list[str], found: Verdict, why: str) -> None:
        """Record that tasks are not done, and why."""
        for name in names:
            work = self.graph.by_id[name].work
            if isinstance(work, Build):
                self.doing.not_made(work, HostError(why))
            elif isinstance(work, Cell):
                self.doing.leave(Leave(work, found, why))
            self._close(name)

    def _close(self, name: str) -> None:
        with self.lock:
            self.open.pop(name, None)

    # ------------------------------------------------------------ answers as stages

    def _answered(self, name: str) -> tuple[Answer, str]:
        """The answer to a task, and who did it, for a note.

        :raises Exception: what the stage has raised there.
        """
        answer, lost = self.answers.pop(name)
        if answer.failure is not None:
            raise answer.failure.error()
        if answer.left:
            raise Ended(answer.left)
        fetch_all(answer.goods, self.store, self.context.cache.folder)
        also = f", after {', '.join(lost)} had been lost with it" if lost else ""
        return answer, f"{PLACE}{answer.worker}{also}"

    def _built(self, build: Build, _kernel: Kernel, _context: Context) -> BuildResult:
        answer, note = self._answered(build.id)
        built: BuildResult = unpack(answer.parcel, self.materials.paths)
        return replace(built, notes=(*built.notes, note))

    def _ran(
        self, cell: Cell, _built: BuildResult | None, _kernel: Kernel, context: Context
    ) -> Ran:
        answer, note = self._answered(cell.id)
        if cell.id not in self.state.cut:  # what was shown of it while it ran
            shutil.rmtree(context.folder / cell_folder(cell.id), ignore_errors=True)
        if answer.evidence:
            self.store.fetch(Good(".", answer.evidence), context.folder)
        ran: Ran = unpack(answer.parcel, self.materials.paths)
        record = replace(ran.record, notes=(*ran.record.notes, note))
        return replace(ran, record=record)

    # ------------------------------------------------------------ trials

    @contextlib.contextmanager
    def again(self, cell: Cell, built: BuildResult, _context: Context) -> Iterator[Once]:
        """Try workloads of a cell again: a stage.

        :raises HostError: when there is no scheduler, or no worker.
        """
        cluster = self.cluster
        answer = self.built.get(cell.build.id) or self.materials.known(cell.build, built)
        self.job = self.job or self.materials.share_job((cell,), self.state)
        with (
            linked(cluster.scheduler, cluster.tls, "lab-again", lambda _: None) as link,
            trials(cell, answer, self.job, cluster.kvm, self.materials, link, self._offers) as once,
        ):
            yield once


def urgency(task: Task) -> int:
    """Which of two tasks that could begin does: the one with more of it."""
    return (_BUILD_FIRST if isinstance(task.work, Build) else 0) - task.rank


def _build_of(task: Task) -> Build:
    work = task.work
    if isinstance(work, Cell):
        return work.build
    assert isinstance(work, Build)
    return work
