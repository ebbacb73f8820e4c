# SPDX-License-Identifier: GPL-2.0-only
"""Carry out a plan on this machine: builds one after another, cells as cores come free.

Kernel builds spread over all cores by themselves, so a second one at the same time gains nothing.
Guests are given cores as they have vCPUs: more running vCPUs than cores would make true
soft-lockup and RCU-stall reports in healthy kernels.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from orchestrator.host import process
from orchestrator.host.cores import BUILD_RANK, Cores, Ticket
from orchestrator.judge.outcome import BUDGET
from orchestrator.kernel.build import kconfig
from orchestrator.model.errors import HostError, Interrupted, LabError, UserError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.results import BuildRecord, CellRecord, KernelRecord, RunResult
from orchestrator.model.spec import Build, Cell, Plan
from orchestrator.plan import budget
from orchestrator.plan.capabilities import unpromised
from orchestrator.results.runs import cell_folder
from orchestrator.runner import stages, symbolize
from orchestrator.runner.context import Event

log = logging.getLogger("lab.executor")

# A build leaves this many cores to guests where there are plenty, so that boots overlap with it.
PLENTY = 8
SPARED = 4

T = TypeVar("T")


@dataclass
class Progress:
    """What a run has come to so far; changed under its lock only."""

    kernels: dict[str, KernelRecord] = field(default_factory=dict)
    builds: dict[str, BuildRecord] = field(default_factory=dict)
    cells: dict[str, CellRecord] = field(default_factory=dict)
    expanded: dict[str, Cell] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    usage: bool = False
    interrupted: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def carry_out(
    plan: Plan,
    settings: stages.Settings,
    on_change: Callable[[Progress], None],
    *,
    cores: int | None = None,
    boot: bool = True,
    done: RunResult | None = None,
) -> Progress:
    """Carry out a plan; what goes wrong on the way is in the result, never raised.

    :param on_change: called after each kernel, build and cell, to store what there is.
    :param cores: how many cores to use (default: all).
    :param boot: False to stop after the builds.
    :param done: an earlier, interrupted run of the same plan: its finished cells are kept.
    """
    execution = _Execution(plan, settings, on_change, cores or os.cpu_count() or 1, boot)
    if done is not None:
        execution.keep_finished(done)
    return execution.go()


class _Execution:
    def __init__(
        self,
        plan: Plan,
        settings: stages.Settings,
        on_change: Callable[[Progress], None],
        cores: int,
        boot: bool,
    ) -> None:
        self.plan = plan
        self.cores = Cores(cores)
        spare = SPARED if cores >= PLENTY else 0
        self.listener = settings.listener
        self.settings = replace(
            settings, jobs=cores - spare, listener=self._tell, spare=self.cores.spare
        )
        self.on_change = on_change
        self.boot = boot
        self.progress = Progress()
        self.took_looping: list[float] = []  # by cells, without their loops, s
        self.took_plain: list[float] = []  # by cells that have none, s
        self.until = time.monotonic() + plan.time_budget if plan.time_budget else None

    def keep_finished(self, done: RunResult) -> None:
        """Take over what an earlier run finished; what erred there is done again."""
        planned = {cell.id for cell in self.plan.cells}
        for cell in done.cells:
            if cell.id in planned and cell.cases and cell.verdict is not Verdict.ERROR:
                self.progress.cells[cell.id] = cell
        for build in done.builds:
            cells = [cell.id for cell in self.plan.cells if cell.build.id == build.id]
            if cells and all(cell in self.progress.cells for cell in cells):
                self.progress.builds[build.id] = build

    def go(self) -> Progress:
        kernels = self._prepare()
        builds = [
            build
            for build in self.plan.builds
            if build.kernel.name in kernels and build.id not in self.progress.builds
        ]
        width = max(1, len(self.plan.cells) + len(builds))
        with ThreadPoolExecutor(max_workers=width) as pool:
            try:
                self._schedule(pool, builds, kernels)
            except (KeyboardInterrupt, Interrupted):
                self.progress.interrupted = True
                self.cores.stop()
                process.cancel()
        return self.progress

    def _schedule(
        self, pool: ThreadPoolExecutor, builds: list[Build], kernels: dict[str, stages.Kernel]
    ) -> None:
        """Put everything into the queue and wait for it."""
        cells: list[Future[None]] = []
        jobs: list[Future[list[Future[None]]]] = []
        # What was built before can run at once; its cells are in the queue before any build.
        ranked = list(enumerate(builds))
        for rank, build in list(ranked):
            built = self._find(build, kernels[build.kernel.name])
            if built is not None:
                ranked.remove((rank, build))
                cells += self._start_cells(pool, built, kernels[build.kernel.name], rank)
        for rank, build in ranked:
            ticket = self.cores.queue(BUILD_RANK + rank)
            kernel = kernels[build.kernel.name]
            jobs.append(pool.submit(self._build_and_run, pool, build, kernel, rank, ticket))
        for job in jobs:
            found = self._result(job)
            cells += found or []
        for cell in cells:
            self._result(cell)

    def _result(self, job: Future[T]) -> T | None:
        """A job's result; what it did not foresee is a problem of the run and not its end."""
        try:
            return job.result()
        except Interrupted:
            raise
        except Exception as error:
            self._explain("the run", error)
            return None

    def _prepare(self) -> dict[str, stages.Kernel]:
        ready: dict[str, stages.Kernel] = {}
        for spec in dict.fromkeys(build.kernel for build in self.plan.builds):
            try:
                kernel = stages.prepare_kernel(spec, self.settings)
            except (Interrupted, KeyboardInterrupt):
                self.progress.interrupted = True
                break
            except Exception as error:
                reason = self._explain(f"kernel {spec.name}", error)
                self._tell(Event("kernel", spec.name, "done", reason, verdict=Verdict.ERROR))
                continue
            tree = kernel.tree
            record = KernelRecord(
                name=spec.name,
                source=kernel.source,
                version=tree.version,
                series=tree.patches,
                series_digest=tree.series_digest,
                notes=(*tree.notes, *unpromised(spec)),
                failure=tree.failure,
                series_origin=spec.series or "",
            )
            with self.progress.lock:
                self.progress.kernels[spec.name] = record
            self._changed()
            if tree.failure is None:
                ready[spec.name] = kernel
        return {} if self.progress.interrupted else ready

    def _find(self, build: Build, kernel: stages.Kernel) -> BuildResult | None:
        try:
            built = stages.find_build(build, kernel, self.settings)
            if built is not None:
                self._keep_build(self._record_build(built))
            return built
        except Interrupted:
            raise
        except (LabError, OSError):
            return None  # building it will tell what is wrong

    def _build_and_run(
        self,
        pool: ThreadPoolExecutor,
        build: Build,
        kernel: stages.Kernel,
        rank: int,
        ticket: Ticket,
    ) -> list[Future[None]]:
        """Build; then hand the build's cells to the pool and give their futures."""
        with self.cores.hold(self.settings.jobs, ticket):
            if self._late():
                self._skip(self._open(build), f"{BUDGET} before its build")
                return []
            built = self._build(build, kernel)
        return [] if built is None else self._start_cells(pool, built, kernel, rank)

    def _start_cells(
        self, pool: ThreadPoolExecutor, built: BuildResult, kernel: stages.Kernel, rank: int
    ) -> list[Future[None]]:
        if not self.boot:
            return []
        cells = self._open(built.build)
        if built.verdict is not Verdict.PASS:
            for cell in cells:
                self._keep(_unbooted(cell, built.verdict, "not booted: its build failed"))
            return []
        return [
            pool.submit(self._run_cell, cell, built, kernel, self.cores.queue(rank))
            for cell in cells
        ]

    def _build(self, build: Build, kernel: stages.Kernel) -> BuildResult | None:
        try:
            built = stages.build_one(build, kernel, self.settings)
            reason, found = built.reason, built.verdict
            record = self._record_build(built)
        except Interrupted:
            raise
        except Exception as error:
            reason, found = self._explain(f"build {build.id}", error), Verdict.ERROR
            built = None
            record = BuildRecord(
                build.id, build.kernel.name, build.config.name, build.arch, found, reason, 0.0,
                False, "",
            )  # fmt: skip
            for cell in self._open(build) if self.boot else ():
                self._keep(_unbooted(cell, found, "not booted: its build could not be made"))
        self._keep_build(record)
        return built

    def _keep_build(self, record: BuildRecord) -> None:
        with self.progress.lock:
            self.progress.builds[record.id] = record
        shown = record.reason or ("cached" if record.cached else "")
        took = None if record.cached else record.seconds
        self._tell(Event("build", record.id, "done", shown, 1.0, record.verdict, took))
        self._changed()

    def _record_build(self, built: BuildResult) -> BuildRecord:
        """Copy what the report shows of a build into the run's folder."""
        build = built.build
        where = f"builds/{cell_folder(build.id).partition('/')[2]}"
        folder = self.settings.folder / where
        folder.mkdir(parents=True, exist_ok=True)
        kept = {}
        for name, path in (("build.log", built.log), ("config", built.kernel_config)):
            if path and path.exists():
                (folder / name).write_bytes(path.read_bytes())
                kept[name] = f"{where}/{name}"
        found, reason = built.verdict, built.reason
        if not self.boot and found is Verdict.PASS and built.mismatches:
            # Else the cells' case "config" tells.
            found, reason = Verdict.FAIL, "; ".join(map(kconfig.tell, built.mismatches))
        return BuildRecord(
            id=build.id,
            kernel=build.kernel.name,
            config=build.config.name,
            arch=build.arch,
            verdict=found,
            reason=reason,
            seconds=built.seconds,
            cached=built.cached,
            image_sha256=built.image_sha256,
            command=built.command,
            log=kept.get("build.log", ""),
            kernel_config=kept.get("config", ""),
            cpu_seconds=built.cpu_seconds,
            errors=built.errors,
            new_warnings=built.new_warnings,
            mismatches=built.mismatches,
            notes=built.notes,
        )

    def _run_cell(
        self, cell: Cell, built: BuildResult, kernel: stages.Kernel, ticket: Ticket
    ) -> None:
        with self.cores.hold(cell.shape.cpus, ticket):
            if self._late():
                self._skip([cell], BUDGET)
                return
            began = time.monotonic()
            cell = self._stretched(cell)
            try:
                cell = stages.expand_cell(cell, kernel, self.settings)
                with self.progress.lock:
                    self.progress.expanded[cell.id] = cell
                record = stages.run_cell(cell, built, self.settings)
                loops = budget.loop_seconds(cell)
                took = max(0.0, time.monotonic() - began - loops)
                (self.took_looping if loops else self.took_plain).append(took)
                record = symbolize.with_lines(record, built, kernel, self.settings)
            except Interrupted:
                raise
            except Exception as error:
                reason = self._explain(f"cell {cell.id}", error)
                record = _unbooted(cell, Verdict.ERROR, reason)
        self._keep(record)

    def _stretched(self, cell: Cell) -> Cell:
        """The cell with its share of the time budget, where that is to be spent."""
        if not self.plan.spend_budget or self.until is None:
            return cell
        with self.progress.lock:
            # A kernel whose series does not apply has neither builds nor cells before it.
            kernels = {k.name for k in self.progress.kernels.values() if k.failure is None}
            cells = [
                budget.loop_seconds(one) > 0
                for one in self.plan.cells
                if one.id not in self.progress.cells and one.build.kernel.name in kernels
            ]
            builds = sum(
                one.id not in self.progress.builds and one.kernel.name in kernels
                for one in self.plan.builds
            )
            made = [one.seconds for one in self.progress.builds.values() if not one.cached]
        ahead = budget.Ahead(
            left=self.until - time.monotonic(),
            cells=sum(cells),
            builds=builds,
            others=len(cells) - sum(cells),
            at_once=max(1, self.cores.count // cell.shape.cpus),
            build_seconds=max(made, default=budget.BUILD_GUESS),
            cell_seconds=max(self.took_looping, default=budget.CELL_GUESS),
            other_seconds=max(self.took_plain, default=budget.CELL_GUESS),
        )
        return budget.stretched(cell, ahead)

    # ------------------------------------------------------------ small things

    def _open(self, build: Build) -> list[Cell]:
        """The cells of a build that have no record yet."""
        return [
            cell
            for cell in self.plan.cells
            if cell.build.id == build.id and cell.id not in self.progress.cells
        ]

    def _late(self) -> bool:
        return self.until is not None and time.monotonic() > self.until

    def _skip(self, cells: list[Cell], reason: str) -> None:
        for cell in cells:
            self._keep(_unbooted(cell, Verdict.SKIP, reason))

    def _keep(self, record: CellRecord) -> None:
        with self.progress.lock:
            self.progress.cells[record.id] = record
        note = record.notes[-1] if record.notes and not record.cases else ""
        self._tell(Event("cell", record.id, "done", note, 1.0, record.verdict))
        self._changed()

    def _explain(self, what: str, error: Exception) -> str:
        """One sentence on an error; one the lab did not expect leaves its traceback in the log."""
        if isinstance(error, LabError):
            self._problem(f"{what}: {error.message}", error)
            return error.message
        if isinstance(error, OSError):
            self._problem(f"{what}: {error}", HostError("", "is the disk full?"))
            return str(error)
        log.error("%s", what, exc_info=error)
        text = f"unexpected {type(error).__name__}: {error}"
        self._problem(
            f"{what}: {text} (a bug of the lab; lab.log has the traceback)", HostError("")
        )
        return text

    def _problem(self, text: str, error: LabError) -> None:
        with self.progress.lock:
            self.progress.problems.append(f"{text} ({error.hint})" if error.hint else text)
            self.progress.usage |= isinstance(error, UserError)

    def _tell(self, event: Event) -> None:
        """Tell whoever listens; one that fails must not fail what it is told about."""
        try:
            self.listener(event)
        except Exception as error:
            log.error("%s %s", event.kind, event.id, exc_info=error)

    def _changed(self) -> None:
        """Have what there is stored; a disk that is full now may have room at the end."""
        try:
            with self.progress.lock:
                self.on_change(self.progress)
        except LabError as error:
            text = f"{error.message} ({error.hint})"
            if text not in self.progress.problems:
                self._problem(error.message, error)


def _unbooted(cell: Cell, found: Verdict, reason: str) -> CellRecord:
    build = cell.build
    return CellRecord(
        cell.id, build.kernel.name, build.config.name, build.arch, cell.shape.name, "", found, 0.0,
        (), notes=(reason,),
    )  # fmt: skip
