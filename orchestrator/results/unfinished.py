# SPDX-License-Identifier: GPL-2.0-only
"""Runs that did not come to their end: going on now, or cut with what was done by then.

The history learns of a run when it is over; of these only their folders know.
"""

from __future__ import annotations

import contextlib
import fcntl
import shlex
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.results.runs import SHAPE, has_ended, list_runs
from orchestrator.results.store import load

#: The log that a lab holds open, and locked, for as long as its run goes on.
LOG = "lab.log"


@dataclass(frozen=True)
class Unfinished:
    """A run without an end: ``cells`` of its ``planned`` ones are done.

    ``going_on`` tells that a lab is at work on it.
    """

    folder: Path
    run: RunResult
    going_on: bool
    cells: int
    planned: int

    @property
    def told(self) -> str:
        """What became of it, and how to go on, in one line."""
        done = f"{self.cells} of {self.planned} cells done"
        if self.going_on:
            return f"{self.folder.name} goes on: {done}"
        words = shlex.split(self.run.run.command)
        if words[:2] != ["lab", "run"]:
            return f"{self.folder.name} was cut: {done}"
        return f"{self.folder.name} was cut: {done}; `lab run --resume {self.folder.name}` goes on"


def unfinished(reports: Path) -> tuple[Unfinished, ...]:
    """The runs below ``reports`` that have no end, oldest id first; what is unreadable is none."""
    found = []
    for folder in list_runs(reports):
        if has_ended(folder):
            continue
        with contextlib.suppress(UserError):
            run = load(folder)
            planned = sum(1 for _ in folder.glob(f"cells/*/{SHAPE}"))
            done = sum(bool(cell.cases) for cell in run.cells)
            found.append(Unfinished(folder, run, going_on(folder), done, max(planned, done)))
    return tuple(found)


def hold(log: int) -> None:
    """Show that a run goes on, by a lock on its log that ends with the process at the latest.

    A file system without flock(2) has none: the run is then called cut while it goes on.

    :param log: the descriptor of the open log.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def going_on(folder: Path) -> bool:
    """Whether a lab is at work on the run in ``folder``."""
    try:
        with (folder / LOG).open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
