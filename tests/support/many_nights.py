# SPDX-License-Identifier: GPL-2.0-only
"""Nights made of real results: a stored run again and again, with failures and figures drawn.

As a program: ``many_nights.py REPORTS [NIGHTS] [CELLS]`` fills a folder to look at its pages.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator import HOME
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import summary_of
from orchestrator.model.names import CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult, CellRecord, RunResult
from orchestrator.results import digests, runs, store

REAL = HOME / "tests" / "data" / "runs"
FIRST = datetime(2026, 8, 1, 1, 30, tzinfo=UTC)
CONFIGS = ("default", "no-thp", "no-uffd", "debug-vm", "lockdep", "kasan", "numa", "swap-off")
#: From which night to which an own failure lasts, and which share of the cells has it.
BREAKS = ((20, 24, 1.0), (61, 64, 0.5), (88, 1000, 0.3))
#: The night from which every figure of the first workload lies lower.
SLOWER = 70


def nights(source: RunResult, count: int, cells: int) -> list[RunResult]:
    """``count`` runs, oldest first, of ``cells`` cells each."""
    draw = random.Random(14)
    found: list[RunResult] = []
    for night in range(count):
        began = FIRST + timedelta(days=night, minutes=draw.randrange(9))
        stamp = began.strftime("%Y%m%d-%H%M%S")
        tree = f"tree-{night // 9}"  # a new kernel every nine nights
        kernel = replace(
            source.kernels[0], name="v6.12", version=f"6.12.{100 + night // 9}", tree=tree
        )
        made = [_cell(source, n, night, draw, stamp) for n in range(cells)]
        ended = began + timedelta(minutes=52 + draw.randrange(12) + (20 if night > 80 else 0))
        failed = any(cell.verdict is Verdict.FAIL for cell in made)
        run = replace(
            source, cells=tuple(made), builds=(), kernels=(kernel,), known_issues=(),
            run=replace(source.run, id=stamp, started=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
                        finished=ended.strftime("%Y-%m-%dT%H:%M:%SZ"), profile="nightly",
                        exit_status=int(failed), baseline=found[-1].run.id if found else ""),
        )  # fmt: skip
        found.append(replace(run, summary=summary_of(run)))
    return found


def _cell(source: RunResult, n: int, night: int, draw: random.Random, run: str) -> CellRecord:
    template = source.cells[n % len(source.cells)]
    config = CONFIGS[n // 2 % len(CONFIGS)]
    arch = ("x86_64", "arm64")[n % 2]
    place = CellId("v6.12", config, arch, template.shape)
    lasting = any(a <= night < b and draw.random() < share for a, b, share in BREAKS)
    lasting |= any(a <= night < b and n < share * 8 for a, b, share in BREAKS)
    cases = [_case(case, place, n, night, draw, lasting and at == 7) for at, case in
             enumerate(template.cases)]  # fmt: skip
    verdict = Verdict.FAIL if any(c.verdict is Verdict.FAIL for c in cases) else Verdict.PASS
    lost = draw.random() < 0.004
    return replace(
        template, id=str(place), kernel="v6.12", config=config, arch=arch, cases=tuple(cases),
        verdict=Verdict.ERROR if lost else verdict,
        notes=(), loops=(),
    )  # fmt: skip


def _case(
    case: CaseResult, place: CellId, n: int, night: int, draw: random.Random, broken: bool
) -> CaseResult:
    flaky = n in (3, 6) and case.case == "kernel-log" and draw.random() < 0.08
    slower = 0.88 if night >= SLOWER and "copy" in case.id else 1.0
    figures = tuple(
        replace(m, value=m.value * slower * math.exp(draw.gauss(0, 0.04)))
        for m in case.measurements
    )
    verdict = Verdict.FAIL if broken or flaky else Verdict.PASS
    if case.verdict is Verdict.SKIP:
        verdict = Verdict.SKIP
    return replace(
        case, id=str(CaseId(place, case.workload, case.case)), verdict=verdict, hits=(), ledger=(),
        reason="drawn" if verdict is Verdict.FAIL else case.reason, measurements=figures, known="",
        expected="", judged="", samples=(), crash=None, earlier=None,
    )  # fmt: skip


def trimmed(source: RunResult, most: int) -> RunResult:
    """A run with at most so many cases a cell, those that measured something first."""
    cells = tuple(
        replace(cell, cases=tuple(sorted(cell.cases, key=lambda c: not c.measurements)[:most]))
        for cell in source.cells
    )
    return replace(source, cells=cells)


def fill(reports: Path, source: RunResult, count: int, cells: int, whole: bool = True) -> None:
    """Store nights below ``reports``; without ``whole`` their digests alone, for speed."""
    before: RunResult | None = None
    for run in nights(source, count, cells):
        folder = reports / run.run.id
        if whole:
            store.save(run, folder)
        else:
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(f'{{"run": {{"started": "{run.run.started}"}}}}')
        digests.keep(folder, run, compare(before, run) if before else None)
        runs.update_latest(reports, folder)
        before = run


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    numbers = [int(word) for word in sys.argv[2:4]]
    real = store.load(Path(sys.argv[4]) if len(sys.argv) > 4 else REAL / "cross-swap")
    fill(folder, trimmed(real, 60), *(numbers + [100, 16][len(numbers) :]), whole=False)
