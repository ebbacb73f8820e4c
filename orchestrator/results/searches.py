# SPDX-License-Identifier: GPL-2.0-only
"""Searches for the origin of a failure: told beside the run that had it, and in the history.

A search is a run of its own.  What it came to belongs to the run whose case it was about as well,
whose results.json is left as it is: ``searches.json`` in that run's folder has it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from orchestrator.model import codec
from orchestrator.model.errors import HostError
from orchestrator.model.results import RunResult
from orchestrator.model.searched import Searched

FILE = "searches.json"
SCHEMA = 1
#: The history's table: what a run that is a search came to, in few words.
TABLE = """
CREATE TABLE IF NOT EXISTS searches (
    run TEXT PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE, told TEXT NOT NULL)
"""
_UNFIT = (OSError, ValueError, TypeError, LookupError, codec.MismatchError, RecursionError)


def read(folder: Path) -> tuple[Searched, ...]:
    """The searches for cases of the run in a folder; none where there is no file, or an unfit one.

    What a newer lab wrote is unfit.
    """
    try:
        data = json.loads((folder / FILE).read_text(encoding="ascii"))
        if data["schema"] != SCHEMA:
            return ()
        return tuple(codec.build(Searched, one) for one in data["searches"])
    except _UNFIT:
        return ()


def keep(folder: Path, search: RunResult) -> None:
    """Tell a run's folder what a search for one of its cases came to, in place of an earlier state.

    :raises HostError: when it cannot be written.
    """
    if search.searched is None:
        return
    own = replace(search.searched, run=search.run.id)
    found = (*(one for one in read(folder) if one.run != own.run), own)
    content = {"schema": SCHEMA, "searches": codec.plain(found)}
    try:
        temporary = folder / f".{FILE}.{search.run.id}.tmp"
        temporary.write_text(codec.dumps(content, indent=1), encoding="ascii")
        temporary.replace(folder / FILE)
    except OSError as error:
        raise HostError(f"cannot write {folder / FILE}: {error.strerror}") from error
