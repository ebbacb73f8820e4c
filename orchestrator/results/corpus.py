# SPDX-License-Identifier: GPL-2.0-only
"""A corpus: programs of `lab explore` that are kept, a text file each, called by their content.

Its programs are carried out first whenever something is explored.  What guides a corpus elsewhere
is coverage; here a program is kept since it found something, or since somebody asked for it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.model.errors import HostError, UserError
from orchestrator.model.finds import Step, parse_program

_SUFFIX = ".txt"
# So many characters of its digest call a program; of 100,000 two are called alike once in 10^9.
_LENGTH = 16

#: A program: what it is called, and its steps, a line each.
Program = tuple[str, tuple[str, ...]]


def named(lines: Iterable[str]) -> Program:
    """A program with its name, without comments and what is empty.

    :raises ValueError: when it is no program.
    """
    steps = tuple(step.text for step in parse_program(lines))
    digest = hashlib.sha256("\n".join(steps).encode()).hexdigest()
    return digest[:_LENGTH], steps


def read_file(path: Path) -> Program:
    """The program of a file.

    :raises UserError: when it cannot be read, or holds none.
    """
    try:
        return named(path.read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}", "name a file with a program") from error
    except ValueError as error:
        raise UserError(
            f"{path}: {error}", "docs/exploration.md has the steps and how they are written"
        ) from error


def read(folder: Path) -> tuple[Program, ...]:
    """All programs of a corpus by their names; there may be none, and no such folder.

    :raises UserError: when a file in it is no program.
    """
    return tuple(sorted({read_file(path) for path in folder.glob(f"*{_SUFFIX}")}))


def keep(folder: Path, programs: Iterable[Iterable[str]], why: str = "") -> int:
    """Put programs into a corpus; gives how many are new there.

    :param why: stands in the file as a comment.
    :raises HostError: when one cannot be written.
    """
    new = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for lines in programs:
            name, steps = named(lines)
            path = folder / f"{name}{_SUFFIX}"
            if not path.exists():
                head = [f"# {' '.join(why.split())}"] if why else []
                put(path, (*head, *steps))
                new += 1
    except OSError as error:
        raise HostError(
            f"cannot write {folder}: {error.strerror}", "name another --corpus"
        ) from error
    return new


def put(path: Path, lines: Iterable[str]) -> None:
    """Write a program's file, whole or not at all: a cut one would stop each exploration.

    :raises OSError: when it cannot be written.
    """
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n", "utf-8")
    new.replace(path)


def superfluous(programs: Sequence[Program]) -> tuple[str, ...]:
    """The names of the programs whose steps are, in their order, all in another one of these.

    A program that found something and was made smaller is in the one it was made of; which of the
    two finds it again is the larger one's doing as well.
    """
    steps = {name: tuple(parse_program(lines)) for name, lines in programs}
    by_size = sorted(steps, key=lambda name: (-len(steps[name]), name))
    kept: list[str] = []
    gone = []
    for name in by_size:
        if any(_within(steps[name], steps[other]) for other in kept):
            gone.append(name)
        else:
            kept.append(name)
    return tuple(sorted(gone))


def _within(few: Sequence[Step], many: Sequence[Step]) -> bool:
    left = iter(many)
    return all(any(step == other for other in left) for step in few)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Take programs out of a corpus; one that is gone already is no loss."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{name}{_SUFFIX}").unlink()
