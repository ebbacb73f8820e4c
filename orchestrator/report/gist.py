# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to in one sentence, for a terminal, a notification or a check.  Pure."""

from __future__ import annotations

from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.outcome import summary_of
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.judge.signs import CauseKind
from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK
from orchestrator.model.formats import counted
from orchestrator.model.names import Verdict
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report.cause_text import headline
from orchestrator.report.judgement import judgement
from orchestrator.report.text import SEARCH_MEANING, first_line


def gist(run: RunResult, comparison: Comparison | None) -> str:
    """``FAIL: kernel BUG at mm/swapfile.c:1587 in 3 workloads, 25 cases fail``.

    ``pass: 1257 cases in 2 cells`` where all is as expected.  The first word is ``pass``, ``FAIL``,
    ``ERROR`` or ``interrupted``, as the exit status has it, or ``searched``.  What a guest said is
    in it as it is.
    """
    status = run.run.exit_status
    if run.searched is not None and status in SEARCH_MEANING:
        return f"searched: {run.searched.short}"
    if status == EXIT_OK:
        return f"pass: {_tried(run)}{_failed(run, comparison)}"
    if status == EXIT_INTERRUPTED:
        return f"interrupted: {_tried(run)} so far{_failed(run, comparison)}"
    word = "FAIL" if status == EXIT_KERNEL else "ERROR"
    why, others = _why(run, comparison, status)
    more = f" and {counted(others, 'more cause')}" if others else ""
    return f"{word}: {why}{more}{_failed(run, comparison)}"


def _why(run: RunResult, comparison: Comparison | None, status: int) -> tuple[str, int]:
    """What to look at first, and how many causes there are besides it."""
    causes: tuple[Cause, ...] = causes_of(run)
    if status != EXIT_KERNEL:
        errors = [cause for cause in causes if cause.kind is CauseKind.ERROR]
        if run.problems:
            return first_line(run.problems[0]), len(causes)
        if errors:
            return headline(errors[0]), len(causes) - 1
    else:
        judged = judgement(run, comparison, causes)
        broken = any(one.broken for one in run.each_patch)
        if judged.what and (comparison is None or comparison.regressed or broken):
            return judged.short, judged.more
    if causes:
        return headline(causes[0]), len(causes) - 1
    return "nothing was executed", 0


def _tried(run: RunResult) -> str:
    """``1257 cases in 2 cells, 14 known failures``; ``2 builds`` of what boots nothing."""
    run = without_prefixes(run)
    cells = [cell for cell in run.cells if cell.cases]
    if not cells:
        good = sum(build.verdict is Verdict.PASS for build in run.builds)
        return counted(good, "build")
    counts = counts_of_run(run)
    known = f", {counted(counts.known, 'known failure')}" if counts.known else ""
    return f"{counted(counts.passed, 'case')} in {counted(len(cells), 'cell')}{known}"


def _failed(run: RunResult, comparison: Comparison | None) -> str:
    """``, 25 cases fail, 3 of them regressed``; empty where none does."""
    failed = summary_of(run).failed
    if not failed:
        return ""
    told = f", {counted(failed, 'case')} {'fails' if failed == 1 else 'fail'}"
    if comparison is None:
        return told
    worse = len(comparison.regressed)
    return f"{told} and {worse or 'none'} regressed"
