# SPDX-License-Identifier: GPL-2.0-only
"""On which CPU and in whose name a kernel-log report came.

A stall's header names the CPU or task that is stuck; the ``CPU: 1 PID: 61 Comm: move`` line
(dump_stack_print_info() in lib/dump_stack.c, since v6.11 with ``UID:``) stands for every other
report.  printk's caller is the last resort: ``C1`` is an interrupt on CPU 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_COMM = r"(?P<comm>[^\n]{1,40}?)"
# Tried on each line in this order; a fact found by an earlier row wins over a later row's.
_STUCK = (
    # kernel/watchdog.c, kernel/watchdog_buddy.c, kernel/hung_task.c
    re.compile(r".{0,40}BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for \d+s! "
               rf"\[{_COMM}:(?P<pid>\d+)\]"),
    re.compile(r".{0,40}atchdog detected hard LOCKUP on cpu (?P<cpu>\d+)"),
    re.compile(rf"INFO: task {_COMM}:(?P<pid>\d+) blocked (?:in I/O wait )?for more than"),
    # kernel/rcu/tree_stall.h: the first CPU or task of the list
    re.compile(r"(?:rcu: )?\t(?P<cpu>\d+)-[O.][o.][N.][D.!\d?]{0,2}: \("),
    re.compile(r"rcu: \tPossible timer handling issue on cpu=(?P<cpu>\d+) "),
    re.compile(r"(?:rcu: )?INFO: rcu\S* detected expedited stalls on CPUs/tasks: \{ (?P<cpu>\d+)-"),
    re.compile(r"(?:smp: )?csd: Detected non-responsive CSD lock \(#\d+\) on CPU#\d+, waiting "
               r"\d+ ns for CPU#(?P<cpu>\d+)"),
)  # fmt: skip
_NAMED = (
    # kernel/panic.c since v6.18
    re.compile(rf"WARNING: .{{1,400}}, CPU#(?P<cpu>\d+): {_COMM}/(?P<pid>\d+)$"),
    re.compile(rf"CPU: (?P<cpu>\d+) (?:UID: \d+ )?PID: (?P<pid>\d+) Comm: {_COMM} "
               r"(?:Tainted|Not tainted|Kdump)"),
    re.compile(r"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at "),
)  # fmt: skip
_HINTS = (
    # mm/kasan/report.c, kernel/locking/lockdep.c, kernel/sched/core.c, mm/page_alloc.c
    re.compile(rf".{{1,80}} by task {_COMM}/(?P<pid>\d+)$"),
    re.compile(rf"{_COMM}/(?P<pid>\d+)(?: \[[^\]]{{1,60}}\])? "
               r"(?:is trying to|just changed|takes:|is freeing|is leaving)"),
    re.compile(rf"BUG: scheduling while atomic: {_COMM}/(?P<pid>\d+)/0x"),
    re.compile(rf"in_atomic\(\): .{{1,120}}, pid: (?P<pid>\d+), name: {_COMM}$"),
    re.compile(rf"BUG: .{{1,80}} on CPU#(?P<cpu>\d+), {_COMM}/(?P<pid>\d+)$"),
    re.compile(r"NMI backtrace for cpu (?P<cpu>\d+)"),
    re.compile(rf"(?:kmemleak: )?\s+comm \"?{_COMM}\"?, pid (?P<pid>\d+),? "),
    re.compile(rf"BUG: Bad page (?:state|map|cache) in process {_COMM} {{1,2}}(?:pfn|pte|pmd|pud)"),
    re.compile(rf"BUG: Bad rss-counter .{{1,120}} Comm:{_COMM} Pid:(?P<pid>\d+)"),
)  # fmt: skip
# One look that most lines fail.
_QUICK = re.compile(
    r"CPU|cpu|by task|pid|PID|INFO: |BUG: |rcu: |is (?:trying|leaving|freeing)|changed|takes:|\t\d"
)


@dataclass(frozen=True)
class Place:
    """``task`` is ``comm/pid``, or what is known of it; ``cpu`` None where no line tells it."""

    cpu: int | None
    task: str


def place(lines: Iterable[str], caller: str = "") -> Place:
    """Where a report happened.

    :param lines: the report's lines.
    :param caller: printk's caller of the report, ``T123`` or ``C1``.
    """
    kept = [text[:600] for text in lines if _QUICK.search(text)]
    stuck, comm, pid = _first(_facts(kept, _STUCK))
    if stuck is not None or pid:
        if not pid:  # who was running there is told by its own stack dump
            own = (fact for fact in _facts(kept, _NAMED) if fact[0] == stuck)
            _, comm, pid = _first(own)
        return Place(stuck, _task(comm, pid))
    for rows in (_NAMED, _HINTS):
        cpu, comm, pid = _first(_facts(kept, rows))
        if cpu is not None or comm or pid:
            break
    if cpu is None and caller[:1] == "C" and caller[1:].isdigit():
        cpu = int(caller[1:])
    if not pid and not comm and caller[:1] == "T":
        pid = caller[1:]
    return Place(cpu, _task(comm, pid))


def _task(comm: str, pid: str) -> str:
    return f"{comm}/{pid}" if comm and pid else comm or pid


def _facts(
    lines: list[str], rows: tuple[re.Pattern[str], ...]
) -> Iterator[tuple[int | None, str, str]]:
    for text in lines:
        for row in rows:
            if match := row.match(text):
                groups = match.groupdict()
                cpu = groups.get("cpu")
                number = int(cpu) if cpu and len(cpu) < 7 else None
                yield number, (groups.get("comm") or "").strip(), groups.get("pid") or ""


def _first(found: Iterator[tuple[int | None, str, str]]) -> tuple[int | None, str, str]:
    """The first CPU, and the first task that has a name, of the facts found."""
    cpu, comm, pid = None, "", ""
    for number, name, task in found:
        cpu = number if cpu is None else cpu
        # The same task with its name, or another one only where none was known.
        if not comm and (not pid or task == pid):
            comm, pid = name, task or pid
    return cpu, comm, pid
