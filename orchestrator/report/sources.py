# SPDX-License-Identifier: GPL-2.0-only
"""The source around what a compiler refused, as lines of text.  Pure."""

from __future__ import annotations

from orchestrator.model.evidence import Excerpt
from orchestrator.model.names import BUILD, CaseId
from orchestrator.model.results import RunResult

# On a terminal; the page has all that was kept.
_AROUND = 2
_WIDTH = 100


def numbered(excerpt: Excerpt) -> tuple[tuple[int, str], ...]:
    """The lines of an excerpt with their numbers, tabs as eight columns."""
    lines = excerpt.text.expandtabs(8).removesuffix("\n").split("\n")
    return tuple(enumerate(lines, excerpt.first))


def build_source(run: RunResult, case: str) -> tuple[str, Excerpt] | None:
    """The place of a build's first error that is quoted, ``FILE:LINE``, and the lines around it.

    :param case: the id of the build's case; None comes of every other one.
    """
    known = CaseId.parse(case)
    if known.workload != BUILD:
        return None
    build = next((one for one in run.builds if one.id == known.cell.build), None)
    errors = build.errors if build is not None else ()
    places = (f"{error.file}:{error.line}" for error in errors)
    return next(((p, build.sources[p]) for p in places if build and p in build.sources), None)


def source_lines(run: RunResult, case: str) -> list[str]:
    """The same for a terminal: ``+`` before lines of the change, ``>`` before the line itself."""
    found = build_source(run, case)
    if found is None:
        return []
    place, excerpt = found
    at = int(place.rpartition(":")[2])
    return [
        f"{'>' if number == at else ' '}{'+' if number in excerpt.added else ' '}"
        f"{number:>6}  {text[:_WIDTH]}".rstrip()
        for number, text in numbered(excerpt)
        if abs(number - at) <= _AROUND
    ]
