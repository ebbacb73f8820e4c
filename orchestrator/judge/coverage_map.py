# SPDX-License-Identifier: GPL-2.0-only
"""Which workloads run a function, a file, or what a series changes; from what was counted before.

What was counted is of one kernel and the question is of another: a function is known by its file
and name, and a series by the functions that its patches name; by lines, which move, only elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.model.coverage import Changed, Coverage, Function, Lines


@dataclass(frozen=True)
class Reach:
    """The functions that a workload ran on a kernel of one architecture, by file.

    ``kernel`` is its version.
    """

    workload: str
    arch: str
    kernel: str
    functions: Mapping[str, tuple[Function, ...]]


#: The functions that were counted, whether or not anything ran them, by file.
Counted = Mapping[str, tuple[Function, ...]]


@dataclass(frozen=True)
class Asked:
    """What is asked for: functions by name, or by file and name, or lines of files.

    No lines are the whole file.
    """

    functions: frozenset[str] = frozenset()
    files: Mapping[str, Lines] = field(default_factory=dict)
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def takes(self, file: str, function: Function) -> bool:
        """Whether a function is among what is asked for."""
        if function.name in self.functions or function.name in self.named.get(file, ()):
            return True
        lines = self.files.get(file)
        return lines is not None and (not lines or function.has(lines))


@dataclass(frozen=True)
class Runs:
    """A workload that runs some of what is asked for: which functions, and on what."""

    workload: str
    functions: tuple[str, ...]
    arches: tuple[str, ...]


def of_series(changes: Iterable[Changed], counted: Counted) -> Asked:
    """What a series asks for: the functions that it names, and lines where these are not known."""
    named: dict[str, set[str]] = {}
    lines: dict[str, Lines] = {}
    for one in changes:
        if any(known.name == one.function for known in counted.get(one.file, ())):
            named.setdefault(one.file, set()).add(one.function)
        else:
            lines[one.file] = lines.get(one.file, Lines()) | one.lines
    return Asked(files=lines, named={file: frozenset(names) for file, names in named.items()})


def run_by_nobody(known: Iterable[Reach], asked: Asked, counted: Counted) -> tuple[str, ...]:
    """The functions among what is asked for that no workload runs, by name."""
    wanted = {
        (file, one.name)
        for file, functions in counted.items()
        for one in functions
        if asked.takes(file, one)
    }
    for reach in known:
        for file, functions in reach.functions.items():
            wanted.difference_update((file, one.name) for one in functions)
    return tuple(sorted({name for _, name in wanted}))


def of_workload(coverage: Coverage, workload: str, arch: str, kernel: str) -> Reach:
    """The functions of which a workload ran a line."""
    ran = coverage.ran.get(workload, {})
    functions = {
        file: tuple(one for one in coverage.files[file].functions if one.has(lines))
        for file, lines in ran.items()
        if file in coverage.files
    }
    return Reach(workload, arch, kernel, {file: has for file, has in functions.items() if has})


def touching(known: Iterable[Reach], asked: Asked) -> tuple[Runs, ...]:
    """The workloads that run any of it.

    First those that run most of it, and of these the ones that run least besides.
    """
    found: dict[str, set[str]] = {}
    arches: dict[str, dict[str, None]] = {}
    whole: Counter[str] = Counter()
    for reach in known:
        hit = {
            one.name
            for file, functions in reach.functions.items()
            for one in functions
            if asked.takes(file, one)
        }
        if hit:
            found.setdefault(reach.workload, set()).update(hit)
            arches.setdefault(reach.workload, {})[reach.arch] = None
            whole[reach.workload] += sum(map(len, reach.functions.values()))
    order = sorted(found, key=lambda name: (-len(found[name]), whole[name], name))
    return tuple(Runs(name, tuple(sorted(found[name])), tuple(arches[name])) for name in order)
