# SPDX-License-Identifier: GPL-2.0-only
"""Bring the kernel down in the way that is asked for, and say so when it survived."""

import os
import sys
import time

DIRECT = "/sys/kernel/debug/provoke-crash/DIRECT"
PATIENCE = 90


def write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)
    os.write(file, text.encode())
    os.close(file)


def crash(word: str) -> None:
    """A word of the kernel's own crash generator; the process may not come back from it."""
    write(DIRECT, word)


def detached(word: str) -> None:
    """The same in a child that may hang, while the workload itself waits for what is printed."""
    if os.fork() == 0:
        crash(word)
        os._exit(0)


def hung_task() -> None:
    write("/proc/sys/kernel/hung_task_timeout_secs", "2")
    write("/proc/sys/kernel/hung_task_check_interval_secs", "1")
    detached("HUNG_TASK")
    time.sleep(6)


def out_of_memory() -> None:
    """In a child, so that the workload outlives it; there is no swap in this guest.

    A second kill while the first one's pages still go back would take whoever is next in size, so
    the child is the only one that is offered.
    """
    write("/proc/self/oom_score_adj", "-1000")
    if os.fork() == 0:
        write("/proc/self/oom_score_adj", "1000")
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * (16 << 20))
    os.wait()


def both_interrupted() -> None:
    """Two reports at once, one a CPU: each must come out whole."""
    for cpu in range(2):
        if os.fork() == 0:
            os.sched_setaffinity(0, {cpu})
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                pass
            crash("WARNING_MESSAGE" if cpu else "WARNING")
            os._exit(0)
    os.wait()
    os.wait()


def stay(word: str) -> None:
    crash(word)
    time.sleep(PATIENCE)


def rcu_stall() -> None:
    """One CPU stands still, and the other asks for a grace period: each exit of a task does."""
    if os.fork() == 0:
        os.sched_setaffinity(0, {1})
        crash("HARDLOCKUP")
    os.sched_setaffinity(0, {0})
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        time.sleep(0.05)


def two(first: str, second: str) -> None:
    """Two that wait for each other, each on a CPU of its own."""
    if os.fork() == 0:
        os.sched_setaffinity(0, {1})
        crash(second)
        os._exit(0)
    os.sched_setaffinity(0, {0})
    crash(first)


def network_loss() -> None:
    down = ["busybox", "ip", "link", "set", "eth0", "down"]
    os.spawnv(os.P_WAIT, "/bin/busybox", down)
    time.sleep(PATIENCE)


KINDS = {
    "good": lambda: None,
    "hung-task": hung_task,
    "oom": out_of_memory,
    "two-at-once": both_interrupted,
    "soft-lockup": lambda: stay("SOFTLOCKUP"),
    "rcu-stall": rcu_stall,
    "freeze": lambda: stay("FREEZE"),
    "spin-order": lambda: two("SPIN_ORDER", "SPIN_ORDER_OTHER"),
    "mutex-rwsem": lambda: two("MUTEX_RWSEM", "RWSEM_MUTEX"),
    "network-loss": network_loss,
    "qemu-killed": lambda: time.sleep(PATIENCE),
    "spinlock": lambda: detached("SPINLOCKUP") or time.sleep(3),
}

what = sys.argv[1]
print(f"KTAP version 1\n1..1\n# random {os.urandom(16).hex()}", flush=True)
KINDS.get(what, lambda: crash(what))()
print("ok 1 survived", flush=True)
