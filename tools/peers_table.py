# SPDX-License-Identifier: GPL-2.0-only
"""What a peer's suite says against what the lab says: cases, policies, and the table of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import yaml

#: The table's head.
COLUMNS = ("reader", "held against", "commit", "cases", "agree", "by policy", "differ", "date")
#: What an entry of the list of policies may and must say.
_KEYS, _NEEDS = {"row", "file", "title", "reason"}, {"row", "reason"}
#: Stands for the commit of a folder that is no checkout.
UNKNOWN = "unknown commit"


_T = TypeVar("_T")


class PeersError(Exception):
    """A folder or a list that cannot be used, said in a sentence."""


def expected(source: Path, parse: Callable[[str], Iterable[_T]], takes: str) -> list[_T]:
    """What a suite's own test expects, as ``parse`` finds it in the test's text.

    :param takes: the option and what it takes, for the sentence when it cannot be read.
    :raises PeersError: then.
    """
    try:
        return list(parse(source.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise PeersError(f"{source} cannot be read ({error}): {takes}") from error


@dataclass(frozen=True)
class Difference:
    """A case in which the lab says something else.

    ``file`` is its name in the suite, of several ``12 + 40``; ``title`` what the peer calls it;
    ``arch`` the architecture that the log tells, where that was looked for.
    """

    file: str
    peer: str
    lab: str
    title: str = ""
    arch: str = ""


@dataclass(frozen=True)
class Row:
    """One question put to the peer and to the lab, ``cases`` times.

    ``key`` is its name in the list of policies; ``note`` stands below the table.
    """

    key: str
    reader: str
    suite: str
    cases: int
    differences: tuple[Difference, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """What one suite gave; ``unread`` has the files that could not be read, and why."""

    rows: tuple[Row, ...]
    unread: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Policy:
    """A deliberate difference: patterns as of fnmatch(3), and the reason."""

    row: str
    reason: str
    file: str = "*"
    title: str = "*"

    def covers(self, row: Row, case: Difference) -> bool:
        """Whether a difference is this one; of several files each has to fit, or their list."""
        return (
            fnmatchcase(row.key, self.row)
            and fnmatchcase(case.title, self.title)
            and (
                fnmatchcase(case.file, self.file)
                or all(fnmatchcase(name, self.file) for name in case.file.split(" + "))
            )
        )

    def __str__(self) -> str:
        return f"row {self.row}, file {self.file}, title {self.title}"


@dataclass(frozen=True)
class Judged:
    """A row with its differences told apart: ``policies`` has a reason for each deliberate one."""

    row: Row
    commit: str
    date: str
    differ: tuple[Difference, ...] = ()
    policies: tuple[tuple[Difference, Policy], ...] = ()

    @property
    def agree(self) -> int:
        """The cases in which both say the same."""
        return self.row.cases - len(self.row.differences)


@dataclass
class Judge:
    """Holds differences against the list of policies, and remembers which of them were of use."""

    policies: tuple[Policy, ...]
    used: set[Policy] = field(default_factory=set)
    _seen: list[str] = field(default_factory=list)

    def judge(self, row: Row, commit: str, date: str) -> Judged:
        """Tell the deliberate differences of a row from the others."""
        self._seen.append(row.key)
        differ, deliberate = [], []
        for case in row.differences:
            policy = next((p for p in self.policies if p.covers(row, case)), None)
            if policy is None:
                differ.append(case)
            else:
                deliberate.append((case, policy))
                self.used.add(policy)
        return Judged(row, commit, date, tuple(differ), tuple(deliberate))

    def idle(self) -> list[Policy]:
        """Policies of rows that were measured, which cover no difference (any longer)."""
        return [
            policy
            for policy in self.policies
            if policy not in self.used and any(fnmatchcase(key, policy.row) for key in self._seen)
        ]


def load_policies(path: Path) -> tuple[Policy, ...]:
    """Read the list of deliberate differences.

    :raises PeersError: when it is missing or not a list of entries with ``row``, ``reason``, and
        ``file`` or ``title``.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PeersError(f"{path} cannot be read: {error}") from error
    entries = data.get("policies") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise PeersError(f"{path} has no list `policies:`")
    found = []
    for number, entry in enumerate(entries, 1):
        words = entry if isinstance(entry, dict) else {}
        if not (set(words) <= _KEYS and set(words) > _NEEDS) or not all(
            isinstance(word, str) and word for word in words.values()
        ):
            raise PeersError(
                f"{path}: entry {number} has to have row, reason, and file or title, as texts"
            )
        found.append(Policy(**words))
    return tuple(found)


def commit_of(folder: Path) -> str:
    """The commit that is checked out in a folder, with a ``+`` where files differ from it.

    A folder that is no checkout of its own, an unpacked archive inside of one, has none.
    """
    told = []
    for words in (["rev-parse", "--show-toplevel"], ["rev-parse", "--short=12", "HEAD"],
                  ["status", "--porcelain", "--untracked-files=no"]):  # fmt: skip
        try:
            done = subprocess.run(
                ["git", "-C", folder, *words], capture_output=True, text=True, timeout=300,
                check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return UNKNOWN
        told.append(done.stdout.strip())
    top, commit, changes = told
    if Path(top).resolve() != folder.resolve():
        return UNKNOWN
    return commit + ("+" if changes else "")


def lines_of(judged: Judged) -> list[str]:
    """The cells of a row of the table, in the order of ``COLUMNS``."""
    row = judged.row
    figures = [row.cases, judged.agree, len(judged.policies), len(judged.differ)]
    return [row.reader, row.suite, judged.commit, *map(str, figures), judged.date]


def as_markdown(rows: Sequence[Judged]) -> str:
    """The table as it stands in docs/evidence.md, and the rows' notes below it."""
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *(lines_of(judged) for judged in rows)]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in table]
    notes = _notes(rows)
    return "\n".join([*text, *(["", *(f"- {note}" for note in notes)] if notes else [])])


def as_text(rows: Sequence[Judged]) -> str:
    """The table for a terminal."""
    table = [list(COLUMNS), *(lines_of(judged) for judged in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    ]
    return "\n".join([*text, *_notes(rows)])


def _notes(rows: Sequence[Judged]) -> list[str]:
    return [f"{judged.row.reader}: {judged.row.note}" for judged in rows if judged.row.note]


def as_lines(rows: Sequence[Judged]) -> list[str]:
    """Every difference in a line of its own, the deliberate ones with their reason."""
    return [
        f"{entry['row']} {entry['file']}"
        + (f" [{entry['arch']}]" if entry["arch"] else "")
        + f": {entry['peer']} | lab: {entry['lab']}"
        + (f" | by policy: {entry['policy']}" if entry["policy"] else "")
        for entry in as_entries(rows)
    ]


def as_entries(rows: Iterable[Judged]) -> list[dict[str, str]]:
    """Every difference as plain values; ``policy`` is the reason of a deliberate one, or empty."""
    return [
        {
            "row": judged.row.key, "suite": judged.row.suite, "file": case.file,
            "title": case.title, "arch": case.arch, "peer": case.peer, "lab": case.lab,
            "policy": reason,
        }
        for judged in rows
        for case, reason in [
            *((case, "") for case in judged.differ),
            *((case, policy.reason) for case, policy in judged.policies),
        ]
    ]  # fmt: skip
