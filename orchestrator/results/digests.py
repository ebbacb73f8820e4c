# SPDX-License-Identifier: GPL-2.0-only
"""Digests of stored runs: a page over a hundred runs must not read a hundred results.json.

Each run's folder keeps its own in ``digest.json``, and the measurements in ``figures.json``, which
only trends need.  Both are made of results.json and can be made again at any time; one that was
made of another results.json is.  Reading is bounded in time, so that a run's end may ask for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import cases_of, cell_cases, not_run
from orchestrator.judge.tested import tested_title
from orchestrator.model.digest import CellDigest, Figures, RunDigest
from orchestrator.model.errors import UserError
from orchestrator.model.names import CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult, Comparison, RunResult
from orchestrator.results.history import identities
from orchestrator.results.runs import RESULTS, by_age, find_run
from orchestrator.results.store import load

DIGEST = "digest.json"
FIGURES = "figures.json"
#: What a digest is told by to be of this form.
FORM = 1
#: How many runs a page is about; older ones are counted.
MOST_RUNS = 200
_MOST_FAILED = 300
_MOST_REGRESSIONS = 50
_LONGEST = 200  # characters of a cause's title
_UNFIT = (OSError, ValueError, TypeError, LookupError, RecursionError)


@dataclass(frozen=True)
class Digests:
    """What was read: the runs, newest first, why others were not, and how many were left.

    ``left`` counts runs that have no digest and for which there was no time.
    """

    runs: tuple[RunDigest, ...] = ()
    notes: tuple[str, ...] = ()
    left: int = 0


def digest_of(run: RunResult, comparison: Comparison | None = None) -> RunDigest:
    """A run in short.

    :param comparison: with its baseline, where it has one.
    """
    cases = [placed.case for placed in cases_of(run)]
    plain = [case.verdict for case in cases if not _excused(case)]
    regressed = comparison.regressed if comparison is not None else ()
    left_out = {cell.id for cell in not_run(run.cells)}
    made_of = identities(run)
    titles = _titles(run)
    cells = []
    for cell in run.cells:
        own = cell_cases(run, cell)
        bad = [case for case in own if case.verdict is Verdict.FAIL][:_MOST_FAILED]
        causes = list(dict.fromkeys(titles[case.id] for case in bad if case.id in titles))
        cells.append(CellDigest(
            cell.kernel,
            CaseId(CellId.parse(cell.id), "", "").key.rstrip(":"),
            "none" if cell.id in left_out else cell.verdict.value,
            len(own),
            sum(map(_excused, own)),
            tuple(f"{case.workload}:{case.case}" for case in bad),
            made_of.get(cell.id, ""),
            tuple(dict.fromkeys(case.workload for case in own)),
            tuple(causes),
            tuple(causes.index(titles[c.id]) if c.id in titles else -1 for c in bad),
        ))  # fmt: skip
    info = run.run
    return RunDigest(
        id=info.id,
        started=info.started,
        finished=info.finished,
        seconds=seconds_between(info.started, info.finished),
        exit_status=info.exit_status,
        profile=info.profile,
        tested=tested_title(run),
        passed=plain.count(Verdict.PASS),
        known=sum(map(_excused, cases)),
        failed=plain.count(Verdict.FAIL),
        skipped=plain.count(Verdict.SKIP),
        errors=plain.count(Verdict.ERROR) or len(run.problems),
        baseline=info.baseline,
        regressed=len(regressed) if comparison is not None else None,
        regressions=tuple(item.key for item in regressed)[:_MOST_REGRESSIONS],
        cells=tuple(cells),
        searched=run.searched.short if run.searched is not None else "",
    )


def _titles(run: RunResult) -> dict[str, str]:
    """What each failed case fails for, by its id, in few words: its first cause."""
    found: dict[str, str] = {}
    for cause in causes_of(run):
        for case in (*cause.cases, *cause.followers):
            found.setdefault(case.id, cause.title[:_LONGEST])
    return found


def figures_of(run: RunResult) -> Figures:
    """A run's measurements, those of the baseline's own kernel left out; none of a search."""
    found: Figures = {}
    for cell in run.cells if run.searched is None else ():
        if cell.kernel == run.run.baseline:
            continue
        place = CaseId(CellId.parse(cell.id), "", "").key.rstrip(":")
        # A guest on another accelerator is another machine.
        own = found.setdefault(f"{place} {cell.accelerator}".strip(), {})
        for case in cell.cases:
            if case.verdict is Verdict.PASS:
                for figure in case.measurements:
                    if math.isfinite(figure.value):
                        unit = f" ({figure.unit})" if figure.unit else ""
                        own[f"{case.workload}:{case.case} {figure.name}{unit}"] = figure.value
    return {place: own for place, own in found.items() if own}


def keep(folder: Path, run: RunResult, comparison: Comparison | None) -> RunDigest:
    """Make a run's digest and leave it in the run's folder; where that is full there is none."""
    digest = digest_of(run, comparison)
    with contextlib.suppress(*_UNFIT):
        stamp = _stamp(folder)
        _write(folder / DIGEST, {"form": FORM, "of": stamp, "run": asdict(digest)})
        _write(folder / FIGURES, {"form": FORM, "of": stamp, "figures": figures_of(run)})
    return replace(digest, folder=folder.name)


def read(reports: Path, seconds: float = math.inf, most: int = MOST_RUNS) -> Digests:
    """The newest runs below ``reports``; what lacks a digest gets one as long as there is time.

    A folder that cannot be read is passed over with a note.

    :param seconds: how long that may take.
    """
    until = time.monotonic() + seconds
    folders = by_age(reports)
    found, notes, left = [], [], len(folders[most:])
    for folder in folders[:most]:
        digest = _stored(folder)
        if digest is None and time.monotonic() > until:
            left += 1
            continue
        try:
            found.append(digest or _made(reports, folder))
        except UserError as error:
            notes.append(f"{folder.name}: {error.message}")
    return Digests(tuple(found), tuple(notes), left)


def read_figures(reports: Path, runs: Iterable[RunDigest]) -> list[tuple[RunDigest, Figures]]:
    """The measurements of runs; of one that has none kept there are none."""
    found = []
    for run in runs:
        try:
            data = json.loads((reports / run.folder / FIGURES).read_text(encoding="utf-8"))
            if data["form"] == FORM:
                found.append((run, {str(k): dict(v) for k, v in data["figures"].items()}))
        except _UNFIT:
            continue
    return found


def seconds_between(started: str, finished: str) -> float:
    """How long something took; 0 where an instant is missing."""
    try:
        begin, end = (datetime.fromisoformat(text) for text in (started, finished))
        return max(0.0, (end - begin).total_seconds())
    except (ValueError, TypeError):
        return 0.0


# ---------------------------------------------------------------- inside


def _excused(case: CaseResult) -> bool:
    return bool(case.known or case.expected) and case.verdict in (Verdict.PASS, Verdict.SKIP)


def _stamp(folder: Path) -> list[int]:
    """What tells one results.json from another: a copy of a run keeps its digest."""
    return [(folder / RESULTS).stat().st_size]


def _stored(folder: Path) -> RunDigest | None:
    try:
        data = json.loads((folder / DIGEST).read_text(encoding="utf-8"))
        if data["form"] != FORM or data["of"] != _stamp(folder):
            return None
        run: dict[str, Any] = data["run"]
        lists = ("failed", "workloads", "causes", "why")
        cells = tuple(
            CellDigest(**{**cell, **{name: tuple(cell.get(name, ())) for name in lists}})
            for cell in run["cells"]
        )
        told = {"cells": cells, "regressions": tuple(run["regressions"]), "folder": folder.name}
        return RunDigest(**{**run, **told})
    except _UNFIT:
        return None


def _made(reports: Path, folder: Path) -> RunDigest:
    """The digest of a run that has none, left in its folder where the run has ended.

    :raises UserError: the run cannot be read.
    """
    run = load(folder)
    comparison = compared(reports, run)
    if run.run.finished:
        return keep(folder, run, comparison)
    return replace(digest_of(run, comparison), folder=folder.name)


def compared(reports: Path, run: RunResult) -> Comparison | None:
    """A run beside its baseline; None where it had none, or that is gone."""
    name = run.run.baseline
    others = [kernel.name for kernel in run.kernels if kernel.name != name]
    if not name:
        return None
    if len(others) < len(run.kernels):
        return compare(run, run, name, others[0]) if len(others) == 1 else None
    with contextlib.suppress(UserError):
        return compare(load(find_run(reports, name)), run)
    return None


def _write(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(data, separators=(",", ":")), encoding="ascii")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
