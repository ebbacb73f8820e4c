# SPDX-License-Identifier: GPL-2.0-only
"""Where the chaos campaign works: a copy of a warm cache, seen in the cache's own place.

Paths of a cache are in every object that was built there, so a copy elsewhere would be built anew.
The campaign therefore runs in a mount namespace of its own, where an overlay of the copy stands at
the cache's path: what an injection writes or damages is in a layer that is thrown away, and the
real cache is out of reach.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chaos_harm import small_disk
from marks import HOME

LAB_HOME = HOME / "tests" / "e2e" / "chaos"
#: What is copied of a cache: all that a run of one kernel on one architecture needs.
PARTS = (
    "kernels.git", "records", "kvm-probe-x86_64.json", "roots/x86_64*", "trees/debian-6.12*",
    "obj/debian-6.12-default-x86_64",
)  # fmt: skip
_IN_NAMESPACE = "LAB_CHAOS_NAMESPACE"


def enter_namespace(argv: list[str]) -> None:
    """Become a process with mounts of its own (unshare(1)), or go on where it is one.

    :raises SystemExit: where that cannot be had.
    """
    if os.environ.get(_IN_NAMESPACE) == "1":
        return
    if os.geteuid() != 0:
        raise SystemExit("chaos: mounts and control groups need root")
    words = ["unshare", "-m", "--propagation", "private", *argv]
    os.execvpe(words[0], words, {**os.environ, _IN_NAMESPACE: "1"})


def copy_cache(cache: Path, pristine: Path) -> None:
    """Copy what is needed of a warm cache, under the locks of its users; what is there stays."""
    for part in PARTS:
        for path in sorted(cache.glob(part)):
            target = pristine / path.relative_to(cache)
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                for lock in (path / ".lab-lock", path.with_name(f"{path.name}.lock")):
                    if path.is_dir() and lock.exists():
                        file = held.enter_context(lock.open("ab"))
                        fcntl.flock(file, fcntl.LOCK_SH)
                copy = target.with_name(f"{target.name}.copying")
                subprocess.run(["cp", "-a", path, copy], check=True, timeout=1200)
                copy.rename(target)


def bind(pristine: Path, cache: Path) -> None:
    """Show the copy itself in the cache's place, so that what a run makes there stays."""
    _run("mount", "--bind", str(pristine), str(cache))


@contextmanager
def bound(pristine: Path, cache: Path) -> Iterator[None]:
    """:func:`bind`, for a while."""
    bind(pristine, cache)
    try:
        yield
    finally:
        _run("umount", "--lazy", str(cache))


@dataclass(frozen=True)
class Ground:
    """What one injection works on: the folders of a lab, and the control group of all it starts."""

    folder: Path
    cache: Path
    group: Path

    @property
    def home(self) -> Path:
        """Where its lab.yaml is."""
        return self.folder / "home"

    @property
    def reports(self) -> Path:
        """Its reports."""
        return self.home / "reports"

    @property
    def tmp(self) -> Path:
        """Its TMPDIR."""
        return self.folder / "tmp"

    def place(self, name: str) -> Path:
        """A folder by the name that an entry has for it."""
        return {"cache": self.cache, "reports": self.reports, "tmp": self.tmp}[name]


@contextmanager
def ground(folder: Path, pristine: Path, cache: Path, disks: dict[str, str]) -> Iterator[Ground]:
    """Make the ground of an injection; of it nothing but its logs stays.

    :param disks: sizes of disks that are to be small, by the name of what lies there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    group = _control_groups() / f"lab-chaos-{os.getpid()}"
    made = Ground(folder, cache, group)
    for path in (made.home, made.tmp, made.reports):
        path.mkdir(parents=True)
    for entry in LAB_HOME.iterdir():
        if entry.name != "reports":
            (made.home / entry.name).symlink_to(entry)
    layers = folder / "layers"
    layers.mkdir()
    group.mkdir(exist_ok=True)
    with ExitStack() as stack:
        # A disk for the layer alone: its room is the cache's.
        _mount(stack, layers, disks.get("layers", "4g"))
        (layers / "upper").mkdir()
        (layers / "work").mkdir()
        options = f"lowerdir={pristine},upperdir={layers}/upper,workdir={layers}/work"
        if disks.get("cache") == "ro":
            options += ",ro"
        options += ",redirect_dir=on"
        _run("mount", "-t", "overlay", "-o", options, "overlay", str(cache))
        stack.callback(_run, "umount", "--lazy", str(cache))
        for name in ("reports", "tmp"):
            if name in disks:
                _mount(stack, made.place(name), disks[name])
        try:
            yield made
        finally:
            with suppress(OSError):
                group.rmdir()


def _mount(stack: ExitStack, folder: Path, size: str) -> None:
    small_disk(folder, size)
    stack.callback(_run, "umount", "--lazy", str(folder))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, timeout=20)


def _control_groups() -> Path:
    """Where the unified hierarchy of control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2":
            return Path(words[1])
    raise SystemExit("chaos: no control groups of version 2 are mounted")
