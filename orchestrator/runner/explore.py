# SPDX-License-Identifier: GPL-2.0-only
"""Exploration: slices of random programs in fresh copies of a cell's guest until the time is spent.

It is a run like any other: kernels, builds, cells, verdicts, known issues, reports.  Only what a
cell does between its boot and its record is another: in place of a list of workloads it has one,
again and again, with seeds of its own each time.
"""

from __future__ import annotations

import shlex
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from orchestrator.evidence.kept import read_kept
from orchestrator.guest import snapshot
from orchestrator.host import process
from orchestrator.host.ending import ended_by
from orchestrator.host.memory import memory_for
from orchestrator.judge.explored import OF_CORPUS, Tally
from orchestrator.judge.outcome import BAD
from orchestrator.model.errors import Ended, HostError, Interrupted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult, LoopRecord, RunResult
from orchestrator.model.spec import Cell, Plan, WorkloadSpec
from orchestrator.plan.explore import Slice, chunks, replaying, share, slice_of
from orchestrator.results.corpus import Program
from orchestrator.runner.cell import CellRun
from orchestrator.runner.collector import stem
from orchestrator.runner.context import OF_CASE, Context, Event, Kernel, Listener, Places, nobody
from orchestrator.runner.foreseeing import Foreseeing
from orchestrator.runner.guiding import Guidance
from orchestrator.runner.record import cpu_count
from orchestrator.runner.run import Done, RunOptions, run_plan
from orchestrator.runner.stages import Ran, Stages, looked_up

#: In a cell's folder: what slices left in which something was bad, by their numbers.
FOLDER = "explore"
# What a guest that found no room looks after it again (s).
_AGAIN = 1.0


@dataclass
class Hunt:
    """What all cells of one exploration share.

    ``seconds`` is how long each cell explores, ``seed`` what the first slice begins with.
    ``finds`` ends it once so many were found that nobody foresaw (None: only the time does).
    ``corpus`` are the programs that each cell carries out first, ``guidance`` what was passed of
    the kernels.
    """

    seconds: float
    seed: int
    finds: int | None = None
    corpus: Sequence[Program] = ()
    lanes: int = 1
    guidance: Guidance = field(default_factory=Guidance)
    enough: threading.Event = field(default_factory=threading.Event)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int:
        """The number of the next slice, of whichever cell."""
        with self._lock:
            self._number += 1
            return self._number - 1


