# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of a kernel's C files ran, workload by workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Numbers of lines, counted from 1.
Lines = frozenset[int]


@dataclass(frozen=True)
class Function:
    """A function and the lines of its definition, both ends included."""

    name: str
    first: int
    last: int

    def has(self, lines: Iterable[int]) -> bool:
        """Whether one of these lines is of it."""
        return any(self.first <= line <= self.last for line in lines)


@dataclass(frozen=True)
class FileCode:
    """A file's lines that have code in a build, and its functions in the order of their lines."""

    lines: Lines
    functions: tuple[Function, ...] = ()

    def function_of(self, line: int) -> str:
        """The name of the function that a line is of, the innermost; empty outside of any."""
        return next((one.name for one in reversed(self.functions) if one.has((line,))), "")


@dataclass(frozen=True)
class Coverage:
    """What ran in a cell: ``files`` is what could, ``ran`` what did, by workload and file.

    Only what ran between a workload's start and its end counts, whoever it ran for.  A workload
    whose guest was lost is not in ``ran``.
    """

    files: Mapping[str, FileCode] = field(default_factory=dict)
    ran: Mapping[str, Mapping[str, Lines]] = field(default_factory=dict)

    def workloads_of(self, file: str, lines: Iterable[int]) -> tuple[str, ...]:
        """The workloads that ran one of these lines."""
        wanted = frozenset(lines)
        return tuple(name for name, files in self.ran.items() if files.get(file, Lines()) & wanted)

    def all_of(self, file: str) -> Lines:
        """The lines of a file that any workload ran."""
        return Lines().union(*(files.get(file, Lines()) for files in self.ran.values()))


@dataclass(frozen=True)
class CoveredLine:
    """A line of code that patch ``patch`` of the series brought, in a cell that counts what runs.

    ``workloads`` is how many ran it, ``by`` the first few of them.  ``function`` is the one that it
    is of, empty outside of any.
    """

    patch: int
    file: str
    line: int
    text: str
    workloads: int = 0
    by: tuple[str, ...] = ()
    function: str = ""


@dataclass(frozen=True)
class Changed:
    """Lines of a file that a series changes, and the function that its diff says they are of."""

    file: str
    function: str
    lines: Lines


def as_text(lines: Iterable[int]) -> str:
    """Lines as ranges: ``12-15,18``."""
    spans: list[list[int]] = []
    for line in sorted(lines):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)


def from_text(text: str) -> Lines:
    """What :func:`as_text` wrote.

    :raises ValueError: when it is something else.
    """
    found: set[int] = set()
    for span in filter(None, text.split(",")):
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return Lines(found)
