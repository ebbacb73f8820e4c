# SPDX-License-Identifier: GPL-2.0-only
"""The machine's memory: whether there is room for another guest."""

from __future__ import annotations

import re
from pathlib import Path

# MiB that stay free when a further guest is started.
SPARE_MIB = 1024


def memory_for(mib: int) -> bool:
    """Whether the host has memory for another guest of so many MiB, and some to spare."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return found is not None and int(found[1]) >> 10 > mib + SPARE_MIB
