# SPDX-License-Identifier: GPL-2.0-only
"""What a running cell has come to so far: its cases with unique ids, its notes, who is told."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.window import outside_windows
from orchestrator.evidence.readings import parse_samples
from orchestrator.judge.outcome import ENDED
from orchestrator.judge.verdict import allowed
from orchestrator.model.evidence import CrashReport, GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.names import (
    BOOT,
    GUEST,
    HANG,
    KERNEL_LOG,
    NOT_RUN,
    RESET,
    CaseId,
    CellId,
    Verdict,
)
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.results.runs import cell_folder, file_stem
from orchestrator.runner.context import Context, Event


class CellLog:
    """The cases and notes of one cell; each case is told as it comes."""

    def __init__(self, cell: Cell, context: Context) -> None:
        self.cell = cell
        self.context = context
        self.folder = context.folder / cell_folder(cell.id)
        self.cases: list[CaseResult] = []
        self.notes: list[str] = []
        self._ids: set[str] = set()
        self._lock = threading.Lock()
        self._here = threading.local()  # each thread has a guest of its own

    def console(self, suffix: str) -> Path:
        """Where this thread's next guest's console goes; hits are read from there from now on."""
        path = self.folder / f"console{suffix}.log"
        self._here.console = f"{cell_folder(self.cell.id)}/{path.name}"
        return path

    def case(
        self,
        workload: str,
        name: str,
        found: Verdict,
        reason: str = "",
        seconds: float = 0.0,
        hits: tuple[Hit, ...] = (),
        crash: CrashReport | None = None,
    ) -> None:
        """Add a case of the lab's own making."""
        case_id = str(CaseId(CellId.parse(self.cell.id), workload, name))
        rerun = self.context.values.rerun.replace("{case}", shlex.quote(case_id))
        case = CaseResult(case_id, workload, name, found, reason, seconds, hits, rerun=rerun)
        self.add(replace(case, crash=crash))

    def add(self, case: CaseResult, console: str = "") -> None:
        """Add a case; a second boot may report what the first did, but ids are unique in a run.

        :param console: the log that its hits count in; that of this thread's guest where empty.
        """
        number = 2
        unique = case = replace(case, console=console or getattr(self._here, "console", ""))
        with self._lock:
            while unique.id in self._ids:
                unique = replace(case, id=f"{case.id}-{number}", case=f"{case.case}-{number}")
                number += 1
            self._ids.add(unique.id)
            self.cases.append(unique)
        found, seconds = unique.verdict, unique.seconds
        self.context.listener(
            Event("case", unique.id, "done", unique.reason, None, found, seconds, case=unique)
        )

    def tell(self, stage: str, text: str) -> None:
        """Tell whoever listens what the cell is doing."""
        self.context.listener(Event("cell", self.cell.id, stage, text))

    def judged(self, workload: str, name: str = "") -> bool:
        """Whether there is a case of this workload (and name) yet."""
        return any(c.workload == workload and name in ("", c.case) for c in self.cases)

    def not_ready(self, spec: WorkloadSpec) -> bool:
        """Tell what is known of a workload before it runs; whether it is not to run at all."""
        for told in spec.not_ready:
            if not self.judged(spec.name, told.case):
                self.case(spec.name, told.case, told.verdict, told.reason)
        return any(not told.runs for told in spec.not_ready)

    def left_out(self, specs: Iterable[WorkloadSpec], why: str = ENDED) -> None:
        """Tell of workloads that the run's early end leaves no time for."""
        for spec in specs:
            if not self.judged(spec.name):
                self.case(spec.name, NOT_RUN, Verdict.SKIP, why)

    def in_order(self) -> tuple[CaseResult, ...]:
        """All cases, the lab's own first and each workload's where the plan has it."""
        order = {spec.name: number for number, spec in enumerate(self.cell.workloads, 1)}
        return tuple(sorted(self.cases, key=lambda case: order.get(case.workload, 0)))

    def hits(self, lines: Iterable[str | bytes]) -> tuple[Hit, ...]:
        """The reports in a part of a log that the lab's and the config's rules do not allow."""
        return tuple(hit for hit in klog.parse(lines) if not allowed(hit, self.cell.messages))

    def outside_windows(self, console: bytes) -> None:
        """Judge what the kernel printed outside the workloads' windows: booting and between."""
        hits = tuple(
            placed(hit, tuple(range(before + 1, before + len(lines) + 1)))
            for before, lines in outside_windows(console, self.context.values.token)
            for hit in self.hits(lines)
        )
        if hits or not self.judged(BOOT, KERNEL_LOG):
            found = Verdict.FAIL if hits else Verdict.PASS
            reason = f"outside the workloads: {hits[0].title}" if hits else ""
            self.case(BOOT, KERNEL_LOG, found, reason, hits=hits)


def stem(spec: WorkloadSpec) -> str:
    """A workload's name as part of a file's."""
    return file_stem(spec.name)


def placed(hit: Hit, lines: tuple[int, ...]) -> Hit:
    """A hit of a workload's window with its place in the console log.

    :param lines: the console log's line of each line of the window.
    """

    def at(number: int) -> int:
        return lines[number - 1] if 0 < number <= len(lines) else number

    return replace(hit, line=at(hit.line), end_line=at(hit.end_line))


def spoiled(evidence: WorkloadEvidence) -> str:
    """Why those after this workload need another guest; empty when it is as it was."""
    log = parse_samples(evidence.stderr)
    if evidence.guest is not GuestEnd.ALIVE or evidence.exit_status is None or not log.ended:
        # What did not end may still be running there.
        return "it did not come to its own end"
    return f"it left changed: {', '.join(log.changed)}" if log.changed else ""


def with_crash(judged: tuple[CaseResult, ...], found: CrashReport | None) -> list[CaseResult]:
    """The cases, with what was found in the lost guest at the one that tells most of its end."""
    bad = [case for case in judged if case.verdict in (Verdict.FAIL, Verdict.ERROR)]

    def tells(case: CaseResult) -> tuple[bool, bool, bool]:
        ended = case.case in (HANG, GUEST, RESET)
        return any(hit.fatal for hit in case.hits), bool(case.hits), ended

    best = max(bad, key=tells, default=None)
    return [replace(case, crash=found) if case is best else case for case in judged]
