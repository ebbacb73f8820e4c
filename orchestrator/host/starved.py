# SPDX-License-Identifier: GPL-2.0-only
"""Whether a process gets the processor: a guest on a busy host is slow and not dead."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Time in which a guest had no CPU is not its own, up to so many times what was.
MOST = 4.0


def own_time(passed: float, starved: float) -> float:
    """How many of ``passed`` seconds were a guest's own, of which it had no CPU for ``starved``."""
    return max(passed - starved, passed / MOST)


@dataclass(frozen=True)
class HostTime:
    """What a guest has had of the host's CPUs since its start, in seconds: for how long it stood
    ready and had none, and how long each of its CPUs ran."""

    starved: float = 0.0
    ran: Mapping[int, float] = field(default_factory=dict)

    def own(self, passed: float, before: HostTime) -> float:
        """How many of ``passed`` seconds, which began ``before``, were the guest's own.

        A CPU of its own that ran says so, even where another one had to wait.
        """
        ran = max((seconds - before.ran.get(cpu, seconds) for cpu, seconds in self.ran.items()),
                  default=0.0)  # fmt: skip
        return max(own_time(passed, self.starved - before.starved), min(ran, passed))


def waited_for_cpu(pid: int) -> float:
    """Seconds that a process stood ready and had no CPU: of its threads the one that had most.

    The second number of /proc/PID/task/TID/schedstat, in nanoseconds
    (Documentation/scheduler/sched-stats.rst); 0 where the process is gone or the host keeps none.
    """
    most = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            most = max(most, int(path.read_text("ascii").split()[1]))
    return most / 1e9


def ran(pid: int, thread: int) -> float:
    """Seconds of CPU time that a thread of a process has had, the first number of its schedstat.

    0 where it is gone or the host keeps none.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text("ascii")
        return int(text.split()[0]) / 1e9
    return 0.0
