# SPDX-License-Identifier: GPL-2.0-only
"""The tasks that a kernel lists as blocked (SysRq w): who waits, for what kind of lock, and where.

show_state_filter() in kernel/sched/core.c of v6.12 prints each task in state D with its trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.evidence.klog import guilt
from orchestrator.evidence.klog.frames import FRAME
from orchestrator.evidence.klog.lines import read
from orchestrator.evidence.klog.roles import plain_function

_BEGIN = "sysrq: Show Blocked State"
_TASK = re.compile(r"task:(?P<comm>.{1,60}?)\s+state:(?P<state>\S)\b.*?\bpid:(?P<pid>\d+)")
_MAX_LINES = 60

#: Kinds of locks that are slept for, by the functions in which that is done (kernel/locking,
#: mm/filemap.c of v6.12).
LOCKS = (
    ("a mutex", re.compile(r"_*(?:ww_)?mutex_lock\w*")),
    ("an rwsem", re.compile(r"rwsem_down_\w+|_*down_(?:read|write)\w*|percpu_rwsem_wait")),
    ("a semaphore", re.compile(r"_*down(?:_common|_timeout|_killable|_interruptible)?")),
    ("a folio's lock", re.compile(r"_*folio_lock\w*|_*lock_page\w*")),
    ("an rt_mutex", re.compile(r"rt_mutex_\w+|_*rt_mutex\w*")),
)
# Who wakes these is user space, a timer or a disk, and not a lock's owner: kernel/{fork,freezer}.c,
# fs/{userfaultfd.c,fuse,coredump.c}, kernel/time/sleep_timeout.c.
_ELSEWHERE = re.compile(
    r"handle_userfault|wait_for_vfork_done|_*refrigerator|request_wait_answer|coredump_\w+"
    r"|do_coredump|msleep\w*|usleep_range\w*|schedule_timeout_uninterruptible"
    r"|schedule_hrtimeout\w*|do_nanosleep|ptrace_\w+|wait_for_completion_\w*timeout|io_schedule\w+"
)


@dataclass(frozen=True)
class Blocked:
    """A task in state D: its trace, the function that waits (``blamed``), and for what lock."""

    pid: int
    comm: str
    trace: tuple[str, ...]
    blamed: str = ""
    lock: str = ""
    elsewhere: bool = False


def blocked_tasks(console: str) -> tuple[tuple[Blocked, ...], ...]:
    """The tasks of each list of blocked ones in a console's text, in its order."""
    lists: list[list[tuple[int, str, list[str]]]] = []
    open_one: list[str] | None = None
    for line in read(console.split("\n")):
        text = line.text
        if text.startswith("sysrq: "):
            open_one = None
            if text.startswith(_BEGIN):
                lists.append([])
            continue
        if not lists:
            continue
        if match := _TASK.match(text):
            open_one = []
            if match["state"] == "D":
                lists[-1].append((int(match["pid"]), match["comm"], open_one))
        elif open_one is not None and len(open_one) < _MAX_LINES and text.startswith((" ", "Call")):
            open_one.append(text)
        else:
            open_one = None
    return tuple(tuple(_blocked(*task) for task in tasks) for tasks in lists)


def _blocked(pid: int, comm: str, lines: list[str]) -> Blocked:
    frames = [match for line in lines if (match := FRAME.match(line))]
    names = [plain_function(match["func"]) for match in frames if not match["guess"]]
    lock = next((what for name in names for what, at in LOCKS if at.fullmatch(name)), "")
    return Blocked(
        pid=pid,
        comm=comm,
        trace=tuple(line for line in lines if FRAME.match(line)),
        blamed=guilt.guilty(lines, kind="hung-task"),
        lock=lock,
        elsewhere=any(_ELSEWHERE.fullmatch(name) for name in names),
    )
