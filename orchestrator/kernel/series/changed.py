# SPDX-License-Identifier: GPL-2.0-only
"""What of the sources below it a series changes, by what its patches say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.kernel.series import diff
from orchestrator.model.coverage import Changed, Lines
from orchestrator.model.kernel import Patch

# The first line of a function as the kernel writes it, from the first column; no declaration.
_FUNCTION = re.compile(rb"[A-Za-z_][\w \t*]*?\b([A-Za-z_]\w*)\s*\((?!.*;\s*$)")
_HEADING = re.compile(rb"@@ [^@]*@@ ?(.*)")


def changes(patches: Iterable[Patch]) -> tuple[Changed, ...]:
    """The files that are changed, function by function, each with its lines: those that are
    removed, and the one before what is added.  Without files that are new.

    The function is the one that the diff itself names: above the change, or behind the ``@@``.
    Each patch counts its lines from the one before it, so that in a file that several change they
    are a few off.
    """
    found: dict[tuple[str, str], set[int]] = {}
    for patch in patches:
        for file in diff.parse(patch.diff):
            if file.old is None:
                continue
            for function, line in _lines(file):
                found.setdefault((file.old, function), set()).add(line)
    return tuple(Changed(*key, Lines(lines)) for key, lines in found.items())


def _lines(file: diff.FileDiff) -> Iterator[tuple[str, int]]:
    """Each line that is changed, behind the function that it is of; empty where none is named."""
    for hunk in file.hunks:
        heading = _HEADING.match(hunk.text)
        function = _named(heading[1]) if heading else ""
        for line in hunk.lines():
            if line.sign in (b"-", b"+"):
                function = _named(line.text) or function
                yield function, line.old if line.sign == b"-" else max(1, line.old - 1)
            if line.text.startswith(b"}"):
                function = ""
            function = _named(line.text) or function


def _named(line: bytes) -> str:
    """The function that begins with a line; a macro that makes one is none."""
    found = _FUNCTION.match(line)
    name = found[1].decode() if found else ""
    return "" if name.isupper() else name
