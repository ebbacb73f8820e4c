# SPDX-License-Identifier: GPL-2.0-only
"""Clean and complete runs: which of them a run is to be compared with, and which cover another.

The last run of any kind would be wrong as a baseline: a failure would regress once and be known
from then on.  So would one that tried less than the run to be judged: what it left out would pass
as unknown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.model.spec import Plan
from orchestrator.results.runs import began, by_age, is_clean
from orchestrator.results.store import load

#: A cell's id and a workload in it.
Tried = frozenset[tuple[str, str]]


def tried(run: RunResult) -> Tried:
    """What a run has cases of; of ``kselftest/mm/cow`` also ``kselftest/mm`` and ``kselftest``."""
    return frozenset(
        (cell.id, "/".join(parts[:count]))
        for cell in run.cells
        for parts in {tuple(case.workload.split("/")) for case in cell.cases}
        for count in range(1, len(parts) + 1)
    )


def planned(plan: Plan) -> Tried:
    """What a plan is to try."""
    return frozenset((cell.id, spec.name) for cell in plan.cells for spec in cell.workloads)


def clean_runs(reports: Path, beside: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The folders of the clean and complete runs, the newest first.

    :param beside: folders of runs elsewhere; one that holds no run is passed by.
    """
    more = [folder for folder in beside if is_clean(folder)]
    found = [*more, *(folder for folder in by_age(reports) if is_clean(folder))]
    return tuple(sorted(found, key=began, reverse=True))  # sort() is stable


def last_clean(reports: Path, plan: Plan, beside: Iterable[Path] = ()) -> Path | None:
    """The newest clean and complete run of a plan's profile that tried what the plan is to try.

    Where none tried all of it (lab.yaml has a new cell), the newest of those that tried most; None
    where none tried any.

    :param beside: as of :func:`clean_runs`.
    """
    wanted = planned(plan)
    best, most = None, 0
    for folder in clean_runs(reports, beside):
        with contextlib.suppress(UserError):
            run = load(folder, evidence=False)
            count = len(wanted & tried(run)) if run.run.profile == plan.profile else 0
            if count > most:
                best, most = folder, count
            if most == len(wanted):
                break
    return best
