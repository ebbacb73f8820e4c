# SPDX-License-Identifier: GPL-2.0-only
"""What the chaos campaign does to a lab at work: signals, damaged files, full disks, no memory.

Each kind of harm is one function and has a name by which an entry of tools/chaos_table.py asks for
it.  All of it happens within a mount namespace and on copies: see tools/chaos_ground.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

#: How long a stopped process stays so (s).
PAUSE = 3.0
_SIGNALS = {
    "kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM, "stop": signal.SIGSTOP,
}  # fmt: skip


def members(group: Path) -> Iterator[tuple[int, list[str]]]:
    """The processes of a control group, whatever became of their parents; no zombies.

    :param group: its folder (cgroups(7)): by it orphans are told, since nobody leaves one unasked.
    """
    for line in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):
            words = Path("/proc", line, "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0]:
                yield int(line), words


def victims(group: Path, lab: int, name: str) -> list[int]:
    """The processes that an entry names: ``lab`` is the one that was started, else a program.

    A script has its interpreter's name before its own.
    """
    if name == "lab":
        return [lab]
    return [pid for pid, words in members(group) if pid != lab and _program(words).startswith(name)]


def _program(words: list[str]) -> str:
    first, *others = (Path(word).name for word in words[:2])
    return others[0] if others and first.startswith(("perl", "python", "sh")) else first


def strike(pids: list[int], how: str) -> None:
    """Send a signal; a stopped process goes on after a while."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, _SIGNALS[how])
    if how == "stop":
        time.sleep(PAUSE)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def catches_sigterm(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM by now (proc_pid_status(5), SigCgt)."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    """One bit in the middle, the file's times kept: no look at them can tell."""
    at = path.stat()
    with path.open("r+b") as file:
        file.seek(at.st_size // 2)
        byte = file.read(1)
        file.seek(at.st_size // 2)
        file.write(bytes([byte[0] ^ 1]) if byte else b"")
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _rubbish(path: Path) -> None:
    path.write_bytes(b"\0not what you think\xff" * 40)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut": _cut, "flip": _flip, "empty": _empty, "remove": _remove, "rubbish": _rubbish,
}  # fmt: skip


def damage(root: Path, pattern: str, how: str) -> int:
    """Damage what a pattern finds; gives how many files that were."""
    # Some are reached by a link besides.
    paths = sorted({path.resolve() for path in root.glob(pattern)})
    found = [path for path in paths if how == "remove" or path.is_file()]
    for path in found:
        DAMAGE[how](path)
    return len(found)


def small_disk(folder: Path, size: str) -> None:
    """Have a folder lie on a disk of its own; ``ro``: on one that cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    options = "size=1m,ro" if size == "ro" else f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, timeout=9)


def fill(folder: Path, leave: int) -> None:
    """Fill a disk up to some bytes, as another program beside the lab would."""
    room = shutil.disk_usage(folder).free - leave
    with suppress(OSError), (folder / "filled-by-another").open("wb", buffering=0) as file:
        while room > 0:
            room -= file.write(bytes(min(room, 1 << 20)))


def limits(memory: str, files: str) -> list[str]:
    """Words before a command that bound each process's address space or open files."""
    words = [f"--as={memory}"] if memory else []
    words += [f"--nofile={files}"] if files else []
    return ["prlimit", *words] if words else []


def clock(shift: str) -> list[str]:
    """Words before a command that have it, and what it starts, see another time of day.

    libfaketime (Debian's package faketime): ``+2d`` for two days ahead.  The monotonic clock is
    turned too, which no real jump does; with FAKETIME_DONT_FAKE_MONOTONIC version 0.9.10 makes
    Python's time.sleep() fail with EINVAL (clock_nanosleep() of that clock).
    """
    return ["faketime", "-f", shift] if shift else []
