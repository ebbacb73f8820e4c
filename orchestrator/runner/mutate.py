# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants: would a fault in this code have been noticed?  Tried for real, one by one.

The guest is run once without a mutant, so that what fails there is nobody's catch.  Then each
mutant, in an order that chance has made: whatever part of them is done is a random sample of all.
What is known is written after each, so that an interrupted campaign goes on where it stopped.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import __version__
from orchestrator.guest.loopback import check_loopback
from orchestrator.host import process
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.trim import keep_budget
from orchestrator.host.memory import memory_for
from orchestrator.judge.mutants import INTERRUPTED
from orchestrator.judge.outcome import apply_reason, executed
from orchestrator.kernel.lines.objects import Linked
from orchestrator.kernel.mutants.code import Objects
from orchestrator.kernel.mutants.find import Found, of_functions, of_names, of_series
from orchestrator.model.arch import ARCHES, HOST_ARCH
from orchestrator.model.errors import Interrupted, LabError, UserError
from orchestrator.model.formats import counted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.mutants import Campaign, Mutant, Outcome, Tried, Unmutated
from orchestrator.model.names import STAGES, CaseId, Verdict
from orchestrator.model.spec import Cell, Plan
from orchestrator.results import mutants, runs
from orchestrator.results.unfinished import LOG, going_on
from orchestrator.runner import coverage_map, record
from orchestrator.runner.context import (
    Context,
    Event,
    Kernel,
    Listener,
    Machine,
    Places,
    RunValues,
    guarded,
    nobody,
)
from orchestrator.runner.mutant_order import Order, racing
from orchestrator.runner.mutant_trial import Trials
from orchestrator.runner.run import check_compilers, check_fragments
from orchestrator.runner.stages import Stages
from orchestrator.runner.symbolize import build_folder_of

