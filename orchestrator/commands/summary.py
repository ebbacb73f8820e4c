# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to, at the end of its output: the answer first, then what to look at."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orchestrator.judge.known_issues import NOT_TRIED
from orchestrator.judge.outcome import cases_of, decisive, not_run, not_run_text
from orchestrator.model.codec import plain
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, Change, Comparison, RunResult
from orchestrator.plan.capabilities import UNPROMISED
from orchestrator.report.text import issue_name, issue_standing, visible
from orchestrator.report.trace import touched_places

SHOWN = 12


def print_summary(
    run: RunResult, comparison: Comparison | None, folder: Path, seconds: float, as_json: bool
) -> None:
    """Print the summary: as the last JSON line, or as text."""
    if as_json:
        print(json.dumps({"event": "summary", **_as_dict(run, comparison, folder, seconds)}))
    else:
        # Reasons quote compilers, patches and guests: nothing of them may steer the terminal.
        for line in summary_text(run, comparison, folder, seconds).splitlines():
            print(visible(line))
    sys.stdout.flush()


def _as_dict(
    run: RunResult, comparison: Comparison | None, folder: Path, seconds: float
) -> dict[str, object]:
    counts = run.summary
    told: dict[str, object] = {
        "run": run.run.id,
        "folder": str(folder),
        "exit_status": run.run.exit_status,
        "seconds": round(seconds, 1),
        "summary": {
            "pass": counts.passed,
            "fail": counts.failed,
            "skip": counts.skipped,
            "error": counts.errors,
        },
        "problems": list(run.problems),
    }
    if left := not_run(run.cells):
        told["not_run"] = [cell.id for cell in left]
    if run.known_issues:
        told["known_issues"] = [plain(issue) for issue in run.known_issues]
    if comparison is not None:
        told["regressed"] = [item.key for item in comparison.regressed]
    return told


def summary_text(
    run: RunResult, comparison: Comparison | None, folder: Path, seconds: float
) -> str:
    """The summary as lines of text."""
    lines: list[str] = ["", *_bad_lines(run)]
    lines += [f"problem: {problem}" for problem in run.problems]
    for issue in run.known_issues:
        if issue.state != NOT_TRIED:
            lines.append(f"known issue {issue_standing(issue, run)}: {issue_name(issue)}")
            lines.append(f"       {issue.reason}")
    if comparison is not None:
        lines.append(_comparison_line(comparison))
    if left := not_run_text(run.cells):
        lines.append(left)
    total = run.summary
    if total.skipped and comparison is None:
        lines += [f"note: {k.name}: {UNPROMISED}" for k in run.kernels if UNPROMISED in k.notes]
    lines.append(
        f"{total.passed} pass, {total.failed} fail, {total.skipped} skip, {total.errors} error"
        f" in {seconds:.0f} s; exit status {run.run.exit_status}"
    )
    lines.append(f"report: {folder / 'index.html'}")
    return "\n".join(lines)


def _bad_lines(run: RunResult) -> list[str]:
    """What did not pass, some lines a case; what is beyond the limit is counted."""
    found = [placed.case for placed in cases_of(run)]
    bad = [case for case in found if case.verdict in (Verdict.FAIL, Verdict.ERROR)]
    # What the kernel itself said first, then what the counters say, then the rest in order.
    bad.sort(key=lambda case: 0 if case.hits else 1 if case.counters else 2)
    lines = [line for case in bad[:SHOWN] for line in _case_lines(case)]
    return [*lines, f"       ... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else lines


def _case_lines(case: CaseResult) -> list[str]:
    lines = [f"{case.verdict.value.upper():5}  {case.id}"]
    for text in (case.reason.splitlines()[:1] or [""]) + [decisive(case)]:
        if text and text not in lines[-1]:
            lines.append(f"       {text}")
    for place in touched_places(case, 1):
        lines.append(f"       in its trace, touched by the series: {place}")
    return [*lines, f"       again: {case.rerun}"] if case.rerun else lines


def _comparison_line(comparison: Comparison) -> str:
    counts = dict.fromkeys(Change, 0)
    for item in comparison.cases:
        counts[item.change] += 1
    told = ", ".join(f"{count} {change.value}" for change, count in counts.items() if count)
    return f"against {comparison.baseline}: {told or 'nothing to compare'}"
