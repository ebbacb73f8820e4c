# SPDX-License-Identifier: GPL-2.0-only
"""What is counted of a run of the lab, and of a worker between two runs."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench_peers import itself
from marks import LAB

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.survey import disk_size

#: How long a lab's processes have until the last is gone (s), and how often one is looked at.
GRACE, _LOOK, _SURE = 10.0, 0.05, 3
#: prctl(2): who has no parent any more becomes a child of this process.
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Place:
    """A lab of the campaign's own: a folder with lab.yaml, a cache, reports, and a TMPDIR."""

    folder: Path

    @property
    def project(self) -> Path:
        """Where the lab is started."""
        return self.folder / "project"

    @property
    def reports(self) -> Path:
        """Where its runs are stored."""
        return self.project / "reports"

    @property
    def cache(self) -> Cache:
        """Its cache, the large parts of which are links to the user's."""
        return Cache(self.folder / "cache")

    @property
    def tmp(self) -> Path:
        """The TMPDIR of all that it starts."""
        return self.folder / "tmp"

    def environment(self, **more: str) -> dict[str, str]:
        """That of a lab here; nothing of the user's cache is trimmed by it."""
        return {
            **os.environ, "LAB_CACHE": str(self.cache.folder), "LAB_CACHE_BUDGET": "500G",
            "TMPDIR": str(self.tmp), **more,
        }  # fmt: skip


def adopt_orphans() -> None:
    """Have what a lab leaves behind become children of this process, so that none is missed.

    :raises OSError: when the kernel does not let it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def below(pid: int) -> dict[int, str]:
    """All processes below one, each with its name; zombies are reaped where they are ours."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(") ")
        except OSError:
            continue
        one, parent, state = int(path.parent.name), int(rest.split()[1]), rest.split()[0]
        if state == "Z":
            if parent == pid and pid == os.getpid():
                reap(one)
            continue
        names[one] = head.partition("(")[2]
        children.setdefault(parent, []).append(one)
    found, left = {}, list(children.get(pid, []))
    while left:
        one = left.pop()
        found[one] = names[one]
        left += children.get(one, [])
    return found


def reap(pid: int) -> None:
    """Take a zombie of ours away, unless it is waited for elsewhere."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def run(
    place: Place, words: Sequence[str], deadline: float, known: Collection[int]
) -> dict[str, float]:
    """One run of the lab as a user starts it, and what it took and left.

    :param known: processes that may be there afterwards.
    :raises subprocess.TimeoutExpired: when it does not end.
    """
    began, memory = time.monotonic(), 0.0
    log = place.folder / "soak.log"
    with log.open("ab") as out:
        out.write(f"\n$ lab {shlex.join(words)}\n".encode())
        out.flush()
        lab = subprocess.Popen(
            [str(LAB), *words], cwd=place.project, env=place.environment(),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            while lab.poll() is None:
                memory = (itself(lab.pid) or (memory, 0.0))[0]
                if time.monotonic() - began > deadline:
                    raise subprocess.TimeoutExpired(lab.args, deadline)
                time.sleep(_LOOK)
        finally:
            if lab.poll() is None:
                os.killpg(lab.pid, signal.SIGKILL)
                lab.wait()
    wall = time.monotonic() - began
    left = left_of(known)
    return {"status": lab.returncode, "seconds": wall, "memory": memory,
            "processes": len(left), **disk(place)}  # fmt: skip


def left_of(known: Collection[int]) -> dict[int, str]:
    """Processes that are still there after their time to go, beside those that may be."""
    until, nothing = time.monotonic() + GRACE, 0
    while True:
        left = {pid: name for pid, name in below(os.getpid()).items() if pid not in known}
        # One that forks while it is looked for is not seen: that nobody is there, is seen thrice.
        nothing = 0 if left else nothing + 1
        if nothing == _SURE or time.monotonic() > until:
            return left
        time.sleep(0.1)


def disk(place: Place) -> dict[str, float]:
    """What lies on the disk: MB of the cache, of the newest run, of what is beside the runs."""
    runs = sorted(path.parent for path in place.reports.glob("*/results.json")
                  if not path.parent.is_symlink())  # fmt: skip
    beside = disk_size(place.reports) - sum(map(disk_size, runs))
    return {
        "cache": disk_size(place.cache.folder) / 1e6,
        "run": disk_size(runs[-1]) / 1e6 if runs else 0.0,
        "beside": beside / 1e6,
        "temporary": float(count(place.tmp) + count(place.cache.tmp)),
    }


def count(folder: Path) -> int:
    """How many things lie in a folder; none in one that is not there."""
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def of_worker(pid: int, cache: Cache, tmp: Path) -> dict[str, float]:
    """A worker between two runs: MB that it has, its open descriptors, its threads, its disk."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "worker_memory": int(fields["VmRSS"].split()[0]) * 1024 / 1e6,
        "worker_descriptors": float(count(Path(f"/proc/{pid}/fd"))),
        "worker_threads": float(fields["Threads"]),
        "worker_cache": disk_size(cache.folder) / 1e6,
        "worker_temporary": float(count(tmp) + count(cache.tmp)),
    }


@contextmanager
def started(place: Place, name: str, words: Sequence[str], cache: Path, tmp: Path) -> Iterator[int]:
    """A scheduler or worker that is there for the length of a with block; gives its process id."""
    tmp.mkdir(parents=True, exist_ok=True)
    environment = place.environment(LAB_CACHE=str(cache), TMPDIR=str(tmp))
    with (place.folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [str(LAB), *words], cwd=place.project, env=environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)
