# SPDX-License-Identifier: GPL-2.0-only
"""A run with as many cases as one likes, for its page."""

from __future__ import annotations

from dataclasses import replace

from sample_run import good_run, ledger

from orchestrator.model.evidence import Counter
from orchestrator.model.names import Verdict
from orchestrator.model.results import RunResult


def many(count: int) -> RunResult:
    """A run with so many cases, one in five with counters and a ledger, one in a hundred failed."""
    run = good_run()
    cells = []
    for cell in run.cells:
        cases = []
        for n in range(count // 2):
            case = replace(
                cell.cases[1],
                id=f"{cell.id}:move/w{n // 12}:case-{n}",
                workload=f"move/w{n // 12}",
                case=f"case-{n}",
                rerun=f"lab rerun 20240105-112233-smoke {cell.id}:move:case-{n}",
            )
            if n % 5 == 0:
                counters = tuple(Counter(f"counter-{k}", 1, 2, 3, 4, 4) for k in range(11))
                case = replace(case, counters=counters, ledger=ledger() * 4)
            if n % 100 == 0:
                case = replace(case, verdict=Verdict.FAIL, reason=f"swap.c:{n}: got 0, expected 1")
            cases.append(case)
        cells.append(replace(cell, cases=tuple(cases)))
    return replace(run, cells=tuple(cells), run=replace(run.run, exit_status=1))
