# SPDX-License-Identifier: GPL-2.0-only
"""Evidence of one workload as a guest would leave it, and its cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.judge.verdict import judge
from orchestrator.model.evidence import GuestEnd, WorkloadEvidence
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import WorkloadSpec

CELL = "stock/default/x86_64/small"
GOOD = "KTAP version 1\n1..2\nok 1 basic\nok 2 holes\n"
RSS = "[    9.000000][   T61] BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:3\n"
PANIC = "[    9.000000][   T61] Kernel panic - not syncing: Fatal exception\n"
SAMPLES = "\n".join(
    json.dumps(r)
    for r in (
        {"phase": "before", "t": 0, "AnonPages": 100},
        {"t": 0.1, "RssAnon": 12},
        {"phase": "after", "t": 1, "AnonPages": 100},
        {"phase": "exit", "status": 0, "signal": 0, "seconds": 1.0, "page_size": 4096},
    )
)


def spec(**changes: Any) -> WorkloadSpec:
    return WorkloadSpec("move/basic", "move", Path("/x"), "basic.c", **changes)


def seen(
    stdout: str = GOOD, workload: WorkloadSpec | None = None, **changes: Any
) -> WorkloadEvidence:
    fields: dict[str, Any] = {
        "stderr": "", "exit_status": 0, "timed_out": False, "seconds": 1.5, "guest": GuestEnd.ALIVE,
        "console": "", "console_complete": True,
    }  # fmt: skip
    return WorkloadEvidence(workload or spec(), stdout, **{**fields, **changes})


def judged(
    evidence: WorkloadEvidence, provided: frozenset[str] = frozenset()
) -> dict[str, CaseResult]:
    cases = judge(evidence, CELL, provided, "lab rerun latest {case}")
    assert len({c.id for c in cases}) == len(cases)
    return {c.case: c for c in cases}
