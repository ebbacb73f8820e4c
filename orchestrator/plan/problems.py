# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with lab.yaml and the manifests, collected so that one run names all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import HOME
from orchestrator.model.errors import UserError
from orchestrator.model.formats import counted
from orchestrator.model.names import nearest

#: A place inside a YAML file: mapping keys and list positions from the top.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where (``line`` from 1, 0 for the file as a whole), the key, and what.

    ``column`` counts from 1; it is shown where no key tells the place: in syntax errors.
    """

    file: str
    line: int
    key: str
    message: str
    column: int = 0

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
        if self.column and not self.key:
            place += f":{self.column}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(UserError):
    """lab.yaml (``path``) or a manifest is wrong; ``problems`` holds every one, in file order."""

    def __init__(self, problems: Iterable[Problem], path: Path) -> None:
        self.problems = tuple(problems)
        self.path = path
        count = len(self.problems)
        super().__init__(
            "\n".join(str(problem) for problem in self.problems),
            f"{counted(count, 'problem')} in {path} or the manifests it leads to; "
            f"{HOME / 'docs' / 'lab-yaml.md'} describes every key",
        )


class Problems:
    """Collects problems; the first one about a key of a file hides later ones about the same key.

    The schema speaks first, so what a value means is not questioned once its shape is wrong.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], Problem] = {}
        self._told: set[tuple[str, int, int, str]] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, problem: Problem) -> None:
        """Remember one problem."""
        # Problems without a key (syntax, whole file) are told apart by their line.
        place = (problem.file, problem.key, 0 if problem.key else problem.line)
        # A value that aliases or merge keys bring to many places is wrong once.
        last = problem.key.rpartition(".")[2]
        told = (problem.file, problem.line, problem.column, last)
        if place not in self._found and told not in self._told:
            self._found[place] = problem
            self._told.add(told)

    def raise_if_any(self, path: Path) -> None:
        """Raise all that was found about ``path``, in file and line order.

        :raises ConfigError: if there is at least one problem.
        """
        if self._found:
            # lab.yaml has no slash in its display name and leads; manifests follow by name.
            found = self._found.values()
            raise ConfigError(sorted(found, key=lambda p: ("/" in p.file, p.file, p.line)), path)


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``('a', 'b', 0)`` is ``a.b[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_shown(part)}" if text else _shown(part)
    return text


def _shown(name: str) -> str:
    """A name from the file, fit for one line of a terminal."""
    return name if name.isprintable() and len(name) <= 80 else ascii(name)[:80]


def suggest(word: str, known: Collection[str]) -> str:
    """The tail of a message about an unknown ``word``: the nearest spelling, or what exists."""
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    if not known:
        return "none is defined"
    names = sorted(_shown(name) for name in known)
    shown = ", ".join(names[:12])
    return f"there are: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
