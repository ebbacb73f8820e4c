# SPDX-License-Identifier: GPL-2.0-only
"""A cell without a guest: the host tests of a kernel's tree, built and run on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.evidence import host_output
from orchestrator.host import sandbox
from orchestrator.host.ending import ended_by, refuse_ended
from orchestrator.judge.outcome import ENDED, STOPPED, cell_verdict
from orchestrator.model.errors import Ended, HostError, Interrupted
from orchestrator.model.formats import not_built
from orchestrator.model.names import BUILD, HOST, NEEDS, Verdict
from orchestrator.model.results import CellRecord
from orchestrator.model.spec import Cell, HostTest, WorkloadSpec
from orchestrator.plan.first import in_turn
from orchestrator.runner.collector import CellLog, stem
from orchestrator.runner.context import Context, Kernel
from orchestrator.workload import host_sources, host_tests

# What a sanitizer's shadow may come to beside the program's own memory.
_SANITIZED = 4


def run_host_cell(cell: Cell, kernel: Kernel, context: Context) -> CellRecord:
    """Build and run a cell's host tests one after another, judge each, and give the record.

    :raises HostError: when the host cannot build them, or cannot run any.
    :raises Interrupted: when the run was stopped before anything was known of it.
    """
    return _HostCell(cell, kernel, context).run()


@dataclass
class _HostCell:
    """One cell while it runs; what is built of a folder is built when its first program is due."""

    cell: Cell
    kernel: Kernel
    context: Context
    built: dict[object, host_tests.HostPrograms] = field(default_factory=dict)
    sources: dict[object, host_sources.Sources] = field(default_factory=dict)
    under_way: str = ""

    def __post_init__(self) -> None:
        self.log = CellLog(self.cell, self.context)

    def run(self) -> CellRecord:
        try:
            self.log.folder.mkdir(parents=True, exist_ok=True)
            with ended_by(self.context.ending):
                self._every_one()
        except Interrupted as stop:
            # What was under way is done over; what was found before stays found.
            self.log.cases[:] = [c for c in self.log.cases if c.workload != self.under_way]
            if not self.log.cases:
                raise
            self.log.left_out(self._left, ENDED if isinstance(stop, Ended) else STOPPED)
        except OSError as error:
            raise HostError(f"{self.cell.id}: {error}", "see that the disk is not full") from error
        if sandbox.kind() == sandbox.NOTHING:
            self.log.notes.append(sandbox.BARE)
        cell = self.cell
        return CellRecord(
            id=cell.id,
            kernel=cell.build.kernel.name,
            config=cell.build.config.name,
            arch=cell.build.arch,
            shape=cell.shape.name,
            accelerator="",
            verdict=cell_verdict(self.log.cases),
            boot_seconds=0.0,
            cases=self.log.in_order(),
            notes=tuple(self.log.notes),
        )

    @property
    def _left(self) -> list[WorkloadSpec]:
        """What no earlier part of the run has done, in turn."""
        return in_turn(self.cell, self.cell.workloads)

    def _every_one(self) -> None:
        for spec in self._left:
            self.under_way = ""
            refuse_ended()
            self.under_way = spec.name
            assert spec.host is not None
            try:
                self._one(spec, spec.host)
            except Interrupted:
                raise
            except HostError as error:  # what was found before stays found
                self.log.case(spec.name, HOST, Verdict.ERROR, error.message)

    def _one(self, spec: WorkloadSpec, test: HostTest) -> None:
        began = time.monotonic()
        programs = self._programs(test)
        program = programs.programs[test.target]
        taken = time.monotonic() - began
        if program.absent:
            self.log.case(spec.name, NEEDS, Verdict.SKIP, program.absent)
        elif program.lacks:
            self.log.case(spec.name, BUILD, Verdict.SKIP, f"not built: {program.lacks}")
        elif program.problem:
            told = not_built(program.problem, program.repaired)
            self.log.case(spec.name, BUILD, Verdict.FAIL, told, taken)
        if program.path:
            self._run(spec, test, programs.folder, program.path)

    def _programs(self, test: HostTest) -> host_tests.HostPrograms:
        key = host_tests.group(test)
        if key not in self.built:
            of_group = {
                spec.host.target: spec.host
                for spec in self.cell.workloads
                if spec.host is not None and host_tests.group(spec.host) == key
            }

            def tell(text: str) -> None:
                self.log.tell("build", text)

            self.built[key] = host_tests.build(
                self.kernel.tree, tuple(of_group.values()), self.context.cache, tell
            )
        return self.built[key]

    def _sources(self, test: HostTest) -> host_sources.Sources:
        """What a test was built of, listed once for all that were built of the same."""
        key = test.folder, test.sources
        if key not in self.sources:
            self.sources[key] = host_sources.of_tree(self.kernel.tree, test, self.context.cache)
        return self.sources[key]

    def _run(self, spec: WorkloadSpec, test: HostTest, folder: Path, program: str) -> None:
        self.log.tell("run", spec.name)
        limits = sandbox.Limits(
            spec.timeout, test.memory_mib, test.processes, address_space=not test.sanitize
        )
        output = self.log.folder / f"{stem(spec)}.ktap"
        words = (program, *spec.args)
        ended = sandbox.run(folder, words, limits, output, _environment(test))
        found = host_output.read(
            ended.output.splitlines(), ended.status, self._sources(test).locate,
            allows=spec.messages.allows, limit=spec.timeout,
        )  # fmt: skip
        for number, case in enumerate(found):
            last = number == len(found) - 1
            self.log.case(
                spec.name, case.name, case.verdict, case.reason, ended.seconds if last else 0.0
            )


def _environment(test: HostTest) -> dict[str, str]:
    """What the sanitizers go by: all is told with its lines, memory is limited, leaks count."""
    if not test.sanitize:
        return {}
    memory = f"hard_rss_limit_mb={test.memory_mib * _SANITIZED}"
    return {
        "ASAN_OPTIONS": f"{memory}:detect_leaks=1:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=0",
        "TSAN_OPTIONS": memory,
    }
