# SPDX-License-Identifier: GPL-2.0-only
"""What searches by trials of one case share: a run around them, notes, going on, exit status.

Each trial is noted in the run's folder, so that an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from orchestrator.host.cache.files import write_atomic
from orchestrator.host.cache.locks import using
from orchestrator.judge.trials import Repeat, Trial
from orchestrator.model.errors import (
    EXIT_HOST,
    EXIT_INTERRUPTED,
    EXIT_KERNEL,
    EXIT_OK,
    UserError,
)
from orchestrator.model.spec import Cell
from orchestrator.runner.context import Listener, Places, nobody
from orchestrator.runner.run import Done, RunOptions, opened
from orchestrator.runner.stages import Stages
from orchestrator.runner.state import RunState
from orchestrator.runner.trying import Trying

#: What a search that was stopped says of itself.
INTERRUPTED = "interrupted: --resume goes on"
# How the note begins with which a run's page tells the answer.
_CAME_TO = "the search came to: "


@dataclass(frozen=True)
class Note:
    """One trial: of what, whether the case failed (None: it could not be tried), and ``why``."""

    what: str
    failed: bool | None
    why: str = ""


@dataclass
class Notes:
    """What a search tried, in its order; written to ``path`` after each trial.

    ``about`` tells the searches of one case apart.
    """

    path: Path
    case: str
    about: list[str]
    tried: list[Note] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, case: str, about: Iterable[str]) -> Notes:
        """Those of an interrupted search, or none yet.

        :raises UserError: when they are of another search, or no notes.
        """
        found = cls(path, case, list(about))
        if not path.exists():
            return found
        try:
            known = json.loads(path.read_text("utf-8"))
            tried = [Note(str(what), failed, str(why)) for what, failed, why in known["tried"]]
            same = (known["case"], known["about"]) == (case, found.about)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the notes of a search", "search anew") from error
        if not same:
            raise UserError(f"{path.parent.name} searched something else", "search anew")
        found.tried = tried
        return found

    def add(self, what: str, trial: Trial) -> Note:
        """Note a trial."""
        failed = trial.case_failed
        note = Note(what, failed, trial.reason if failed is None else "")
        self.tried.append(note)
        tried = [[one.what, one.failed, one.why] for one in self.tried]
        told = {"case": self.case, "about": self.about, "tried": tried}
        write_atomic(self.path, json.dumps(told).encode())
        return note


def searched(path: Path) -> str:
    """The id of the case that the notes of a search are about.

    :raises UserError: when they are none.
    """
    try:
        return str(json.loads(path.read_text("utf-8"))["case"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path.parent.name} is no search that could go on", "name its RUN and CASE"
        ) from error


class Search(Protocol):
    """A search that :func:`carry_out` has go on.

    ``said`` is what it came to in a sentence, ``sure`` tells that this is an answer.
    """

    said: str
    sure: bool

    def go(self) -> None:
        """Search to the end."""


S = TypeVar("S", bound=Search)


def carry_out(
    repeat: Repeat,
    old: Path,
    places: Places,
    options: RunOptions,
    make: Callable[[Trying, Notes], S],
    *,
    notes: str,
    about: Sequence[str],
    compiled: Iterable[Cell],
    listener: Listener = nobody,
    stages: Stages | None = None,
) -> tuple[S, Done]:
    """Have a search go on as a run: give it at its end, and the run that it is stored as.

    :param old: the folder of the run that the case is of.
    :param make: makes the search.
    :param notes: what the notes are called in the run's folder.
    :param about: see :class:`Notes`.
    :param compiled: the cells whose workloads are compiled before anything else.
    :raises UserError: when a workload does not compile, or the run's folder cannot be that or is of
        another search.
    :raises HostError: when the folder cannot be made or the results cannot be written.
    """
    doing = stages or Stages()
    with using(places.cache):
        doing.compile(compiled, places.cache)
        with opened(repeat.plan, places, options, "") as book:
            context = book.context(options, listener)
            noted = Notes.read(book.folder / notes, repeat.case.id, about)
            trying = Trying(repeat, old, context, doing)
            if book.earlier is not None:
                trying.state.take(book.earlier)
                if book.earlier.searched is not None:
                    trying.of = book.earlier.searched.of or trying.of
            looking = make(trying, noted)
            with trying.guarded():
                looking.go()
            book.refuse_wrong_input(trying.state)
            _note(trying, looking.said)
            # What is tried may have come up on the way.
            done = replace(book, plan=trying.repeat.plan).close(
                trying.state, context, boots=repeat.boots,
                status=lambda *_: _status(trying.state, looking.sure), searching=True,
            )  # fmt: skip
    return looking, done


def _note(trying: Trying, said: str) -> None:
    """Note at the record of the kernel under test what the search came to."""
    cells, tested = trying.state.cells, trying.repeat.tested.cell.id
    if tested in cells:  # an interrupted search has left a note too
        others = (note for note in cells[tested].notes if not note.startswith(_CAME_TO))
        cells[tested] = replace(cells[tested], notes=(*others, f"{_CAME_TO}{said}"))


def _status(state: RunState, sure: bool) -> int:
    """0: there is an answer; 1: nothing to search, or not sure; 3 and 130 as of a run."""
    if state.interrupted:
        return EXIT_INTERRUPTED
    if state.problems:
        return EXIT_HOST
    return EXIT_OK if sure else EXIT_KERNEL
