# SPDX-License-Identifier: GPL-2.0-only
"""A series with what of it ran: its patches as they were sent, each added line marked.  Pure.

Lines that ran alike stand together in a block, beside which it is said once who ran them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.judge.covered import (
    SERIES_OWN,
    Line,
    PatchCovered,
    Ran,
    by_patch,
    sentence,
    share,
)
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.codec import plain
from orchestrator.model.coverage import as_text
from orchestrator.model.formats import counted
from orchestrator.model.kernel import PatchHunk, PatchState
from orchestrator.model.names import CellId
from orchestrator.model.results import CellRecord, KernelRecord, RunResult

#: What becomes of a line that a patch adds, in words, and the sign that stands before it.
RAN, NEVER, NO_CODE, GONE = "ran", "never", "none", "gone"
MEANING = {
    RAN: "ran",
    NEVER: "never ran",
    NO_CODE: "no code there in any kernel that counted",
    GONE: "replaced by a later patch, or put elsewhere than the patch says",
}
SIGNS = {RAN: "✓", NEVER: "✗", NO_CODE: "·", GONE: "~"}


@dataclass(frozen=True)
class ShownLine:
    """A line of a hunk.

    ``state`` is one of :data:`SIGNS`, empty for what the patch does not add; ``number`` is that in
    the final sources, 0 for none.  ``text`` begins with the patch's own sign.
    """

    text: str
    state: str = ""
    number: int = 0

    @property
    def sign(self) -> str:
        """What its state is shown by; a blank where it has none."""
        return SIGNS.get(self.state, " ")


@dataclass(frozen=True)
class Block:
    """Lines one below the other of which those with code ran alike.

    ``state`` is that of these, empty where none has code; ``by`` says in which cells they ran, and
    by which workloads.
    """

    state: str
    lines: tuple[ShownLine, ...]
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShownHunk:
    """A hunk in blocks; ``file`` is empty where the one above is of the same file."""

    file: str
    header: str
    blocks: tuple[Block, ...]

    @property
    def length(self) -> int:
        """How many lines it has."""
        return sum(len(block.lines) for block in self.blocks)


@dataclass(frozen=True)
class Row:
    """A row of the table of functions: ``never`` are the numbers of the lines that never ran."""

    patch: int
    name: str
    lines: int
    ran: int
    never: str


@dataclass(frozen=True)
class ShownPatch:
    """A patch with what ran; ``lines`` have code, ``ran`` of them did in some cell."""

    n: int
    subject: str
    lines: int
    ran: int
    hunks: tuple[ShownHunk, ...]

    @property
    def told(self) -> str:
        """How much of it ran, in words."""
        if not self.lines:
            return "no code that was counted"
        return f"{self.ran} of {counted(self.lines, 'line')} ran"


@dataclass(frozen=True)
class ShownSeries:
    """The series of a kernel: the sentence, a row a function, and the patches themselves.

    ``share`` is the sentence's beginning, empty where no line was counted.  ``cells`` are those
    that counted, each with the file that tells all of it.
    """

    kernel: str
    share: str
    sentence: str
    cells: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    patches: tuple[ShownPatch, ...]


HEAD = ("patch", "function", "lines", "ran", "never ran")


def shown_series(run: RunResult) -> tuple[ShownSeries, ...]:
    """The kernels of a run with a series of which it was counted what ran, in their order."""
    whole = without_prefixes(run)
    found = (_series(kernel, whole.cells) for kernel in whole.kernels if kernel.series)
    return tuple(one for one in found if one.cells)


def rows(patches: Iterable[PatchCovered]) -> tuple[Row, ...]:
    """The table of functions: those of which a line never ran come first in each patch."""
    found = []
    for patch in patches:
        for part in sorted(patch.parts, key=lambda part: part.ran == len(part.lines)):
            never = as_text(part.never).replace(",", ", ")
            found.append(Row(patch.patch, part.name, len(part.lines), part.ran, never))
    return tuple(found)


def place(cell: str) -> str:
    """Where a cell ran, without its kernel: ``coverage/x86_64/small``."""
    return CellId.parse(cell).place


def who(ran: Ran) -> str:
    """``coverage/x86_64/small: 7 workloads: uffd-move/basic, uffd-move/swap and 5 more``."""
    more = ran.workloads - len(ran.by)
    names = f"{', '.join(ran.by)}{f' and {more} more' if more > 0 else ''}"
    return f"{place(ran.cell)}: {counted(ran.workloads, 'workload')}: {names}"


def never_in(line: Line) -> str:
    """``never ran in coverage/arm64/small``: the cells that have a line and did not run it."""
    ran = {one.cell for one in line.ran}
    lacking = [place(cell) for cell in line.cells if cell not in ran]
    return f"never ran in {', '.join(lacking)}" if lacking else ""


# ---------------------------------------------------------------- the patches themselves


def _series(kernel: KernelRecord, cells: Iterable[CellRecord]) -> ShownSeries:
    own = [cell for cell in cells if cell.kernel == kernel.name]
    patches = by_patch(own, kernel.name)
    covered = {patch.patch: patch for patch in patches}
    counting = tuple((place(cell.id), cell.coverage) for cell in own if cell.coverage)
    return ShownSeries(
        kernel.name,
        share(patches, SERIES_OWN),
        sentence(patches) or "The series has no line of code that was counted",
        counting,
        rows(patches),
        tuple(
            _patch(one, covered.get(one.n, PatchCovered(one.n, ())), kernel.hunks)
            for one in kernel.series
        ),
    )


def _patch(one: PatchState, covered: PatchCovered, hunks: Iterable[PatchHunk]) -> ShownPatch:
    lines = {(line.file, line.line): line for line in covered.lines}
    shown, last = [], ""
    for hunk in hunks:
        if hunk.patch == one.n:
            name = hunk.file if hunk.file != last else ""
            shown.append(ShownHunk(name, hunk.header, tuple(_blocks(hunk, lines))))
            last = hunk.file
    return ShownPatch(one.n, one.subject, len(covered.lines), covered.ran, tuple(shown))


def _blocks(hunk: PatchHunk, code: dict[tuple[str, int], Line]) -> Iterator[Block]:
    """A hunk's lines in blocks: one ends where code ran otherwise than that above it."""
    lines: list[ShownLine] = []
    told: Line | None = None
    places = iter(hunk.lines)
    for text in hunk.text.split("\n"):
        number = next(places, 0) if text.startswith("+") else 0
        found = code.get((hunk.file, number))
        if found is not None and told is not None and not _alike(found, told):
            yield _block(told, lines)
            lines = []
        told = found or told
        lines.append(ShownLine(text, _state(text, number, found), number))
    if lines:
        yield _block(told, lines)


