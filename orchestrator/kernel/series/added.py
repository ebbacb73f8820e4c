# SPDX-License-Identifier: GPL-2.0-only
"""Where the lines that a series adds stand in its final sources, hunk by hunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.series import diff
from orchestrator.kernel.source import store
from orchestrator.model.kernel import Patch, PatchHunk

_CODE = (".c", ".h", ".S")


@dataclass(frozen=True)
class _Placed:
    """A line that the hunk number ``hunk`` adds as its line ``at``, by where it stands now."""

    hunk: int
    at: int
    file: str
    line: int
    text: str


def placed_hunks(patches: Sequence[Patch], tree: str, cache: Cache) -> tuple[PatchHunk, ...]:
    """The hunks of code of the patches, with the places of what they add in the final sources.

    A line has none where a later patch takes it away, nor where it went in elsewhere than its patch
    says, as ``--apply 3way`` or ``fuzz`` may put it: what stands there is another line.
    """
    hunks: list[PatchHunk] = []
    lines: list[_Placed] = []
    for patch in patches:
        for file in diff.parse(patch.diff):
            lines = [line for line in (_moved(line, file) for line in lines) if line is not None]
            for hunk in file.hunks if file.name.endswith(_CODE) else ():
                text = _text(hunk.text)
                lines += _added(len(hunks), file.name, hunk)
                hunks.append(PatchHunk(patch.n, file.name, *text))
    texts = {
        name: data.decode(errors="replace").split("\n")
        for name, data in store.read_files(tree, {line.file for line in lines}, cache).items()
    }
    there = {
        (line.hunk, line.at): line
        for line in lines
        if texts.get(line.file, [])[line.line - 1 : line.line] == [line.text]
    }
    return tuple(_with_places(hunk, n, there) for n, hunk in enumerate(hunks))


def _with_places(hunk: PatchHunk, n: int, there: dict[tuple[int, int], _Placed]) -> PatchHunk:
    count = sum(line.startswith("+") for line in hunk.text.split("\n"))
    found = [there.get((n, at)) for at in range(count)]
    file = next((line.file for line in found if line is not None), hunk.file)
    return replace(hunk, file=file, lines=tuple(line.line if line else 0 for line in found))


def _text(hunk: bytes) -> tuple[str, str]:
    """The header line of a hunk, and the others."""
    text = hunk.decode(errors="replace").replace("\r\n", "\n").removesuffix("\n")
    head, _, rest = text.partition("\n")
    return head, rest


def _added(n: int, file: str, hunk: diff.Hunk) -> Iterator[_Placed]:
    added = (line for line in hunk.lines() if line.sign == b"+")
    for at, line in enumerate(added):
        yield _Placed(n, at, file, line.new, line.text.decode(errors="replace").rstrip("\r"))


def _moved(line: _Placed, file: diff.FileDiff) -> _Placed | None:
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
