# SPDX-License-Identifier: GPL-2.0-only
"""Whether a report happened in a line that the series wrote.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.evidence.klog.frames import Frame, find_frames
from orchestrator.model.evidence import Hit

#: How :class:`.evidence.SourceLine` marks a line that the series added or changed.
LINE = "line"


def of_series(hit: Hit) -> bool | None:
    """Whether the innermost place of one of a report's stacks is such a line.

    A report of KCSAN has a stack for each of two accesses.  A place is all the functions that were
    inlined into it: a helper's access in a line of the series is that line's.  None where no stack
    has source lines, so that nobody knows.
    """
    lines = {one.row: one.places for one in hit.frames if one.places}
    tops = [lines[frame.row] for frame in _innermost(hit.text) if frame.row in lines]
    if not tops:
        return None
    return any(place.touched == LINE for places in tops for place in places)


def _innermost(text: str) -> Iterator[Frame]:
    """The first frame of each stack: those with no frame in the line above."""
    last = -1
    for frame in find_frames(text):
        if frame.row != last + 1:
            yield frame
        last = frame.row
