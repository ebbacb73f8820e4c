# SPDX-License-Identifier: GPL-2.0-only
"""What a run keeps of its workloads for who reads of them elsewhere: words, and lines of tests.

A page is mailed to people without this tree, and tests change: so it is kept when they ran.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.model.evidence import Excerpt
from orchestrator.model.names import Verdict
from orchestrator.model.results import CellRecord, WorkloadRecord
from orchestrator.model.spec import Plan, WorkloadSpec

# How the workloads' check.h and check.py begin a reason: the file alone, and the line.
_PLACE = re.compile(r"([A-Za-z0-9_-]{1,60}\.(?:c|h|py)):([0-9]{1,6}): ", re.ASCII)
_AROUND = 5  # lines on either side
_MOST = 60  # checks of a run
_LIBRARY = "lib"
_MAX_BYTES = 1 << 20


def workload_records(plan: Plan, cells: Iterable[CellRecord]) -> tuple[WorkloadRecord, ...]:
    """The workloads of these cells, each once, with the lines of the checks that failed in them."""
    specs = {spec.name: spec for cell in plan.cells for spec in cell.workloads}
    checks: dict[str, dict[str, Excerpt]] = {name: {} for name in specs}
    left = _MOST
    for cell in cells:
        for case in cell.cases:
            spec = specs.get(case.workload)
            failed = case.verdict is Verdict.FAIL or case.judged.startswith(Verdict.FAIL.value)
            if spec is None or not failed or not left:
                continue
            for place, excerpt in _quoted(spec, case.reason):
                if place not in checks[spec.name]:
                    checks[spec.name][place] = excerpt
                    left -= 1
    return tuple(
        WorkloadRecord(name, spec.description, spec.program, checks[name])
        for name, spec in specs.items()
    )


def _quoted(spec: WorkloadSpec, reason: str) -> Iterable[tuple[str, Excerpt]]:
    """The first place that a reason names, with the lines around it; none where it has none."""
    for line in reason.splitlines()[:20]:
        if found := _PLACE.match(line):
            name, number = found[1], int(found[2])
            excerpt = _lines(spec.folder, name, number)
            return [(f"{name}:{number}", excerpt)] if excerpt.text else []
    return []


def _lines(folder: Path, name: str, number: int) -> Excerpt:
    """The lines around one of a file of a family, or of the library; empty for none."""
    for place in (folder / name, folder.parent / _LIBRARY / name):
        try:
            if place.stat().st_size > _MAX_BYTES:
                continue
            lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        if number <= len(lines):
            first = max(1, number - _AROUND)
            return Excerpt(first, "\n".join(lines[first - 1 : number + _AROUND]))
    return Excerpt()
