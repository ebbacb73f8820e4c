# SPDX-License-Identifier: GPL-2.0-only
"""A guest that has fallen silent: how dead it is, and what its kernel says of itself when asked.

Three ways to ask, each deeper than the one before: a command over SSH (needs user space, network,
scheduler), a break and a key on the serial console (needs a CPU that takes interrupts;
Documentation/admin-guide/sysrq.rst), and QEMU, which always knows where each CPU stands.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from enum import Enum

from orchestrator.guest.boot import Guest
from orchestrator.guest.ssh import SshLost
from orchestrator.host import process
from orchestrator.model.errors import HostError

# Blocked tasks, memory, held locks (of kernels with lockdep), all tasks: the last one is long.
KEYS = "wmdt"
ANSWER = 6.0
DUMPS = 30.0
# For the kernel to begin to answer on its console, and to end: seconds, for a fast guest.
REACTION = 2.0
OUTPUT = 5.0
# A kernel that will complain within so many seconds is waited for.
MOST_PATIENCE = 45.0
_SYSRQ = b"sysrq: "
_POLL = 0.02


class Dead(str, Enum):
    """How deep a guest that was asked is dead."""

    NOT = "it answers"
    SSH = "its kernel answers on the console, its SSH does not"
    KERNEL = "its kernel does not react to its console either"
    QEMU = "QEMU does not answer"


@dataclass(frozen=True)
class Asked:
    """What came of asking: how dead the guest is, and how many bytes its kernel said to it."""

    dead: Dead
    said: int = 0


def ask(guest: Guest) -> Asked:
    """Have a silent guest say what its tasks wait for: over SSH, else over its console.

    What it says is in its console log afterwards.
    """
    before = guest.console_size()
    words = "; ".join(f"echo {key} > /proc/sysrq-trigger" for key in KEYS)
    try:
        guest.ssh.run("true", ANSWER * guest.slowness)
    except SshLost:
        pass
    else:
        with contextlib.suppress(SshLost):  # many tasks take long over a serial line
            guest.ssh.run(words, DUMPS * guest.slowness)
        return Asked(Dead.NOT, guest.console_size() - before)
    if not guest.qemu.alive() or guest.qemu.stopped():
        return Asked(Dead.QEMU if not guest.qemu.alive() else Dead.KERNEL)
    for number, key in enumerate(KEYS):
        start = guest.console_size()
        try:
            guest.qemu.sysrq(key)
        except HostError:
            return Asked(Dead.QEMU, guest.console_size() - before)
        if not _answered(guest, start) and number == 0:
            return Asked(Dead.KERNEL)
        _await_quiet(guest)
    return Asked(Dead.SSH, guest.console_size() - before)


def _answered(guest: Guest, start: int) -> bool:
    until = time.monotonic() + REACTION * guest.slowness
    while _SYSRQ not in guest.console_bytes(start):
        if time.monotonic() > until:
            return False
        process.sleep(_POLL)
    return True


def _await_quiet(guest: Guest) -> None:
    """Wait until the console has said nothing for a quarter of a second."""
    until = time.monotonic() + OUTPUT * guest.slowness
    size, since = -1, time.monotonic()
    while time.monotonic() < until and time.monotonic() - since < 0.25 * guest.slowness:
        if guest.console_size() != size:
            size, since = guest.console_size(), time.monotonic()
        process.sleep(_POLL)


def patience(command_line: str) -> float:
    """Seconds after which this kernel reports a CPU that is stuck; 0 where that takes too long.

    A soft lockup is told after twice ``watchdog_thresh``, looked at five times in that time
    (kernel/watchdog.c); an RCU stall after ``rcu_cpu_stall_timeout`` (kernel/rcu/tree_stall.h).

    :param command_line: the kernel's.  The last of several values counts.
    """
    thresh = _last(r"\bwatchdog_thresh=(\d+)", command_line, 10.0)
    stall = _last(r"\brcupdate\.rcu_cpu_stall_timeout=(\d+)", command_line, 21.0)
    seconds = max(2.4 * thresh, stall) + 3.0
    return seconds if seconds <= MOST_PATIENCE else 0.0


def _last(pattern: str, text: str, default: float) -> float:
    found = re.findall(pattern, text)
    return float(found[-1]) if found else default
