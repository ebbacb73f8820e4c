# SPDX-License-Identifier: GPL-2.0-only
"""A find of random programs in words: what is wrong, how often, its program, its C file.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.finds import Find
from orchestrator.model.formats import counted
from orchestrator.model.results import CaseResult, CellRecord, RunResult
from orchestrator.report.reproducer import NotTold, reproducer


@dataclass(frozen=True)
class Told:
    """A find and the cases that show it; ``version`` is that of the first one's kernel.

    ``source`` is the C file that stands alone, empty where there is none: ``why`` says why not.
    """

    find: Find
    cases: tuple[CaseResult, ...]
    version: str = ""
    source: str = ""
    why: str = ""


def told(find: Find, version: str = "", cases: Iterable[CaseResult] = ()) -> Told:
    """A find with its C file, or why it has none."""
    source = why = ""
    try:
        source = reproducer(find, version)
    except NotTold as error:
        why = f"no C file: {error}"
    return Told(find, tuple(cases), version, source, why)


def finds_of(run: RunResult) -> tuple[Told, ...]:
    """All finds of a run, equal ones together: the smallest of their programs stands for them."""
    kernels = {kernel.name: kernel.version for kernel in run.kernels}
    found: dict[str, list[tuple[CaseResult, Find, str]]] = {}
    for cell in run.cells:
        for case in cell.cases:
            if case.find is not None:
                one = (case, case.find, kernels.get(cell.kernel, ""))
                found.setdefault(case.find.signature, []).append(one)
    listed = []
    for same in found.values():
        _, least, version = min(same, key=lambda one: len(one[1].program))
        listed.append(told(least, version, (case for case, _, _ in same)))
    return tuple(listed)


def version_of(run: RunResult, cell: CellRecord) -> str:
    """The version of a cell's kernel."""
    return next((one.version for one in run.kernels if one.name == cell.kernel), "")


def origin(find: Find) -> str:
    """How often it was met, and what drew it: ``met in 3 programs; drawn with seed 12, ...``."""
    words = [f"met in {counted(find.times, 'program')}"]
    if find.seed is not None:
        words.append(f"drawn with seed {find.seed}, swarm {find.swarm}")
    return "; ".join(words)


def lines(find: Find) -> list[str]:
    """A find for a text that is read elsewhere: what is wrong, how often, the program."""
    return [find.title, origin(find), "the program (docs/exploration.md):",
            *(f"  {line}" for line in find.program)]  # fmt: skip


def program_text(find: Find) -> str:
    """The program as a file that `lab explore replay` takes."""
    head = [f"# {find.title}", f"# {origin(find)}"]
    return "\n".join([*head, *find.program]) + "\n"
