# SPDX-License-Identifier: GPL-2.0-only
"""Which reports happened in a line of the series."""

from __future__ import annotations

from dataclasses import replace

import pytest
from known_runs import known, run_of

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog
from orchestrator.judge.known_issues import NOT_TRIED, SEEN, settle
from orchestrator.judge.outcome import exit_status
from orchestrator.judge.touched import of_series
from orchestrator.model.errors import EXIT_KERNEL, EXIT_OK
from orchestrator.model.evidence import FrameLines, Hit, SourceLine
from orchestrator.model.kernel import PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, RunResult

(RACE,) = klog.parse((HOME / "tests" / "data" / "klog" / "kcsan.log").read_text())
ROWS = {line.split("+")[0].split()[-1]: row
        for row, line in enumerate(RACE.text.split("\n"), 1) if "+0x" in line}  # fmt: skip
RULE = known(RACE, signature="", title="^BUG: KCSAN: data-race", outside_series=True)


def race(**touched: tuple[str, ...]) -> Hit:
    """The report with source lines: of each function what its places say, innermost first."""
    frames = tuple(
        FrameLines(ROWS[name], name, 0, tuple(SourceLine(name, "mm/x.c", 1, how) for how in places))
        for name, places in touched.items()
    )
    return replace(RACE, frames=frames)


@pytest.mark.parametrize(
    ("hit", "own"),
    [
        (race(move_pages_pte=("",), zap_pte_range=("",)), False),
        (race(move_pages_pte=("line",), zap_pte_range=("",)), True),
        (race(move_pages_pte=("",), zap_pte_range=("line",)), True),
        (race(move_pages_pte=("", "line"), zap_pte_range=("",)), True),  # in what is inlined there
        (race(move_pages_pte=("function",), zap_pte_range=("",)), False),
        (race(move_pages_pte=("",), move_pages=("line",)), False),  # only called from there
        (race(move_pages=("line",)), None),
        (race(), None),
    ],
)
def test_the_innermost_places_decide(hit: Hit, own: bool | None) -> None:
    assert of_series(hit) is own


def run_with(hit: Hit, *, series: bool) -> RunResult:
    case = CaseResult("stock/default/x86_64/small:f/a:kernel-log", "f/a", "kernel-log",
                      Verdict.FAIL, hit.title, hits=(hit,))  # fmt: skip
    ran = CaseResult("stock/default/x86_64/small:f/a:b", "f/a", "b", Verdict.PASS)
    run = run_of(ran, case)
    patches = (PatchState(1, "mm: x", "a", "0", True),) if series else ()
    return replace(run, kernels=tuple(replace(k, series=patches) for k in run.kernels))


@pytest.mark.parametrize(
    ("hit", "series", "status"),
    [
        (race(move_pages_pte=("",), zap_pte_range=("",)), True, EXIT_OK),
        (race(move_pages_pte=("line",), zap_pte_range=("",)), True, EXIT_KERNEL),
        (race(), True, EXIT_KERNEL),  # nobody knows
        (race(), False, EXIT_OK),
    ],
)
def test_a_race_in_the_lines_of_the_series_fails(hit: Hit, series: bool, status: int) -> None:
    run = settle(run_with(hit, series=series), (), (RULE,))
    assert exit_status(run.cells, run.builds, run.kernels) == status
    assert settle(run, (), (RULE,)) == run
    (issue,) = run.known_issues
    assert issue.state == SEEN


def test_a_rule_is_never_told_as_gone() -> None:
    (issue,) = settle(run_of(), (), (RULE,)).known_issues
    assert issue.state == NOT_TRIED
