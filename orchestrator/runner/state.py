# SPDX-License-Identifier: GPL-2.0-only
"""What a run has come to so far: its records, what went wrong beside the kernel, and its result."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from orchestrator.judge.known_issues import settle
from orchestrator.judge.outcome import summary_of
from orchestrator.model.errors import HostError, LabError, UserError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.results import (
    BuildRecord,
    CellRecord,
    IssueRecord,
    KernelRecord,
    Records,
    RunInfo,
    RunResult,
)
from orchestrator.model.searched import Searched
from orchestrator.model.spec import Cell, Plan
from orchestrator.workload.about import workload_records

log = logging.getLogger("lab.run")


def reason_of(error: Exception, what: str, to: logging.Logger) -> str:
    """Why something went wrong that costs the run nothing, for a note.

    One that the lab did not expect leaves its traceback in the log.

    :param what: what was being done, for the log.
    """
    if not isinstance(error, LabError | OSError):
        to.error("%s", what, exc_info=error)
    return error.message if isinstance(error, LabError) else f"{type(error).__name__}: {error}"


@dataclass
class RunState:
    """Records by name or id; while a run goes on they are changed under ``lock`` only.

    ``as_ran`` are the cells with their selftests, each a workload of its own, ``built`` the builds
    that they booted.  ``problems`` are sentences on what the host or the input did wrong, ``usage``
    tells that some of it is input.  ``ended`` says that it ended at its first failure.  ``cut`` are
    the ids of cells of which an earlier part of the run left workloads out; their records stand
    until the rest was run.  ``searched`` tells what a search has come to by now.
    """

    kernels: dict[str, KernelRecord] = field(default_factory=dict)
    builds: dict[str, BuildRecord] = field(default_factory=dict)
    cells: dict[str, CellRecord] = field(default_factory=dict)
    as_ran: dict[str, Cell] = field(default_factory=dict)
    built: dict[str, BuildResult] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    usage: bool = False
    interrupted: bool = False
    searched: Callable[[], Searched] | None = None
    ended: bool = False
    cut: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def explain(self, what: str, error: Exception) -> str:
        """Note an error as a problem of the run and give one sentence on it.

        One that the lab did not expect leaves its traceback in the log.
        """
        head = f"{what}: " if what else ""
        if isinstance(error, LabError):
            self.problem(f"{head}{error.message}", error)
            return error.message
        if isinstance(error, OSError):
            self.problem(f"{head}{error}", HostError("", "is the disk full?"))
            return str(error)
        log.error("%s", what, exc_info=error)
        text = f"unexpected {type(error).__name__}: {error}"
        self.problem(f"{head}{text} (a bug of the lab; lab.log has the traceback)", HostError(""))
        return text

    def problem(self, text: str, error: LabError) -> None:
        """Note a problem with the error's hint."""
        with self.lock:
            self.problems.append(f"{text} ({error.hint})" if error.hint else text)
            self.usage |= isinstance(error, UserError)

    def settle(self, plan: Plan) -> tuple[IssueRecord, ...]:
        """Apply ``expect:`` and ``known_issues:`` to each series, build and cell they concern.

        Gives what became of the known issues.
        """
        settled = settle(self.records(), plan.expectations, plan.known_issues)
        self.kernels.update({kernel.name: kernel for kernel in settled.kernels})
        self.builds.update({build.id: build for build in settled.builds})
        self.cells.update({cell.id: cell for cell in settled.cells})
        return settled.known_issues

    def records(self, command: str = "") -> Records:
        """What there is, for who looks at it before the run is one."""
        return Records(
            tuple(self.kernels.values()), tuple(self.builds.values()), tuple(self.cells.values()),
            tuple(self.problems), command=command,
        )  # fmt: skip

    def take(self, earlier: RunResult) -> None:
        """Take over all that an interrupted run has recorded."""
        self.kernels |= {kernel.name: kernel for kernel in earlier.kernels}
        self.builds |= {build.id: build for build in earlier.builds}
        self.cells |= {cell.id: cell for cell in earlier.cells}

    def result(self, plan: Plan, info: RunInfo) -> RunResult:
        """All there is, builds and cells in the plan's order."""
        builds = tuple(self.builds[one.id] for one in plan.builds if one.id in self.builds)
        cells = tuple(self.cells[one.id] for one in plan.cells if one.id in self.cells)
        kernels = tuple(_told(kernel, cells) for kernel in self.kernels.values())
        found = replace(self.records(info.command), kernels=kernels, builds=builds, cells=cells)
        total = summary_of(found)
        return RunResult(
            info, found.kernels, found.builds, cells, total, found.problems,
            workloads=workload_records(plan, cells),
            searched=self.searched() if self.searched is not None else None,
        )  # fmt: skip


def _told(kernel: KernelRecord, cells: Iterable[CellRecord]) -> KernelRecord:
    """A kernel as a run keeps it: the text of its patches where a cell counted what of them ran.

    A kernel with a part of a series has it in the one with all of it.
    """
    own = (cell for cell in cells if cell.kernel == kernel.name and not kernel.prefix_of)
    counted = any(cell.coverage for cell in own)
    return kernel if counted else replace(kernel, hunks=())
