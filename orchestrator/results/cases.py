# SPDX-License-Identifier: GPL-2.0-only
"""The case of a stored run that somebody means, and the files that the run keeps of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.judge.causes import failures
from orchestrator.judge.outcome import BAD, cases_of
from orchestrator.model import lookup
from orchestrator.model.errors import UserError
from orchestrator.model.names import CaseId
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.results.runs import cell_folder, file_stem


@dataclass(frozen=True)
class CaseFiles:
    """What lies in a run's folder of one case: only what is there.

    ``consoles`` are those of its cell, the likeliest first; ``output`` is what its workload
    printed, ``build_log`` make's output.
    """

    consoles: tuple[Path, ...] = ()
    output: Path | None = None
    build_log: Path | None = None


def find_case(run: RunResult, wanted: str) -> CaseResult:
    """The case that ``wanted`` means: its id, or what fits one alone (:func:`lookup.fits`).

    Where it fits several, those that failed are meant, and of one workload in one guest the first
    of them: whoever names a workload names what is wrong with it.

    :raises UserError: it fits none, with the nearest names, or cases of several workloads.
    """
    meant = cases_called(run, wanted)
    if not meant:
        raise UserError(f"run {run.run.id} has no case {wanted!r}", near_names(run, wanted))
    if len({case.id.removesuffix(case.case) for case in meant}) == 1:
        return meant[0]
    failed = "failed " if meant[0].verdict in BAD else ""
    ids = [case.id for case in meant]
    raise lookup.ambiguous(f"{failed}cases of run {run.run.id}", wanted, ids)


def cases_called(run: RunResult, wanted: str) -> tuple[CaseResult, ...]:
    """The cases that ``wanted`` fits; those that failed alone, the first to read first, if any.

    Cases of a part of a series are meant where no other fits.
    """
    for parts in (False, True):
        known = {placed.case.id: placed.case for placed in cases_of(run, parts=parts)}
        if found := lookup.fitting(wanted, known):
            break
    failed = tuple(case for case in failures(run) if case.id in found)
    failed = failed or tuple(known[name] for name in found if known[name].verdict in BAD)
    return failed or tuple(known[case_id] for case_id in found)


def first_failure(run: RunResult) -> CaseResult | None:
    """The case that a summary tells first; of a part of a series where no other failed."""
    parts = (p.case for p in cases_of(run, parts=True) if p.case.verdict in BAD)
    return next(iter(failures(run)), next(parts, None))


def near_names(run: RunResult, wanted: str, others: Iterable[str] = ()) -> str:
    """The names in a run that are spelt like ``wanted``, or where its cases are shown.

    :param others: what ``wanted`` may mean besides.
    """
    near = near_cases((placed.case.id for placed in cases_of(run, parts=True)), wanted, others)
    return near or f"`lab open {run.run.id}` shows its cases"


def near_cases(ids: Iterable[str], wanted: str, others: Iterable[str] = ()) -> str:
    """The names in ``ids``, whole or in part, that are spelt like ``wanted``; empty if none is.

    :param others: names that are no case's, and have no parts.
    """
    spellings = set(others)
    for text in ids:
        case = CaseId.parse(text)
        spellings |= {text, f"{case.workload}:{case.case}", case.workload, case.case}
    return lookup.near(wanted, spellings)


def files_of(folder: Path, run: RunResult, case: CaseResult) -> CaseFiles:
    """The logs of a case in the folder of its run; no path leads out of that."""
    place = CaseId.parse(case.id).cell
    builds = [build.log for build in run.builds if build.id == place.build]
    here = folder / cell_folder(str(place))
    stem = file_stem(case.workload)
    said = [cell.console_log for cell in run.cells if cell.id == str(place)]
    likely = [folder / case.console] if case.console else []
    # A workload's own copy of the guest has a console of its own; the later one is its last try.
    likely += [here / f"console-{stem}-2.log", here / f"console-{stem}.log"]
    likely += [folder / name for name in said if name] + sorted(here.glob("console*.log"))
    consoles = [path for path in dict.fromkeys(likely) if _is_of(folder, path)]
    output = here / f"{stem}.ktap"
    log = next((folder / name for name in builds if name and _is_of(folder, folder / name)), None)
    return CaseFiles(tuple(consoles), output if _is_of(folder, output) else None, log)


def _is_of(folder: Path, path: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False
