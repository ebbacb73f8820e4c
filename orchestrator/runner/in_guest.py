# SPDX-License-Identifier: GPL-2.0-only
"""One workload in the guest that a cell has: run, looked at when it is lost, and judged."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from functools import partial

from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import boot, facts
from orchestrator.guest import coverage as guest_coverage
from orchestrator.guest.qemu import Qemu
from orchestrator.guest.ssh import SshLost
from orchestrator.host.ending import ended_by
from orchestrator.judge import verdict
from orchestrator.model.arch import ARCHES
from orchestrator.model.evidence import CrashReport, GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import BROKEN_PROMISE, GUEST, HOST, NEEDS, Verdict
from orchestrator.model.results import LoopRecord
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.plan.capabilities import broken, promised_to
from orchestrator.runner import bootcheck, coverage, crash
from orchestrator.runner.collector import CellLog, placed, spoiled, stem, with_crash
from orchestrator.runner.context import Context
from orchestrator.workload import watch

# What kmemleak's two searches after a workload, and the wait before them, take at most.
LEAK_SCAN_SECONDS = 30.0


@dataclass
class InGuest:
    """The workloads of a cell, each in whatever guest it is given; copies run beside each other.

    ``guest`` is what is known of the guests, ``retried`` whose guest was lost once, ``loops`` what
    those were given that loop.
    """

    cell: Cell
    built: BuildResult
    context: Context
    log: CellLog
    guest: bootcheck.Seen = bootcheck.UNSEEN
    retried: set[str] = field(default_factory=set)
    loops: dict[str, LoopRecord] = field(default_factory=dict)

    def run(self, machine: boot.Guest, spec: WorkloadSpec) -> tuple[bool, str]:
        """Run and judge one; whether it must be run again, and why others need another guest."""
        self.log.tell("run", spec.name)
        tell = partial(_told, self.log, spec.name)
        start = machine.console_size()
        found: list[CrashReport] = []

        def examine() -> None:
            if machine.qemu.alive():
                hits = tuple(klog.parse(machine.console_bytes(start).split(b"\n")))
                found.append(self.examine(machine.qemu, stem(spec), hits))

        given = spec
        if self.guest.config.get("DEBUG_KMEMLEAK") == "y":
            given = replace(spec, timeout=spec.timeout + LEAK_SCAN_SECONDS)
        if spec.budget:
            self.loops[spec.name] = LoopRecord(spec.name, spec.seed or 0, spec.budget)
        counting = self._counting(machine)
        symbols = partial(crash.kernel_symbols, self.built)
        evidence = watch.run_workload(
            machine, given, self.context.values.token, tell, examine, symbols
        )
        if counting and evidence.guest is GuestEnd.ALIVE:
            self._keep_counts(machine, spec)
        evidence = replace(
            evidence, page_size=self.guest.facts.page_size, repeated=spec.name in self.retried
        )
        return self._judge(spec, evidence, next(iter(found), None)), spoiled(evidence)

    def _counting(self, machine: boot.Guest) -> bool:
        """Whether the guest's kernel counts what of it runs, from now on."""
        if self.built.coverage is None:
            return False
        with contextlib.suppress(SshLost):  # the workload will tell
            guest_coverage.reset(machine)
        return True

    def _keep_counts(self, machine: boot.Guest, spec: WorkloadSpec) -> None:
        try:
            coverage.keep(self.log.folder, stem(spec), guest_coverage.fetch(machine))
        except (SshLost, OSError) as error:
            self.log.notes.append(f"{spec.name}: no coverage: {error}")

    def unmet(self, spec: WorkloadSpec) -> bool:
        """Whether the guest lacks what a workload needs; that is a case of its own then."""
        if self.log.not_ready(spec):
            return True
        reason = self._lacks(spec.needs)
        if reason:
            self._needs(spec, reason)
        return bool(reason)

    def examine(self, qemu: Qemu, name: str, hits: tuple[Hit, ...] = ()) -> CrashReport:
        """Look into a guest that is lost before it is thrown away, also where the run ends."""
        self.log.tell("run", f"{name}: examining the lost guest")
        folder = self.log.folder / "crash" / name
        lost = crash.Lost(
            qemu, ARCHES[self.cell.build.arch], self.built, folder, self.context.folder, hits
        )
        with ended_by(None):
            return crash.examine(lost)

    def _lacks(self, needs: tuple[str, ...]) -> str:
        guest, modules = self.guest, self.built.modules is not None
        return facts.unmet(needs, guest.facts, guest.config, modules=modules)

    def _needs(self, spec: WorkloadSpec, reason: str) -> None:
        found = Verdict.SKIP
        missing = (n for n in spec.needs if self._lacks((n,)))
        if broken(self.cell, missing):
            found, reason = Verdict.FAIL, f"{BROKEN_PROMISE}{reason}"
        self.log.case(spec.name, NEEDS, found, reason)

    def _judge(
        self, spec: WorkloadSpec, evidence: WorkloadEvidence, found: CrashReport | None
    ) -> bool:
        """Judge one workload; True when it must be run again because its guest was lost."""
        judged = verdict.judge(
            evidence, self.cell.id, promised_to(self.cell, spec), self.context.values.rerun
        )
        lost = any(c.case in (GUEST, HOST) and c.verdict is Verdict.ERROR for c in judged)
        lost &= all(c.verdict is not Verdict.FAIL for c in judged)  # what was found stays found
        if lost and spec.name not in self.retried:
            self.retried.add(spec.name)
            self.log.notes.append(f"{spec.name} was repeated: its guest was lost without a report")
            return True
        if evidence.recovered:
            told = f"{evidence.recovered} lines that the console lost come from /dev/kmsg"
            self.log.notes.append(f"{spec.name}: {told}")
        # What was found in the guest stands with the case that tells of its end.
        for case in with_crash(judged, found):
            # A hit names its line in the console log, not in the workload's window.
            hits = tuple(placed(hit, evidence.console_lines) for hit in case.hits)
            self.log.add(replace(case, hits=hits))
        # Last, because a full disk must not cost the verdicts.
        (self.log.folder / f"{stem(spec)}.ktap").write_text(evidence.stdout, "utf-8")
        (self.log.folder / f"{stem(spec)}.samples").write_text(evidence.stderr, "utf-8")
        return False


def _told(log: CellLog, name: str, text: str) -> None:
    log.tell("run", f"{name}: {text}")
