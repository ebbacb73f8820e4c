# SPDX-License-Identifier: GPL-2.0-only
"""Whether a process gets the processor: a guest on a busy host is slow and not dead."""

from __future__ import annotations

import contextlib
from pathlib import Path

#: Time in which a guest had no CPU is not its own, up to so many times what was.
MOST = 4.0


def own_time(passed: float, starved: float) -> float:
    """How many of ``passed`` seconds were a guest's own, of which it had no CPU for ``starved``."""
    return max(passed - starved, passed / MOST)


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
