# SPDX-License-Identifier: GPL-2.0-only
"""Searches for the origin of a failure: told beside the run that had it, and in the history.

A search is a run of its own.  What it came to belongs to the run whose case it was about as well,
whose results.json is left as it is: ``searches.json`` in that run's folder has it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.results import RunResult
from orchestrator.model.searched import Searched
from orchestrator.results import later

FILE = "searches.json"
_KEY = "searches"
#: The history's table: what a run that is a search came to, in few words.
TABLE = """
CREATE TABLE IF NOT EXISTS searches (
    run TEXT PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE, told TEXT NOT NULL)
"""


def read(folder: Path) -> tuple[Searched, ...]:
    """The searches for cases of the run in a folder."""
    return later.read(folder / FILE, _KEY, Searched)


def keep(folder: Path, search: RunResult) -> None:
    """Tell a run's folder what a search for one of its cases came to, in place of an earlier state.

    :raises HostError: when it cannot be written.
    """
    if search.searched is None:
        return
    own = replace(search.searched, run=search.run.id)
    found = (*(one for one in read(folder) if one.run != own.run), own)
    later.write(folder / FILE, _KEY, found)
