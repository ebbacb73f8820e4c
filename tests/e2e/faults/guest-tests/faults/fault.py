# SPDX-License-Identifier: GPL-2.0-only
"""What a guest can do to its lab, one fault a name.  Each must cost one workload."""

import sys
import time
from pathlib import Path


def sysrq(key: str) -> None:
    print("KTAP version 1\n1..1", flush=True)
    with Path("/proc/sysrq-trigger").open("w") as trigger:
        trigger.write(key)
    time.sleep(60)


def good() -> None:
    print("KTAP version 1\n1..1\nok 1 runs")


def hang() -> None:
    print("KTAP version 1\n1..1", flush=True)
    time.sleep(3600)


def truncated() -> None:
    print("KTAP version 1\n1..3\nok 1 runs")


def warn() -> None:
    """A line in the kernel log that looks like a report, from user space: no report at all."""
    with Path("/dev/kmsg").open("w") as log:
        log.write("lab fault: this text only mentions BUG: in its middle\n")
    good()


faults = {
    "panic": lambda: sysrq("c"),
    "reset": lambda: sysrq("b"),
    "good": good,
    "hang": hang,
    "truncated": truncated,
    "warn": warn,
}
faults[sys.argv[1]]()
