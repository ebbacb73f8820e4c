# SPDX-License-Identifier: GPL-2.0-only
"""``lab compare``: made from stored results alone, no process is started."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.commands.entry import say
from orchestrator.commands.report import write_reports
from orchestrator.commands.workspace import stored_places
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import FigureChange, figure_changes, kernel_regressed
from orchestrator.judge.compare import compare as set_beside
from orchestrator.judge.grouped import by_cause
from orchestrator.judge.outcome import kernels_of
from orchestrator.model.codec import plain
from orchestrator.model.errors import EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.names import Verdict
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report.cause_text import cause_to_dict
from orchestrator.report.compare_text import comparison_text, figures_text
from orchestrator.report.view import by_change
from orchestrator.results import runs, store
from orchestrator.runner.record import known_noise


@dataclass(frozen=True)
class CompareOptions:
    """Which kernel of each run, what makes the exit status 1, and where the reports go.

    ``fail_on`` is ``regression``, ``any`` (whatever fails in B) or ``never``.  Without ``html``
    and ``junit`` both reports go into a folder of their own below ``reports``.
    """

    kernel_a: str | None = None
    kernel_b: str | None = None
    fail_on: str = "regression"
    html: Path | None = None
    junit: Path | None = None
    as_json: bool = False


def compare(name_a: str, name_b: str, options: CompareOptions) -> int:
    """Compare two runs, or two kernels of one; print it, write its reports, give the exit status.

    :raises UserError: when a run or kernel is unknown, or nothing is in both.
    """
    places = stored_places(name_a, name_b)
    folder_a, folder_b = (runs.find_run(places.reports, name) for name in (name_a, name_b))
    run_a, run_b = store.load(folder_a), store.load(folder_b)
    comparison = set_beside(run_a, run_b, options.kernel_a, options.kernel_b)
    _require_common(comparison, run_a, run_b)
    changes = figure_changes(comparison, known_noise(places))
    if options.html or options.junit:
        html, junit = options.html, options.junit
    else:
        own = places.reports / _folder_name(comparison)
        _link_evidence(own, folder_b)
        html, junit = own / "index.html", own / "junit.xml"
    written = write_reports(run_b, folder_b, comparison, html, junit, changes)
    status = _status(comparison, options.fail_on)
    causes = causes_of(run_b)
    if options.as_json:
        told = _as_dict(comparison, status, written, changes)
        groups = by_cause(comparison.regressed, causes)
        told["causes"] = [cause_to_dict(group.cause) for group in groups if group.cause]
        say(json.dumps(told, indent=1))
    else:
        text = comparison_text(comparison, causes)
        say("\n".join([text, *figures_text(changes)]))
        for path in written:
            say(f"report: {path}")
    return status


def _require_common(comparison: Comparison, run_a: RunResult, run_b: RunResult) -> None:
    if any(case.before and case.after for case in comparison.cases):
        return
    a, b = (", ".join(kernels_of(run)) or "none" for run in (run_a, run_b))
    raise UserError(
        f"{run_a.run.id} and {run_b.run.id} have no case in common",
        f"name the kernels with --kernel-a (one of: {a}) and --kernel-b (one of: {b})",
    )


def _status(comparison: Comparison, fail_on: str) -> int:
    failing = any(c.after and c.after.verdict is Verdict.FAIL for c in comparison.cases)
    bad = kernel_regressed(comparison) or (fail_on == "any" and failing)
    return EXIT_KERNEL if bad and fail_on != "never" else EXIT_OK


# ---------------------------------------------------------------- files


def _folder_name(comparison: Comparison) -> str:
    """``compare-A-B``, also where a run's id or a kernel's name holds what a path must not."""
    name = f"compare-{comparison.baseline}-{comparison.candidate}"
    return re.sub(r"[^A-Za-z0-9._+=@~-]", "_", name)[:200]


def _link_evidence(own: Path, run: Path) -> None:
    """Let the report's links to consoles and configs lead into B's folder."""
    for name in ("cells", "builds"):
        link, goal = own / name, run / name
        with contextlib.suppress(OSError):
            own.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():
                link.unlink()
            if goal.is_dir():
                link.symlink_to(os.path.relpath(goal, own))


def _as_dict(
    comparison: Comparison, status: int, written: tuple[Path, ...],
    changes: tuple[FigureChange, ...],
) -> dict[str, object]:  # fmt: skip
    return {
        "baseline": comparison.baseline,
        "candidate": comparison.candidate,
        "exit_status": status,
        "counts": {change.value: len(items) for change, items in by_change(comparison)},
        "cases": [plain(item) for item in comparison.cases],
        "measurements": [plain(change) for change in changes],
        "written": list(map(str, written)),
    }
