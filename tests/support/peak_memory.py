# SPDX-License-Identifier: GPL-2.0-only
"""The most memory that a program's own process has had resident."""

from __future__ import annotations

from pathlib import Path


def peak_kib() -> int:
    """KiB since the process became this program.

    Not getrusage()'s ``ru_maxrss``: execve() leaves in it what the process was before, and a child
    of vfork() was its parent (exec_mmap() of fs/exec.c, Linux 6.12: setmax_mm_hiwater_rss()).
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1])
