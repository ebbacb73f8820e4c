# SPDX-License-Identifier: GPL-2.0-only
"""Runs of one cell with reports that may be known issues, settled and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from judging import PANIC, RSS, judged, seen, spec

from orchestrator.evidence.klog import parse as klog
from orchestrator.judge.compare import compare
from orchestrator.judge.known_issues import settle
from orchestrator.judge.outcome import cell_verdict, summary_of
from orchestrator.model.evidence import GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    Change,
    KernelRecord,
    Records,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import Expectation, KnownIssue

P = Verdict.PASS
CELL = "stock/default/x86_64/small"
WHY = "a moved swap entry is counted as a page; bug 4711"
WARN = """\
[    8.100000][   T61] ------------[ cut here ]------------
[    8.200000][   T61] WARNING: CPU: 1 PID: 61 at mm/rmap.c:533 folio_lock_anon_vma_read+0x1c4/0x2a0
[    8.300000][   T61] CPU: 1 UID: 0 PID: 61 Comm: move Not tainted 6.12.48+ #1
[    8.400000][   T61] RIP: 0010:folio_lock_anon_vma_read+0x1c4/0x2a0
[    8.500000][   T61] Call Trace:
[    8.600000][   T61]  <TASK>
[    8.700000][   T61]  move_pages+0x5d2/0xa40
[    8.800000][   T61]  userfaultfd_ioctl+0x8a1/0xc60
[    8.900000][   T61]  </TASK>
[    9.000000][   T61] ---[ end trace 0000000000000000 ]---
"""
(RSS_HIT,) = klog.parse(RSS)
(WARN_HIT,) = klog.parse(WARN)
(PANIC_HIT,) = klog.parse(PANIC)


def known(hit: Hit = RSS_HIT, **changes: object) -> KnownIssue:
    return replace(KnownIssue(WHY, signature=hit.signature, where="lab.yaml:9"), **changes)


def place(case: CaseResult, workload: str) -> CaseResult:
    return replace(case, id=case.id.replace("move/basic", workload), workload=workload)


def cases_of(evidence: WorkloadEvidence, workload: str = "move/basic") -> tuple[CaseResult, ...]:
    return tuple(place(case, workload) for case in judged(evidence).values())


def run_of(*cases: CaseResult, version: str = "6.12.20", cell: str = CELL) -> RunResult:
    kernel, config, arch, shape = cell.split("/")
    boot = CaseResult(f"{cell}:boot:boot", "boot", "boot", P)
    log = CaseResult(f"{cell}:boot:kernel-log", "boot", "kernel-log", P)
    whole = cases if any(c.workload == "boot" for c in cases) else (boot, *cases, log)
    record = CellRecord(
        cell, kernel, config, arch, shape, "tcg", cell_verdict(whole), 1.0, whole
    )  # fmt: skip
    info = RunInfo("r", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "lab run", 0, "0", "p")
    build = BuildRecord(f"{kernel}/{config}/{arch}", kernel, config, arch, P, "", 1.0, False, "")
    kernels = (KernelRecord(kernel, "s", version),)
    return RunResult(info, kernels, (build,), (record,), Summary(0, 0, 0, 0))


def settled(
    run: RunResult, *issues: KnownIssue, expect: Iterable[Expectation] = ()
) -> tuple[RunResult, dict[str, CaseResult]]:
    """The run settled, and its only cell's cases; settling again must change nothing."""
    once = settle(run, expect, issues)
    assert settle(once, expect, issues) == once
    # Of a lab.yaml that no longer knows it nothing stays.
    assert settle(once, (), ()).cells == run.cells
    records = Records(run.kernels, run.builds, run.cells, command=run.command)
    assert settle(records, expect, issues).cells == once.cells
    assert summary_of(settle(records, expect, issues)) == once.summary
    return once, {f"{case.workload}:{case.case}": case for case in once.cells[0].cases}


def lost(console: str = PANIC) -> WorkloadEvidence:
    return seen(
        "KTAP version 1\n1..2\nok 1 basic\n", console=console, guest=GuestEnd.PANIC,
        exit_status=None, workload=spec(invariants=("back-after-exit",)),
    )  # fmt: skip


def changes(a: RunResult, b: RunResult) -> dict[str, tuple[Change, str]]:
    found = compare(a, b)
    return {c.key.partition(":")[2]: (c.change, c.reason) for c in found.cases}
