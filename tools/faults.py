# SPDX-License-Identifier: GPL-2.0-only
"""What each fault of tests/e2e/provoke must come out as, and whether a run's results say so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

GOOD = "a-good"


@dataclass(frozen=True)
class Fault:
    """One fault: the case that tells of it, its verdict, the hit's kind and title, the deadline.

    ``hits`` are (kind, regular expression of the title), each of which must be there; with none
    there must be no hit at all.  ``reason`` is a regular expression of the case's reason.
    ``seconds`` is for all of the workload, until its verdict.  ``survives``: its own case passes.
    """

    workload: str
    case: str
    verdict: str
    hits: tuple[tuple[str, str], ...] = ()
    seconds: float = 25.0
    reason: str = ""
    arches: tuple[str, ...] = ("x86_64", "arm64")
    survives: bool = False


def _log(workload: str, kind: str, title: str, **more: Any) -> Fault:
    return Fault(workload, "kernel-log", "fail", ((kind, title),), **more)


def _hang(workload: str, kind: str, title: str) -> Fault:
    return Fault(workload, "hang", "fail", ((kind, title),), seconds=90)


X86, ARM = ("x86_64",), ("arm64",)
FAULTS = (
    Fault("a-good", "survived", "pass", survives=True),
    Fault("now-z-good", "survived", "pass", survives=True),
    _log("now-bug", "kernel-bug", r"kernel BUG at drivers/misc/lkdtm/bugs\.c"),
    _log("now-warning", "warning", r"WARNING.* at drivers/misc/lkdtm/bugs\.c", survives=True),
    _log("now-warning-text", "warning", r"WARNING.* at drivers/misc/lkdtm/bugs\.c",
         survives=True),
    _log("now-two-warnings", "warning", r"WARNING.* at drivers/misc/lkdtm/bugs\.c", survives=True),
    _log("now-null", "null-deref", r"NULL pointer dereference"),
    _log("now-noncanonical", "general-protection", r"general protection fault", arches=X86),
    _log("now-noncanonical", "page-fault", r"Unable to handle kernel paging request", arches=ARM),
    _log("now-folio", "vm-bug-on", r"VM_BUG_ON_FOLIO"),
    _log("now-panic", "panic", r"Kernel panic - not syncing: dumptest"),
    _log("now-list", "list-corruption", r"list_add corruption"),
    _log("now-stack", "stack-overflow", r"stack"),
    _log("now-canary", "page-fault", r"page fault|paging request"),
    _log("now-refcount", "refcount", r"refcount_t: saturated", survives=True),
    _log("now-hung-task", "hung-task", r"INFO: task hung", survives=True),
    _log("now-oom", "oom", r"Out of memory", survives=True, seconds=40),
    Fault("now-reset", "reset", "fail", (("reset", "guest reset without a panic"),)),
    _hang("slow-freeze", "endless-loop", r"endless loop in freeze_cpu with interrupts off"),
    _hang("hang-any-lock-kept", "lock-kept",
          r"lock never let go: CPU \d in ask_for_kept_spinlock"),
    _hang("hang-any-loop", "endless-loop", r"endless loop in lkdtm_LOOP$"),
    _hang("hang-any-loop-off", "endless-loop",
          r"endless loop in lkdtm_HARDLOCKUP with interrupts off"),
    _hang("hang-any-mutex-kept", "lock-kept",
          r"lock never let go: task in ask_for_kept_mutex for a mutex"),
    _hang("hang-any-retry", "endless-loop", r"endless loop in retry_without_end$"),
    _hang("hang-any-task", "stuck-task", r"task never woken: in lkdtm_HUNG_TASK"),
    _hang("hang-spin-order", "deadlock",
          r"deadlock: CPU \d in lock_(first_then_second|second_then_first), CPU \d in lock_"),
    _hang("hang-mutex-rwsem", "deadlock",
          r"deadlock: task in take_mutex_first for an rwsem, task in take_mutex_last"),
    Fault("slow-network-loss", "guest", "error", seconds=120,
          reason="its kernel answers on the console, its SSH does not"),
    Fault("slow-qemu-killed", "guest", "error", reason="qemu-died"),
    Fault("slow-hang", "hang", "fail", seconds=60, reason="still running after"),
    _log("stuck-soft-lockup", "soft-lockup", r"soft lockup", seconds=120),
    _log("stuck-rcu-stall", "rcu-stall", r"rcu.*stall", seconds=120),
    _log("debug-lockdep", "lockdep", r"lock held when returning to user space", seconds=60),
    _log("debug-kasan-free", "kasan", r"KASAN: .*use-after-free", seconds=60),
    _log("debug-kasan-bounds", "kasan", r"KASAN: slab-out-of-bounds", seconds=60),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one fault came to in one cell; ``wrong`` is empty where it is as it must be."""

    cell: str
    workload: str
    told: str
    seconds: float
    wrong: str


def check(results: dict[str, Any]) -> list[Outcome]:
    """Compare a run's results.json with what is expected, fault by fault."""
    found = []
    for cell in results["cells"]:
        by_name = {fault.workload: fault for fault in FAULTS if cell["arch"] in fault.arches}
        names = dict.fromkeys(
            case["workload"].partition("/")[2] for case in cell["cases"] if "/" in case["workload"]
        )
        if GOOD not in names:
            told = str(cell["notes"])
            found.append(Outcome(cell["id"], GOOD, told, 0.0, "the cell did not run"))
        for name in names:
            cases = [c for c in cell["cases"] if c["workload"] == f"provoke/{name}"]
            took = sum(case["seconds"] for case in cases)
            fault = by_name.get(name)
            told = _told(cases)
            wrong = _wrong(fault, cases, took) if fault else "nothing is expected of it"
            found.append(Outcome(cell["id"], name, told, took, wrong))
    return found


def _told(cases: list[dict[str, Any]]) -> str:
    bad = [case for case in cases if case["verdict"] in ("fail", "error")]
    if not bad:
        return "pass"
    case = next((c for c in bad if c["hits"]), bad[0])
    title = case["hits"][0]["title"] if case["hits"] else case["reason"].splitlines()[0]
    return f"{case['verdict']}: {title}"


def _wrong(fault: Fault, cases: list[dict[str, Any]], took: float) -> str:
    case = next((c for c in cases if c["case"] == fault.case), None)
    if case is None:
        return f"there is no case {fault.case}: {[c['case'] for c in cases]}"
    if case["verdict"] != fault.verdict:
        return f"{fault.case} is {case['verdict']}, not {fault.verdict}: {case['reason'][:200]}"
    for kind, title in fault.hits:
        if not any(h["kind"] == kind and re.search(title, h["title"]) for h in case["hits"]):
            return f"no {kind} /{title}/ in {[(h['kind'], h['title']) for h in case['hits']]}"
    if not fault.hits and case["hits"]:
        return f"hits where none is expected: {[h['title'] for h in case['hits']]}"
    if not re.search(fault.reason, case["reason"]):
        return f"the reason is not /{fault.reason}/: {case['reason'][:200]}"
    if fault.survives and not any(
        c["case"] == "survived" and c["verdict"] == "pass" for c in cases
    ):
        return f"the workload did not survive: {[(c['case'], c['verdict']) for c in cases]}"
    if took > fault.seconds:
        return f"took {took:.0f} s, more than {fault.seconds:.0f}"
    return ""