#: The kind of the event that tells what became of a mutant.
OF_MUTANT = "mutant"
# So many in a row that could not be judged, and the host is not fit for any.
_BLIND = 3
_VERDICTS = {
    Outcome.CAUGHT: Verdict.PASS, Outcome.SURVIVED: Verdict.FAIL,
    Outcome.NOT_COMPILED: Verdict.SKIP, Outcome.SAME_CODE: Verdict.SKIP,
    Outcome.NOT_JUDGED: Verdict.ERROR,
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What is asked of a campaign.

    ``functions`` are whose mutants are planted, or ``names`` are theirs; neither: those in the
    lines of the kernel's series.
    ``sample`` of them are tried (None: all), at random by ``seed``.  After ``budget`` seconds no
    further one is begun.  ``jobs`` is how many cores there are to use (None: all).  ``out`` is the
    campaign's folder (None: a new one), ``resume`` that of one that goes on.
    """

    functions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sample: int | None = None
    seed: int = 1
    budget: float | None = None
    jobs: int | None = None
    out: Path | None = None
    resume: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class Ended:
    """A campaign that was ended, and where it is stored."""

    campaign: Campaign
    folder: Path


def the_cell(plan: Plan) -> Cell:
    """The one guest in which a campaign's mutants are tried; of several machines this one.

    :raises UserError: when the plan has none, or several.
    """
    guests = [cell for cell in plan.cells if not cell.on_host]
    guests = [cell for cell in guests if cell.build.arch == HOST_ARCH] or guests
    if not guests:
        raise UserError("mutants are tried in a guest, and none is asked for",
                        "name other workloads, or a config")  # fmt: skip
    if len(guests) > 1:
        shown = ", ".join(cell.id for cell in guests[:4]) + (", ..." if len(guests) > 4 else "")
        raise UserError(
            f"mutants are tried in one guest, and {len(guests)} are asked for: {shown}",
            "say which with --kernel, --arch, --config and --shape",
        )
    if guests[0].build.config.coverage:
        raise UserError(
            f"config {guests[0].build.config.name} counts what runs, and what mutants run is no "
            "matter of that count", "name another with --config",
        )  # fmt: skip
    if not guests[0].workloads:
        raise UserError("mutants are tried with workloads, and none is asked for",
                        "name some with --workload")  # fmt: skip
    return guests[0]


def population(kernel: Kernel, wanted: Wanted, places: Places) -> Found:
    """All mutants that are asked for.

    :raises UserError: when a function is not known, the series does not apply or there is none, or
        nothing can be planted.
    """
    tree = kernel.tree
    if tree.failure is not None:
        raise UserError(f"the series does not apply: {apply_reason(tree.failure)}", "mend it first")
    if wanted.names:
        found = of_names(wanted.names, tree, places.cache)
    elif wanted.functions:
        found = of_functions(wanted.functions, tree, places.cache)
    elif not tree.patches:
        raise UserError(
            f"kernel {tree.spec.name} has no series whose lines could be mutated",
            "name one with --series, or functions with --function",
        )
    else:
        found = of_series(tree, places.cache)
    if not found.mutants:
        raise UserError("there is nothing to plant: no line has code that an operator changes",
                        "name functions with --function")  # fmt: skip
    return found


def in_order(found: Found, wanted: Wanted) -> tuple[Mutant, ...]:
    """The mutants in the order in which they are tried: a random one, cut at the sample's size."""
    mixed = random.Random(wanted.seed).sample(found.mutants, len(found.mutants))
    return tuple(mixed[: wanted.sample])


def listed(
    plan: Plan, wanted: Wanted, places: Places, *, listener: Listener = nobody,
    stages: Stages | None = None,
) -> tuple[Found, tuple[Mutant, ...]]:  # fmt: skip
    """All mutants there are, and those that a campaign would try, in its order; builds nothing.

    :raises UserError: as :func:`mutate`.
    """
    cell, doing = the_cell(plan), stages or Stages()
    with using(places.cache):
        machine = Machine(places.cache, places.reports, places.fragments)
        context = Context(RunValues("", record.cpu_count()), machine, guarded(listener))
        found = population(doing.prepare(cell.build.kernel, context), wanted, places)
    return found, in_order(found, wanted)


def mutate(
    plan: Plan, wanted: Wanted, places: Places, *, listener: Listener = nobody,
    stages: Stages | None = None,
) -> Ended:  # fmt: skip
    """Plant and try mutants until all are judged, the budget is spent or somebody interrupts.

    :raises UserError: when the plan has not one guest, a function or workload is wrong, the kernel
        does not build or boot without any mutant, or the campaign that is to go on is another one.
    :raises HostError: when the folder cannot be made or written.
    """
    doing = stages or Stages()
    cell = the_cell(plan)
    plan = replace(plan, builds=(cell.build,), cells=(cell,))
    with using(places.cache):
        check_compilers(plan)
        check_loopback()
        doing.compile(plan.cells, places.cache)
        check_fragments(plan)
        with _opened(wanted, places) as folder:
            jobs = wanted.jobs or record.cpu_count()
            machine = Machine(places.cache, folder, places.fragments)
            context = Context(RunValues(folder.name, jobs), machine, guarded(listener))
            try:
                work = _Campaign(plan, cell, wanted, places, context, doing)
                work.prepare()
            except BaseException:
                if wanted.resume is None and not (folder / mutants.FILE).exists():
                    runs.clear_folder(places.reports / mutants.FOLDER, folder)
                raise
            work.go()
            ended = work.close()
        keep_budget(places.cache)
    return Ended(ended, folder)


@contextmanager
def _opened(wanted: Wanted, places: Places) -> Iterator[Path]:
    """The campaign's folder, its log written for the length of a with block."""
    if wanted.resume and going_on(wanted.resume):
        raise UserError(f"campaign {wanted.resume.name} goes on: another lab is at work on it",
                        "wait for its end, or stop that one")  # fmt: skip
    folder = wanted.resume or runs.run_folder(places.reports / mutants.FOLDER, wanted.out)
    places.cache.folder.mkdir(parents=True, exist_ok=True)
    with record.log_to(folder / LOG):
        yield folder


class _Campaign:
    """A campaign while it goes on."""

    def __init__(
        self, plan: Plan, cell: Cell, wanted: Wanted, places: Places, context: Context,
        stages: Stages,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.cell = cell
        self.wanted = wanted
        self.places = places
        self.context = context
        self.stages = stages
        self.until = None if wanted.budget is None else time.monotonic() + wanted.budget
        self.lock = threading.Lock()
        self.found: dict[str, Tried] = {}
        self.cut = ""
        self.blind = 0
        self.stop = threading.Event()
        self.left: list[tuple[int, Mutant]] = []

    # ------------------------------------------------------------ before the first mutant

    def prepare(self) -> None:
        """Everything before the first mutant: their list, the kernel without any, its guest."""
        kernel = self.stages.prepare(self.cell.build.kernel, self.context)
        found = population(kernel, self.wanted, self.places)
        self.order_of_all = in_order(found, self.wanted)
        self.state = self._begun(kernel, found)
        if self.wanted.resume is not None:
            self._take(mutants.load(self.wanted.resume))
        build = self.cell.build
        built = self.stages.find(build, kernel, self.context)
        built = built or self.stages.build(build, kernel, self.context)
        if built.verdict is not Verdict.PASS or built.vmlinux is None:
            raise UserError(f"the kernel does not build without any mutant: {built.reason}",
                            "`lab build` tells more")  # fmt: skip
        # Of one that goes on too: workloads may have come or changed since.
        unmutated = self._without_mutant(built, kernel)
        order = Order(
            self.cell.workloads, coverage_map.known(self.places.cache), build.arch,
            unmutated.seconds,
        )  # fmt: skip
        for one in self.found.values():
            if one.case:
                order.caught(one.mutant.function, CaseId.of_key("-", one.case).workload)
        self.state = replace(
            self.state, unmutated=unmutated, mapped=order.mapped,
            racing=racing(self.cell.workloads),
        )  # fmt: skip
        self.trials = Trials(
            self.cell, self.plan, kernel, unmutated, self._objects(built, kernel), order,
            self.context, self.stages,
        )  # fmt: skip
        self._store()

    def _begun(self, kernel: Kernel, found: Found) -> Campaign:
        spec = self.cell.build.kernel
        folder, asked = self.context.folder, self.wanted.names or self.wanted.functions
        below = folder.parent == self.places.reports / mutants.FOLDER
        return Campaign(
            folder.name if below else str(folder), self.wanted.command, record.now(), __version__,
            spec.name, kernel.source, kernel.tree.version, kernel.tree.tree, self.cell.id,
            asked, "" if asked else spec.series or "",
            len(found.mutants), len(self.order_of_all), self.wanted.seed, left_out=found.left_out,
        )  # fmt: skip

    def _take(self, earlier: Campaign) -> None:
        """Go on with a campaign; what could not be judged is tried again.

        :raises UserError: when its mutants are others.
        """
        mine, now = (earlier.tree, earlier.cell), (self.state.tree, self.state.cell)
        if mine != now:
            what = "sources" if mine[0] != now[0] else "guest"
            raise UserError(f"campaign {earlier.name} had another {what} than there is now",
                            "begin one anew")  # fmt: skip
        known = {mutant.name: mutant for mutant in self.order_of_all}
        if any(known.get(one.mutant.name) != one.mutant for one in earlier.tried):
            raise UserError(f"campaign {earlier.name} had other mutants than are asked for now",
                            "begin one anew")  # fmt: skip
        self.state = replace(
            self.state, name=earlier.name, command=earlier.command, started=earlier.started,
            unmutated=earlier.unmutated,
        )  # fmt: skip
        self.found = {
            one.mutant.name: one for one in earlier.tried if one.outcome is not Outcome.NOT_JUDGED
        }

    def _without_mutant(self, built: BuildResult, kernel: Kernel) -> Unmutated:
        """Run the guest once as it is.

        :raises UserError: when no workload can be run in it: nothing could be told of a mutant.
        """
        self._tell(f"once without a mutant, {counted(len(self.cell.workloads), 'workload')}")
        ran = self.stages.run(self.cell, built, kernel, self.context)
        cases = ran.record.cases
        if not any(executed(case) for case in cases):
            first = next((c for c in cases if c.verdict in (Verdict.FAIL, Verdict.ERROR)), None)
            why = f"{first.workload}:{first.case}: {first.reason}" if first else "all skipped"
            raise UserError(f"no workload runs without any mutant: {why}",
                            "see what `lab run` says of the same guest")  # fmt: skip
        failing = tuple(
            CaseId.parse(c.id).key for c in cases if c.verdict in (Verdict.FAIL, Verdict.ERROR)
        )
        lost = [f"{c.workload}:{c.case}: {c.reason}" for c in cases if c.verdict is Verdict.ERROR]
        told = tuple(f"not known without a mutant: {one}" for one in lost)
        self.state = replace(self.state, problems=told)
        seconds: dict[str, float] = {}
        for case in cases:
            if case.workload not in STAGES and case.verdict is Verdict.PASS:
                seconds[case.workload] = seconds.get(case.workload, 0.0) + case.seconds
        return Unmutated(built.image_sha256, failing, seconds)

    def _objects(self, built: BuildResult, kernel: Kernel) -> Objects:
        assert built.vmlinux is not None
        slot, objects = build_folder_of(built, kernel, self.places.cache)
        build = self.cell.build
        return Objects(Linked(
            built.vmlinux, objects, kernel.tree, slot, ARCHES[build.arch], self.places.cache,
            build.config.toolchain,
        ))  # fmt: skip

    # ------------------------------------------------------------ the mutants

    def go(self) -> None:
        """Try what is left; several side by side where cores and memory are free."""
        self.left = [
            (number, mutant) for number, mutant in enumerate(self.order_of_all, 1)
            if mutant.name not in self.found
        ]  # fmt: skip
        width = max(1, self.context.values.jobs // self.cell.shape.cpus)
        with ThreadPoolExecutor(width) as pool:
            try:
                workers = [pool.submit(self._work, number == 0) for number in range(width)]
                for worker in workers:
                    worker.result()
            except (KeyboardInterrupt, Interrupted):
                self.stop.set()
                self.cut = INTERRUPTED
                process.cancel()
            except BaseException:
                self.stop.set()
                process.cancel()
                raise

    def _work(self, first: bool) -> None:
        """Try one mutant after another; all but the first worker want memory for their guest."""
        while not self.stop.is_set():
            if not first and not memory_for(self.cell.shape.memory_mib):
                return
            with self.lock:
                if not self.left:
                    return
                if self.until is not None and time.monotonic() > self.until:
                    self.cut = "the time budget was spent"
                    return
                number, mutant = self.left.pop(0)
            self._tell(f"mutant {number} of {len(self.order_of_all)}: {mutant.name}")
            tried = self.trials.attempt(number, mutant)
            with self.lock:
                self._keep(tried)

    def _keep(self, tried: Tried) -> None:
        self.found[tried.mutant.name] = tried
        self.blind = self.blind + 1 if tried.outcome is Outcome.NOT_JUDGED else 0
        if self.blind >= _BLIND:
            self.cut = f"{_BLIND} in a row could not be judged"
            self.stop.set()
        by = f" by {tried.case}" if tried.case else ""
        why = f": {tried.reason}" if tried.reason and not by else ""
        text = f"{tried.outcome.value}{by}{why}; {tried.mutant.told}"
        name, verdict = tried.mutant.name, _VERDICTS[tried.outcome]
        self.context.listener(
            Event(OF_MUTANT, name, "done", text, verdict=verdict, seconds=tried.seconds)
        )
        try:
            self._store()
        except LabError as error:  # a disk that is full now may have room at the end
            self.cut = error.message
            self.stop.set()

    def _tell(self, text: str) -> None:
        self.context.listener(Event("cell", self.cell.id, "trial", text))

    # ------------------------------------------------------------ what there is

    def _now(self) -> Campaign:
        tried: Sequence[Tried] = [
            self.found[one.name] for one in self.order_of_all if one.name in self.found
        ]
        left = len(tried) < len(self.order_of_all)
        return replace(
            self.state, tried=tuple(tried), cut=(self.cut or INTERRUPTED) if left else ""
        )

    def _store(self) -> None:
        mutants.save(self._now(), self.context.folder)

    def close(self) -> Campaign:
        """Store what there is as it ended.

        :raises HostError: when that cannot be written.
        """
        ended = replace(self._now(), finished=record.now())
        mutants.save(ended, self.context.folder)
        record.write_mutants(ended, self.context.folder, self.places)
        return ended
