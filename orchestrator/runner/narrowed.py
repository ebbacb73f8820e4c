# SPDX-License-Identifier: GPL-2.0-only
"""A case of a guest that a search has changed, to be tried again: lab.yaml knows no such guest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from orchestrator.judge.trials import Repeat
from orchestrator.model.errors import UserError
from orchestrator.model.names import NOT_ANY, CaseId, CellId
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.plan.changes import changed
from orchestrator.runner.narrow import FRAGMENTS_FOLDER, NOTES, all_changes
from orchestrator.runner.repeat import told


def original(folder: Path, case: CaseResult) -> CaseResult | None:
    """The same case of the guest as it was; None where ``case`` is none of a changed guest.

    :param folder: of the run that the case is of.
    """
    try:
        known = json.loads((folder / NOTES).read_text("utf-8"))
        searched = CaseId.parse(known["case"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    place = CaseId.parse(case.id)
    was = searched.cell
    if place.cell.shape == NOT_ANY:
        was = replace(was, shape=NOT_ANY)
    return None if place.cell == was else replace(case, id=str(replace(place, cell=was)))


def with_changes(repeat: Repeat, case: CaseResult, run: RunResult, folder: Path) -> Repeat:
    """What repeats ``case``: the guest of ``repeat``, which is as it was, with the case's changes.

    :param run: the search, in ``folder``.
    :raises UserError: when none of the changes that were tried makes that guest.
    """
    place, where = CaseId.parse(case.id).cell, folder / FRAGMENTS_FOLDER
    changes = tuple(all_changes(repeat))
    tried = json.loads((folder / NOTES).read_text("utf-8"))["tried"]
    for words in dict.fromkeys(str(what) for what, *_ in tried):
        names = words.split()
        made = [one for one in changes if one.name in names]
        cell = CellId.parse(changed(repeat.tested.cell, made, where).id)
        if place in (cell, replace(cell, shape=NOT_ANY)):
            break
    else:
        raise UserError(
            f"no change that {folder.name} tried makes {place}",
            "lab.yaml may have been another one; repeat a case of the run that was narrowed",
        )
    subjects = tuple(
        told(replace(subject, cell=changed(subject.cell, made, where)), run)
        for subject in repeat.subjects
    )
    cells = tuple(subject.cell for subject in subjects)
    plan = replace(repeat.plan, builds=tuple(cell.build for cell in cells), cells=cells)
    return replace(repeat, case=case, subjects=subjects, plan=plan)
