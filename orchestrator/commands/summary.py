# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to, at the end of its output: the answer first, then what to look at."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from orchestrator.commands.brief import brief
from orchestrator.commands.entry import let_go_of_stdout
from orchestrator.commands.notify import notify as tell
from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.known_issues import NOT_TRIED
from orchestrator.judge.outcome import left_out_of, not_run, not_run_text
from orchestrator.judge.own_selftests import selftest_lines
from orchestrator.judge.tested import tested_lines
from orchestrator.model.codec import plain
from orchestrator.model.results import Comparison, RunResult
from orchestrator.plan.capabilities import UNPROMISED
from orchestrator.report import covered_view, each_patch_text
from orchestrator.report.cause_text import block, cause_to_dict
from orchestrator.report.judgement import judgement
from orchestrator.report.sources import source_lines
from orchestrator.report.text import (
    changes_text,
    counts_text,
    issue_name,
    issue_standing,
    printable,
    visible,
)
from orchestrator.runner.run import Done

SHOWN = 12


def print_end(
    done: Done, shown: str, notify: bool | None, answer: str = "", table: str = ""
) -> None:
    """Tell what a run came to, and notify: the last words of a command.

    :param shown: how it was shown while it went on; ``quiet`` leaves one line.
    :param notify: as the command line says; see :func:`orchestrator.commands.notify.wanted`.
    :param answer: a rerun's answer, which is its last line.
    :param table: lines for a terminal that stand before it.
    """
    line = brief(done.result, done.comparison, done.folder, done.seconds, answer)
    if done.told:
        print(f"lab: {visible(done.told)}", file=sys.stderr)
    try:
        if shown == "quiet":
            print(line, flush=True)
        else:
            as_json = shown == "json"
            print_summary(done.result, done.comparison, done.folder, done.seconds, as_json)
            if not as_json:
                for text in filter(None, (table, answer)):
                    print(text, flush=True)
    except BrokenPipeError:
        let_go_of_stdout()  # `lab run | head -1`: the exit status is the run's all the same
    if shown != "json":
        tell(notify, done.seconds, line, sys.stdout)


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
        "tested": list(tested_lines(run)),
        "selftests": list(selftest_lines(run)),
        "folder": str(folder),
        "exit_status": run.run.exit_status,
        "complete": run.run.complete,
        "seconds": round(seconds, 1),
        "summary": {
            "pass": counts.passed,
            "fail": counts.failed,
            "skip": counts.skipped,
            "error": counts.errors,
            "known": counts_of_run(run).known,
        },
        "problems": list(run.problems),
    }
    cut = [f"{cell.id}:{name}" for cell in run.cells for name in left_out_of(cell)]
    if left := [*(cell.id for cell in not_run(run.cells)), *cut]:
        told["not_run"] = left
    causes = causes_of(run)
    if judged := judgement(run, comparison, causes).text:
        told["judged"] = judged
    if causes:
        told["causes"] = [cause_to_dict(cause) for cause in causes]
    if run.each_patch:
        told["each_patch"] = [plain(one) for one in run.each_patch]
    if coverage := covered_view.shown_series(run):
        told["coverage"] = [covered_view.to_dict(one) for one in coverage]
    if run.known_issues:
        told["known_issues"] = [plain(issue) for issue in run.known_issues]
    if comparison is not None:
        told["regressed"] = [item.key for item in comparison.regressed]
    return told


def summary_text(
    run: RunResult, comparison: Comparison | None, folder: Path, seconds: float
) -> str:
    """The summary as lines of text."""
    lines = ["", *(f"tested: {line}" for line in tested_lines(run))]
    lines += [f"its selftest {line}" for line in selftest_lines(run)]
    causes = causes_of(run)
    judged = judgement(run, comparison, causes).text
    lines += [f"judged: {printable(judged)}"] if judged and run.searched is None else []
    source = partial(source_lines, run)
    lines += _bad_lines(causes, source)
    lines += [line for one in run.each_patch for line in each_patch_text.lines(one, run, source)]
    lines += [printable(line) for line in covered_view.text_lines(run)]
    lines += [f"problem: {problem}" for problem in run.problems]
    for issue in run.known_issues:
        if issue.state != NOT_TRIED:
            lines.append(f"known issue {issue_standing(issue, run)}: {issue_name(issue)}")
            lines.append(f"       {issue.reason}")
    if comparison is not None:
        lines.append(_comparison_line(comparison))
    if left := not_run_text(run.cells):
        lines.append(f"{left}; `lab run --resume {run.run.id}` goes on")
    total = counts_of_run(run)
    if total.skipped and comparison is None:
        lines += [f"note: {k.name}: {UNPROMISED}" for k in run.kernels if UNPROMISED in k.notes]
    lines.append(f"{counts_text(total)} in {seconds:.0f} s; exit status {run.run.exit_status}")
    lines.append(f"report: {folder / 'index.html'}")
    return "\n".join(lines)


def _bad_lines(causes: Sequence[Cause], source: Callable[[str], list[str]]) -> list[str]:
    """Why it fails: some lines a cause, of those beyond the limit one each."""
    lines = []
    for cause in causes[:SHOWN]:
        head, *rest = block(cause)
        lines += [head, *(f"       {text}" for text in source(cause.first.id)), *rest]
    return [*lines, *(block(cause)[0] for cause in causes[SHOWN:])]


def _comparison_line(comparison: Comparison) -> str:
    return f"against {comparison.baseline}: {changes_text(comparison) or 'nothing to compare'}"
