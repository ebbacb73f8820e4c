# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel logged while one workload ran: its window of the console, and what that lacks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.evidence import klog, kmsg

# The sampler's copy of /dev/kmsg, a record a line (guest-tests/agent/kmsgcopy.h).
_COPY = "kmsg: "


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
    text, complete = klog.window(console, token, workload)
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
