# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of the sources below it a series changes, by what its patches say."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.kernel.series import diff
from orchestrator.model.coverage import Lines
from orchestrator.model.kernel import Patch


def changed_lines(patches: Iterable[Patch]) -> tuple[tuple[str, Lines], ...]:
    """The files that are changed, each with its lines: those that are removed, and the one before
    what is added.  Without files that are new.

    Each patch counts its lines from the one before it, so that in a file that several change they
    are a few off.
    """
    found: dict[str, set[int]] = {}
    for patch in patches:
        for file in diff.parse(patch.diff):
            if file.old is not None:
                found.setdefault(file.old, set()).update(_lines(file))
    return tuple((name, Lines(lines)) for name, lines in found.items() if lines)


def _lines(file: diff.FileDiff) -> set[int]:
    return {
        line.old if line.sign == b"-" else max(1, line.old - 1)
        for hunk in file.hunks
        for line in hunk.lines()
        if line.sign in (b"-", b"+")
    }