def _state(text: str, number: int, found: Line | None) -> str:
    if not text.startswith("+"):
        return ""
    if not number:
        return GONE
    if found is None:
        return NO_CODE
    return RAN if found.ran else NEVER


def _alike(one: Line, other: Line) -> bool:
    return (one.cells, one.ran) == (other.cells, other.ran)


def _block(told: Line | None, lines: Iterable[ShownLine]) -> Block:
    if told is None:
        return Block("", tuple(lines))
    lacking = never_in(told)
    by = (*map(who, told.ran), *((lacking,) if lacking else ()))
    return Block(RAN if told.ran else NEVER, tuple(lines), by)


# ---------------------------------------------------------------- in lines of text


def text_lines(run: RunResult, most: int = 12) -> list[str]:
    """For a terminal: the sentence of each series, and the functions of which a line never ran.

    :param most: so many functions are named, of a series.
    """
    told = []
    series = shown_series(run)
    for one in series:
        head = f"coverage of {one.kernel}" if len(series) > 1 else "coverage"
        told.append(f"{head}: {one.sentence}")
        lacking = [row for row in one.rows if row.never]
        told += [f"       patch {row.patch}, {row.name}: {row.ran} of {row.lines} ran, never "
                 f"{_few(row.never)}" for row in lacking[:most]]  # fmt: skip
        if len(lacking) > most:
            told.append(f"       and {counted(len(lacking) - most, 'more function')}")
    return told


def to_dict(one: ShownSeries) -> dict[str, object]:
    """For a script: how much ran, and a row a function."""
    return {
        "kernel": one.kernel,
        "sentence": one.sentence,
        "lines": sum(row.lines for row in one.rows),
        "ran": sum(row.ran for row in one.rows),
        "functions": [plain(row) for row in one.rows],
    }


def _few(numbers: str, most: int = 12) -> str:
    """Ranges of lines, the first of them."""
    spans = numbers.split(", ")
    more = f" and {len(spans) - most} more" if len(spans) > most else ""
    return f"{', '.join(spans[:most])}{more}"
