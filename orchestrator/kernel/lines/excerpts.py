# SPDX-License-Identifier: GPL-2.0-only
"""Lines of a patched source: which of them the series touched, and the text around them.

Read from the object store, so that no work tree has to hold that kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import diff
from orchestrator.kernel.source import store
from orchestrator.kernel.source.store import git
from orchestrator.model.evidence import Excerpt, SourceLine
from orchestrator.model.kernel import KernelTree

AROUND = 5
# Lines of sources are short; generated tables are not.
_WIDTH = 200
# How far up from a body's brace a function's head may reach: long argument lists.
_HEAD = 30


@dataclass(frozen=True)
class Place:
    """A line of a source file, named from the top of the tree, within ``function``."""

    function: str
    file: str
    line: int


@dataclass(frozen=True)
class _Touched:
    """``added``: lines of the series; ``cut``: it took something away right after these lines."""

    added: frozenset[int]
    cut: frozenset[int]


class PatchedSource:
    """The sources of one kernel; each file is read once.  None: they are not there."""

    def __init__(self, tree: KernelTree | None, cache: Cache) -> None:
        self._tree = tree.tree if tree is not None else ""
        self._cache = cache
        self._touched = _touched(tree, cache) if tree is not None else {}
        self._files: dict[str, list[str]] = {}

    def describe(self, place: Place) -> SourceLine:
        """Say whether the series touched a line or its function, and quote what is around it.

        A file that is not in the tree (made by the build) has no text.
        """
        lines = self._lines(place.file)
        touched = self._touched.get(place.file, _Touched(frozenset(), frozenset()))
        mark = ""
        if place.line in touched.added:
            mark = "line"
        elif lines and touched != _Touched(frozenset(), frozenset()):
            first, last = function_range(lines, place.line)
            if any(first <= line <= last for line in touched.added) or any(
                first <= line < last for line in touched.cut
            ):
                mark = "function"
        first = max(1, place.line - AROUND)
        shown = range(first, min(len(lines), place.line + AROUND) + 1)
        text = "".join(f"{lines[n - 1][:_WIDTH]}\n" for n in shown)
        added = tuple(n for n in shown if n in touched.added)
        excerpt = Excerpt(first, text, added) if 0 < place.line <= len(lines) else Excerpt()
        return SourceLine(place.function, place.file, place.line, mark, excerpt)

    def _lines(self, file: str) -> list[str]:
        if file not in self._files:
            there = store.read_files(self._tree, [file], self._cache) if self._tree else {}
            found = there.get(file, b"")
            text = found.decode(errors="replace")
            self._files[file] = text.removesuffix("\n").split("\n") if text else []
        return self._files[file]


def _touched(tree: KernelTree, cache: Cache) -> dict[str, _Touched]:
    found = {}
    for file in changes(tree.base_tree, tree.tree, cache):
        if file.new is not None:
            added = {n for h in file.hunks for n in range(h.new_start, h.new_start + h.new_lines)}
            cut = {hunk.new_start for hunk in file.hunks if hunk.new_lines == 0}
            found[file.new] = _Touched(frozenset(added), frozenset(cut))
    return found


def function_range(lines: list[str], line: int) -> tuple[int, int]:
    """Give the first and last line (from 1) of the function that a line of C stands in.

    Goes by the kernel's coding style: a body's braces stand in the first column, and a blank line,
    a comment or a directive before the head.  A line outside of any function is its own range.
    """
    if not 0 < line <= len(lines):
        return line, line
    end = next((n for n in range(line, len(lines) + 1) if lines[n - 1].startswith("}")), None)
    # Upwards to the body's opening brace; another body's end before it means: not in a body.
    begin = next(
        (n for n in range(min(line, len(lines)), 0, -1) if lines[n - 1][:1] in ("{", "}")), None
    )
    if end is None:
        return line, line
    if begin is None or (lines[begin - 1].startswith("}") and begin != line):
        # The line may be in the head itself, above the brace.
        begin = next((n for n in range(line, end) if lines[n - 1].startswith("{")), None)
        if begin is None or any(_is_break(lines[n - 1]) for n in range(line, begin)):
            return line, line
    elif begin == line and lines[begin - 1].startswith("}"):
        begin = next((n for n in range(line - 1, 0, -1) if lines[n - 1].startswith("{")), line)
    first = begin
    while first > 1 and begin - first < _HEAD and not _is_break(lines[first - 2]):
        first -= 1
    return first, end


def _is_break(text: str) -> bool:
    """Whether a line stands between two definitions."""
    return re.match(r"\s*$|#|\}|.*\*/\s*$|\S.*;\s*$", text) is not None


def changes(base_tree: str, tree: str, cache: Cache) -> tuple[diff.FileDiff, ...]:
    """Give what ``tree`` changed, file by file, in hunks without context."""
    if base_tree == tree:
        return ()
    done = git(
        cache, "diff-tree", "-r", "-p", "-U0", "--no-renames", "--no-color", "--no-ext-diff",
        "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", base_tree, tree,
    )  # fmt: skip
    return diff.parse(done.stdout)
