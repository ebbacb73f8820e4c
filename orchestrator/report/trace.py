# SPDX-License-Identifier: GPL-2.0-only
"""A hit's text with the source lines of its trace.  Pure: what is shown is all in the hit.

A place of the kernel's code may stand for several calls, the inner ones inlined into the outer.
They are told from the inside out, in the order of the trace and of ``addr2line -i``.  The change is
the series, or what the tree under test differs in from the kernel that it is set beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.model.evidence import FrameLines, Hit, SourceLine
from orchestrator.model.results import CaseResult

# A sign beside the colour, and words for both.
_MARKS = {
    "line": "± touched by the change",
    "function": "± in a function that the change touched",
}


@dataclass(frozen=True)
class QuotedLine:
    """A line of source with its number; ``added`` by the change; ``here`` where the trace is."""

    text: str
    added: bool
    here: bool


@dataclass(frozen=True)
class Row:
    """A part of a report: ``text`` as the kernel printed it, and the place that it stands for.

    Without a ``place`` it may be several lines.  ``touched`` is that of the place, ``mark`` its
    words; ``shown`` tells that the quoted source is worth seeing at once.
    """

    text: str
    place: str = ""
    touched: str = ""
    mark: str = ""
    note: str = ""
    source: tuple[QuotedLine, ...] = ()
    shown: bool = False


def rows(hit: Hit, limit: int, show: bool = True) -> tuple[Row, ...]:
    """A hit's text in rows, at most ``limit`` of its lines; one row where no line is known.

    :param show: whether the first line that the change touched is shown at once.
    """
    lines = hit.text.rstrip("\n").split("\n")
    frames = {frame.row: frame for frame in hit.frames if frame.places or frame.note}
    found: list[Row] = []
    plain: list[str] = []
    seen: set[tuple[str, int]] = set()
    quoted: set[tuple[str, int]] = set()
    for number, line in enumerate(lines[:limit], 1):
        frame = frames.get(number)
        if frame is None:
            plain.append(line)
            continue
        if plain:
            found.append(Row("\n".join(plain)))
            plain = []
        key = (frame.function, frame.offset)
        for text, place, where in _places(line, frame, key in seen):
            source = () if (place.file, place.line) in quoted else _quote(place)
            quoted.add((place.file, place.line))
            shown = show and place.touched == "line" and bool(source)
            show = show and not shown
            mark = _MARKS.get(place.touched, "")
            found.append(Row(text, where, place.touched, mark, "", source, shown))
        if not frame.places:
            found.append(Row(line, note=f"no line: {frame.note}"))
        seen.add(key)
    if len(lines) > limit:
        plain.append(f"[{len(lines) - limit} more lines]")
    if plain:
        found.append(Row("\n".join(plain)))
    return tuple(found)


def _places(line: str, frame: FrameLines, again: bool) -> Iterator[tuple[str, SourceLine, str]]:
    """Text, place and the place's words of each row of a frame.

    A frame that stands there ``again`` (the pc, and the trace that begins with it) has one row,
    with the place that tells most.
    """
    places = frame.places
    if again and places:
        places = (next((p for p in places if p.touched == "line"), places[0]),)
    for at, place in enumerate(places):
        where = f"{place.file}:{place.line}"
        if at:
            yield f"    inlined by {place.function}", place, where
        elif place == frame.places[-1]:
            yield line, place, where
        else:
            yield line, place, f"{place.function} {where}"


def _quote(place: SourceLine) -> tuple[QuotedLine, ...]:
    excerpt = place.excerpt
    if not excerpt.text:
        return ()
    found = []
    for number, text in enumerate(excerpt.text.removesuffix("\n").split("\n"), excerpt.first):
        added, here = number in excerpt.added, number == place.line
        prefix = f"{'+' if added else ' '}{number:>6} {'>' if here else ' '} "
        found.append(QuotedLine((prefix + text.expandtabs(8)).rstrip(), added, here))
    return tuple(found)


def annotated(hit: Hit) -> str:
    """A hit's text as plain text, the places in brackets behind the frames they stand for."""
    found = []
    for row in rows(hit, limit=1 << 30, show=False):
        told = ", ".join(filter(None, (row.place or row.note, row.mark)))
        found.append(f"{row.text}  [{told}]" if told else row.text)
    return "\n".join(found)


def touched_places(case: CaseResult, limit: int = 3) -> tuple[str, ...]:
    """The lines in the traces of a case that the change wrote, as ``FILE:LINE in FUNCTION``."""
    found = dict.fromkeys(
        f"{place.file}:{place.line} in {place.function}"
        for hit in case.hits
        if not hit.known
        for frame in hit.frames
        for place in frame.places
        if place.touched == "line"
    )
    return tuple(found)[:limit]
