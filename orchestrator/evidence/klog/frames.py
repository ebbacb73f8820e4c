# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames of a kernel-log report: each ``function+0xOFFSET/0xSIZE``, and what it says.

The kernel prints most of them as return addresses, which belong to the line of the call before
them, and some as the very address at which the CPU stood: RIP and pc, and the address of a
``WARNING: ... at FILE:LINE func+...`` (report_bug() in lib/bug.c of v6.12) or of a page fault that
KFENCE reports (mm/kfence/report.c).  arm64 begins an exception's trace with the pc itself
(dump_backtrace() in arch/arm64/kernel/stacktrace.c of v6.12; marked ``(P)`` since v6.13).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.evidence.klog.roles import passed_over

# More of a report is noise: a page_owner dump, all tasks of the system.
MAX_LINES = 500
_WIDTH = 400

#: A line of a trace, as it begins; any caller's name counts.  Up to v4.18 a mark of the stack and
#: the address stand before it; an inlined call has its source line and no offset, where somebody
#: resolved the log.  arm32 prints ``[<address>] (function) from [<address>] (caller+...)``.
FRAME = re.compile(
    r"(?:(?:kmemleak:)?\s+|(?:\s*</?[A-Z#][\w#-]*>)?\s*(?:\[<[0-9a-fx]+>\] ?|(?<=>)\s+))"
    r"(?P<guess>\? )?\(?(?P<func>[A-Za-z_.$][\w.$]*)"
    r"(?:\+0x[0-9a-f]+/0x[0-9a-f]+|(?P<inline>\s+\S+\.[chSrs]{1,2}:\d+ \[inline\])|\) from \[<)"
)
# Without CONFIG_KALLSYMS, and outside of the kernel's text, a frame is a bare address.
BARE_FRAME = re.compile(r"\s+(?:\? )?0x[0-9a-f]{1,16}\s*$|\s*\[<[0-9a-fx]{8,18}>\]\s*$")
# A place anywhere in a line, with its numbers.
_PLACE = re.compile(
    r"(?P<before>\? )?(?<![\w.$])(?P<func>[A-Za-z_.$][\w.$]{0,200})"
    r"\+0x(?P<off>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})(?![0-9a-fx])"
    r"(?P<after> \[[\w-]+\]| \([A-Z]{1,4}\))?"
)
_EXACT = re.compile(
    r"(?:.{0,60}\])? ?(?:RIP: 0010:$|pc ?: $|WARNING: .{0,200}\bat "
    r"|BUG: KFENCE: (?:out-of-bounds|use-after-free) (?:read|write) in $)"
)


@dataclass(frozen=True)
class Frame:
    """A place in the kernel's code that a report names.

    ``row`` is the line of the report's text, from 1; ``exact`` tells the address of an instruction
    from a return address; ``guess`` what the unwinder found lying on the stack (``?``);
    ``generic`` a function with a role (``roles``), which is not the guilty one.
    """

    row: int
    function: str
    offset: int
    size: int
    exact: bool
    guess: bool
    generic: bool


def is_frame(text: str) -> bool:
    """Whether a line is a stack frame."""
    return FRAME.match(text) is not None or BARE_FRAME.match(text) is not None


def find_frames(text: str) -> tuple[Frame, ...]:
    """Every place of a report's text, in its order, at most one a line.  Never raises on content.

    Frames of modules are left out: the lab's kernels have none, and whose code it is nobody knows.
    """
    found = []
    exact: set[tuple[str, str, str]] = set()
    for row, line in enumerate(text.split("\n")[:MAX_LINES], 1):
        match = _PLACE.search(line[:_WIDTH])
        if match is None or (match["after"] or "").startswith(" ["):
            continue
        key = (match["func"], match["off"], match["size"])
        if _EXACT.match(line[: match.start("func")]) or "P" in (match["after"] or ""):
            exact.add(key)
        found.append((row, key, match["before"] is not None))
    return tuple(
        Frame(
            row, key[0], int(key[1], 16), int(key[2], 16), key in exact, guess, passed_over(key[0])
        )
        for row, key, guess in found
    )


def worth_looking_up(frames: tuple[Frame, ...], limit: int) -> tuple[Frame, ...]:
    """At most ``limit`` places, those that tell most, in the order of their worth.

    One place may stand in several lines, and counts once.
    """
    ranked = sorted(frames, key=lambda f: (f.generic, f.guess, not f.exact, f.row))
    places = dict.fromkeys((f.function, f.offset, f.size) for f in ranked)
    kept = set(list(places)[:limit])
    return tuple(f for f in ranked if (f.function, f.offset, f.size) in kept)
