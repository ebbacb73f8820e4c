# SPDX-License-Identifier: GPL-2.0-only
"""Whether a process gets the processor: a guest on a busy host is slow and not dead."""

from __future__ import annotations

import contextlib
from pathlib import Path


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
