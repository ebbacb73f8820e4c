# SPDX-License-Identifier: GPL-2.0-only
"""Where the lines that a series adds stand in its final sources, patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import diff
from orchestrator.kernel.source import store
from orchestrator.model.kernel import AddedLine, Patch

_CODE = (".c", ".h", ".S")


def added_lines(patches: Sequence[Patch], tree: str, cache: Cache) -> tuple[AddedLine, ...]:
    """The lines of code that the patches add or change and that no later patch takes away.

    By patch, file and line.  Lines that went in elsewhere than their patch says, as ``--apply
    3way`` or ``fuzz`` may put them, are left out: what stands in the sources there is another line.
    """
    lines: list[AddedLine] = []
    for patch in patches:
        for file in diff.parse(patch.diff):
            lines = [line for line in (_moved(line, file) for line in lines) if line is not None]
            lines += _added(patch.n, file)
    wanted = [line for line in lines if line.file.endswith(_CODE)]
    texts = {
        name: data.decode(errors="replace").split("\n")
        for name, data in store.read_files(tree, {line.file for line in wanted}, cache).items()
    }
    there = (
        line
        for line in wanted
        if texts.get(line.file, [])[line.line - 1 : line.line] == [line.text]
    )
    return tuple(sorted(there, key=lambda line: (line.patch, line.file, line.line)))


def _added(n: int, file: diff.FileDiff) -> list[AddedLine]:
    return [
        AddedLine(n, file.name, line.new, line.text.decode(errors="replace").rstrip("\r"))
        for hunk in file.hunks
        for line in hunk.lines()
        if line.sign == b"+"
    ]


def _moved(line: AddedLine, file: diff.FileDiff) -> AddedLine | None:
    """Where a line stands after a later patch; None where that takes it away."""
    if line.file != file.old:
        return line
    if file.new is None:
        return None
    moved = 0
    for hunk in file.hunks:
        for other in hunk.lines():
            if other.old > line.line:
                break
            if other.sign == b"-" and other.old == line.line:
                return None
            moved += (other.sign == b"+") - (other.sign == b"-")
    return replace(line, file=file.new, line=line.line + moved)