def explore(
    plan: Plan,
    places: Places,
    options: RunOptions,
    *,
    seconds: float,
    seed: int,
    finds: int | None = None,
    corpus: Sequence[Program] = (),
    guidance: Guidance | None = None,
    listener: Listener = nobody,
) -> Done:
    """Explore in the cells of a plan (:func:`.plan.explore.exploring`) and report as a run does.

    :param seconds: how long in all, builds and boots left out.
    :param seed: what the programs come of: no two slices have one in common.
    :param finds: end with so many that nobody foresaw.
    :param guidance: what is known of coverage, and will be.
    :raises UserError, HostError: as :func:`.run_plan`.
    """
    cores = options.jobs or cpu_count()
    cpus = max(cell.shape.cpus for cell in plan.cells)
    lanes = max(1, cores // cpus)
    hunt = Hunt(
        share(seconds, plan.cells, cores), seed, finds, corpus, lanes, guidance or Guidance()
    )
    counting = _Counting(plan, hunt, listener)
    stages = replace(Stages(), run=partial(explore_cell, hunt))
    return run_plan(plan, places, options, listener=counting, stages=stages)


class _Counting:
    """A listener that ends the hunt once it has found what it was for."""

    def __init__(self, plan: Plan, hunt: Hunt, beside: Listener) -> None:
        self._hunt = hunt
        self._beside = beside
        self._found: set[str] = set()
        self._lock = threading.Lock()
        self._mark = Foreseeing(plan, self._look)

    def __call__(self, event: Event) -> None:
        self._beside(event)
        with self._lock:
            self._mark(event)

    def _look(self, event: Event) -> None:
        if event.kind != OF_CASE or event.case is None or event.case.find is None or event.foreseen:
            return
        self._found.add(event.case.find.signature)
        if self._hunt.finds is not None and len(self._found) >= self._hunt.finds:
            self._hunt.enough.set()


def explore_cell(
    hunt: Hunt, wanted: Cell, built: BuildResult, kernel: Kernel, context: Context
) -> Ran:
    """Boot a cell's guest, explore in copies of it, and give the record.

    :raises HostError: when the host cannot run a guest at all.
    """
    record = Exploring(wanted, built, context, hunt).run()
    return Ran(looked_up(record, (), built, kernel, context), wanted)


class Exploring(CellRun):
    """One cell while it explores."""

    def __init__(self, cell: Cell, built: BuildResult, context: Context, hunt: Hunt) -> None:
        super().__init__(cell, built, context)
        self.hunt = hunt
        self.tally = Tally()
        self.begun: float | None = None
        self.replays = chunks([(f"{OF_CORPUS}{name}", lines) for name, lines in hunt.corpus])
        self.lock = threading.Lock()

    def copies(self, left: list[WorkloadSpec]) -> bool:  # noqa: ARG002 (the base has it)
        """Always: a program that goes wrong leaves a guest that nobody knows."""
        return True

    def share(self, why: str) -> None:
        """There is no exploring in a guest that was used."""
        raise HostError(f"{self.cell.id}: its guest cannot be copied: {why}")

    def run_copies(self, kept: snapshot.Snapshot, left: list[WorkloadSpec]) -> None:
        """Explore until the time is spent, in several guests at once where cores are free."""
        spec = left.pop(0)
        if self.inside.unmet(spec):
            return
        self.begun = time.monotonic()
        failed: list[Exception] = []

        def work() -> None:
            try:
                with ended_by(self.hunt.enough):
                    while not failed and (one := self._next(spec)) is not None:
                        self._slice(kept, one)
            except (Ended, Interrupted):  # what was found by now is told all the same
                return
            except snapshot.RestoreFailed as problem:
                failed.append(problem)

        def more() -> None:
            while not failed and self._left() > 0 and not self.hunt.enough.is_set():
                with self.context.machine.spare(self.cell.shape.cpus) as got:
                    if got and memory_for(self.cell.shape.memory_mib):
                        work()
                        return
                try:
                    process.sleep(_AGAIN)
                except Interrupted:
                    return

        try:
            with ThreadPoolExecutor(max(1, self.hunt.lanes - 1)) as pool:
                others = [pool.submit(more) for _ in range(self.hunt.lanes - 1)]
                work()
            for other in others:
                other.result()
        finally:
            self._close(spec)
        if failed:
            raise HostError(f"{self.cell.id}: {failed[0]}")

    def _left(self) -> float:
        assert self.begun is not None
        return self.begun + self.hunt.seconds - time.monotonic()

    def _next(self, spec: WorkloadSpec) -> Slice | None:
        """What a fresh guest is to do, the corpus first; None once it is time to end."""
        if self.hunt.enough.is_set():
            return None
        with self.lock:
            if self.replays:
                programs = self.replays.pop(0)
                return Slice(self.hunt.next(), replaying(spec, programs), len(programs))
            if self._left() <= 0 and self.tally.swarms:
                return None
        told = self.hunt.guidance.slice_of(spec, self.built.image_sha256) if self.guided else spec
        one = slice_of(told, self.hunt.next(), self.hunt.seed, self._left())
        # By its seed lab rerun repeats what is no find.
        self.inside.loops.setdefault(
            spec.name, LoopRecord(spec.name, one.spec.seed or 0, one.spec.budget)
        )
        return one

    def _slice(self, kept: snapshot.Snapshot, one: Slice) -> None:
        """One run of the workload in a copy of the guest; what it left goes unless it was bad."""
        folder = self.folder / FOLDER / str(one.number)
        machine = replace(self.context.machine, folder=folder)
        at = Context(self.context.values, machine, nobody)
        run = CellRun(replace(self.cell, workloads=(one.spec,)), self.built, at)
        run.inside.guest = self.inside.guest
        run.folder.mkdir(parents=True, exist_ok=True)
        what = f"{one.programs} of the corpus" if one.programs else f"seed {one.spec.seed}"
        self._tell(f"{what}; so far ")
        try:
            while run.in_copy(kept, one.spec):
                pass
        finally:
            cases = [self._placed(case, folder) for case in run.log.in_order()]
            self._learn(run.folder / f"{stem(one.spec)}.ktap")
            with self.lock:
                self.restores += run.restores
                new = self.tally.take(cases)
            for case in new:
                self.log.add(self._named(case), case.console)
        if not any(case.verdict in BAD for case in cases):
            shutil.rmtree(folder, ignore_errors=True)
        elif not one.programs and any(c.verdict in BAD and c.find is None for c in cases):
            self.inside.loops[one.spec.name] = LoopRecord(
                one.spec.name, one.spec.seed or 0, one.spec.budget
            )
        self._tell("")

    @property
    def guided(self) -> bool:
        """Whether its kernel tells what of it runs."""
        return bool(self.built.build.config.kcov)

    def _learn(self, output: Path) -> None:
        """Take what a slice kept, where its output came."""
        if self.guided and output.is_file():
            found = read_kept(output.read_text("utf-8", "replace"))
            self.hunt.guidance.take(self.built.image_sha256, found)
            self.tally.pcs = self.hunt.guidance.passed(self.built.image_sha256)

    def _tell(self, before: str) -> None:
        left = max(0, round(self._left()))
        self.log.tell("run", f"{before}{self.tally.told()}; {left} s left")

    def _placed(self, case: CaseResult, folder: Path) -> CaseResult:
        """A case of a slice as one of the run: its console lies in the slice's folder."""
        if not case.console:
            return case
        console = (folder / case.console).relative_to(self.context.folder)
        return replace(case, console=str(console))

    def _named(self, case: CaseResult) -> CaseResult:
        """A case with the id and the command of the name that it has now."""
        case_id = str(CaseId(CellId.parse(self.cell.id), case.workload, case.case))
        rerun = self.context.values.rerun.replace("{case}", shlex.quote(case_id))
        return replace(case, id=case_id, rerun=rerun)

    def _close(self, spec: WorkloadSpec) -> None:
        """Add what the slices came to together, and to each find how often it was met."""
        with self.lock:
            finds = {case.case: case for case in self.tally.finds.values()}
            for number, case in enumerate(self.log.cases):
                if case.workload == spec.name and (known := finds.get(case.case)) is not None:
                    self.log.cases[number] = self._named(known)
        like = CaseResult("", spec.name, "", next(iter(BAD)))
        for case in (*self.tally.summed(like), *self.tally.apart):
            # Each slice had a console of its own: the case says which.
            self.log.add(self._named(case), case.console)
        told = f"explored with {self.tally.told()}, from seed {self.hunt.seed} on"
        self.log.notes.append(told)
        if not self.guided:
            self.log.notes.append("not guided by coverage: its config has no `kcov` (explore has)")
        elif self.hunt.guidance.unguided:
            self.log.notes.append("not guided by coverage, as it was asked for")
        if self.hunt.enough.is_set():
            self.log.notes.append("it ended before its time: it has found what it was for")
        elif self._left() > 1:
            self.log.notes.append(f"it ended {self._left():.0f} s before its time")


def programs_of(run: RunResult) -> list[tuple[str, tuple[str, ...]]]:
    """What a run found and nobody foresaw, for a corpus: why it is kept, and the program."""
    return [
        (f"{case.find.title} ({cell.kernel}, run {run.run.id})", case.find.program)
        for cell in run.cells
        for case in cell.cases
        if case.find is not None and case.verdict is Verdict.FAIL
    ]
