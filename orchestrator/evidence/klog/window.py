# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel logged while one workload ran: its window of the console, and what that lacks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.evidence.klog import kmsg
from orchestrator.evidence.klog.lines import read

# The sampler's copy of /dev/kmsg, a record a line (guest-tests/agent/kmsgcopy.h).
_COPY = "kmsg: "


MARK = re.compile(r"lab-mark (?P<token>\S+) (?P<action>begin|end) (?P<workload>\S.*)")


@dataclass(frozen=True)
class LogWindow:
    """The log between a workload's marks.

    ``numbers`` has for each line of ``text`` its 1-based line of the console, or that of the last
    one before it which the console has; ``complete`` is whether both marks were found, on the
    console or in /dev/kmsg; ``recovered`` how many lines only /dev/kmsg had.
    """

    text: str
    numbers: tuple[int, ...]
    complete: bool
    recovered: int = 0


def read_window(console: str, stderr: str, token: str, workload: str) -> LogWindow:
    """The window of a workload in the console's text since its start.

    Where a mark is missing from both, all of the text counts: a guest that is gone left none.

    :param stderr: what the sampler said, its copy of /dev/kmsg among it.
    """
    text, complete = window(console, token, workload)
    kept = text if complete else console
    line = console[: max(console.find(kept), 0)].count("\n")
    copied, whole = _between_marks(_copied(stderr), token, workload)
    plain = tuple(range(line + 1, line + 2 + kept.count("\n")))
    if not copied:
        return LogWindow(kept, plain, complete or whole)
    merged = list(kmsg.reconcile(kept.split("\n"), copied))
    recovered = sum(part.source is kmsg.Source.KMSG for part in merged)
    gaps = any(part.source is kmsg.Source.GAP for part in merged)
    if not recovered and not gaps:
        return LogWindow(kept, plain, complete or whole)
    numbers = itertools.accumulate((part.number for part in merged), max, initial=0)
    placed = tuple(line + number for number in itertools.islice(numbers, 1, None))
    return LogWindow("\n".join(kmsg.lines(merged)), placed, complete or whole, recovered)


def _copied(stderr: str) -> Iterable[kmsg.KmsgRecord]:
    lines = (line[len(_COPY) :] for line in stderr.split("\n") if line.startswith(_COPY))
    return kmsg.records(f"{line}\n" for line in lines)


def _between_marks(
    records: Iterable[kmsg.KmsgRecord], token: str, workload: str
) -> tuple[list[kmsg.KmsgRecord], bool]:
    """The records between the workload's marks, and whether both are there."""
    inside: list[kmsg.KmsgRecord] = []
    begun = False
    for record in records:
        if record.text == f"lab-mark {token} begin {workload}":
            inside, begun = [], True
        elif record.text == f"lab-mark {token} end {workload}":
            return inside, begun
        else:
            inside.append(record)
    return inside, False


@dataclass(frozen=True)
class Mark:
    """A line that the lab wrote into /dev/kmsg; ``action`` is ``begin`` or ``end``."""

    line: int
    action: str
    workload: str


def find_marks(lines: Iterable[str | bytes], token: str | None) -> tuple[Mark, ...]:
    """The lab's own marks with this token (None: with any, as a run keeps no token), in order."""
    found = []
    for line in read(lines):
        match = MARK.match(line.text)
        if match and token in (None, match["token"]):
            found.append(Mark(line.number, match["action"], match["workload"].strip()))
    return tuple(found)


def window(console: str, token: str, workload: str) -> tuple[str, bool]:
    """The part of a console log between a workload's two marks, and whether both were found.

    With a mark missing the window reaches to the log's beginning or end: text that cannot be
    placed is looked at rather than lost.
    """
    marks = [m for m in find_marks(console.split("\n"), token) if m.workload == workload.strip()]
    begin = next((m.line for m in marks if m.action == "begin"), None)
    end = next((m.line for m in marks if m.action == "end" and m.line > (begin or 0)), None)
    raw = console.split("\n")
    inside = raw[begin or 0 : len(raw) if end is None else end - 1]
    return "\n".join(inside), begin is not None and end is not None


def stored_window(console: str, workload: str) -> tuple[int, str] | None:
    """A workload's part of a stored console: its first line's number, and its text.

    It begins at the last mark of its beginning, and without an end reaches to the log's: the guest
    was lost in it.  None where the log has no such mark.  The marks are part of it.
    """
    lines = console.split("\n")
    # Only a line that may be a mark need be read as one; the others keep their place.
    marks = find_marks((line if "lab-mark " in line else "" for line in lines), None)
    own = [mark for mark in marks if mark.workload == workload]
    begin = next((mark.line for mark in reversed(own) if mark.action == "begin"), None)
    if begin is None:
        return None
    end = next((m.line for m in own if m.action == "end" and m.line > begin), len(lines))
    return begin, "\n".join(lines[begin - 1 : end])


def outside_windows(console: bytes, token: str) -> list[tuple[int, list[str]]]:
    """What no workload's window holds of a console log: how many lines precede it, and its lines.

    Where a window has no end the guest was lost in it: what follows belongs to it.  Where one has
    no begin, what is before its end counts as outside too.
    """
    lines = console.decode(errors="replace").split("\n")
    pieces: list[tuple[int, list[str]]] = []
    since: int | None = 0
    for mark in find_marks(lines, token):
        if mark.action == "end":
            if since is not None:
                # The console lost its begin: looked at twice rather than not at all.
                pieces.append((since, lines[since : mark.line - 1]))
            since = mark.line
        elif since is not None:
            pieces.append((since, lines[since : mark.line - 1]))
            since = None
    return pieces if since is None else [*pieces, (since, lines[since:])]
