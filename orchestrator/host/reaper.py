# SPDX-License-Identifier: GPL-2.0-only
"""A process of its own that kills everything a lab started once that lab is gone.

``python reaper.py [FOLDER] TOKEN`` reads its standard input, a pipe whose only writer is the lab,
and does nothing else until that pipe ends, which the kernel sees to even when the lab gets SIGKILL.
It then kills each process that carries ``LAB_TOKEN=TOKEN`` in its environment and removes the lab's
folder of temporary files.  PR_SET_PDEATHSIG would not do: it fires when the parent *thread* ends
and never reaches make's compilers (prctl(2)); a process group would miss whatever made a session of
its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

SWEEPS = 15
PAUSE = 0.1
MNT_DETACH = 2  # umount(2)


def carriers(token: str) -> list[int]:
    """Give the pids of all processes started with this token in their environment."""
    needle = b"LAB_TOKEN=" + token.encode() + b"\0"
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 (start-up time)
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123 (start-up time)
                if needle in file.read() + b"\0":
                    found.append(int(name))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def mounts_below(folder: str, table: str = "/proc/self/mounts") -> list[str]:
    """Give what is mounted in a folder, the innermost first (proc_pid_mounts(5))."""
    with open(table, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        points = [line.split(" ")[1] for line in file]
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in folder)
    return [point for point in reversed(points) if point.startswith(f"{escaped}/")]


def remove(folder: str) -> None:
    """Remove a folder; what a killed mmdebstrap has mounted there is the host's and stays."""
    mounts = mounts_below(folder)
    if mounts:
        import ctypes

        libc = ctypes.CDLL(None)
        for point in mounts:
            libc.umount2(os.fsencode(_unescaped(point)), MNT_DETACH)
    if not mounts_below(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _unescaped(point: str) -> str:
    for code in ("040", "011", "012", "134"):
        point = point.replace(f"\\{code}", chr(int(code, 8)))
    return point


def main() -> None:
    """Wait for the lab's end, then sweep until nothing is left.

    Several sweeps: a child caught between fork and exec shows its parent's environment, and a
    dying compiler may have started another just before.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    for _ in range(SWEEPS):
        for pid in carriers(sys.argv[-1]):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE)
    for folder in sys.argv[1:-1]:
        remove(folder)


if __name__ == "__main__":
    main()
