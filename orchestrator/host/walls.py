# SPDX-License-Identifier: GPL-2.0-only
"""Walls around what the lab runs for others: a guest's QEMU, and the builds of trees under test.

Each is words that stand before a command (``around`` of :mod:`.process`): limits by prlimit(1),
another user by setpriv(1), a file system to read only and no network by bwrap(1).  Which of them
stand is lab.yaml's, and holds for the whole process (:func:`put_up`): a wall that each caller had
to hand on is one that somebody forgets.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.tools import install_command
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import ShapeSpec
from orchestrator.model.walls import BUBBLEWRAP, WallsSpec

_MIB = 1 << 20
#: What QEMU maps beside the guest's memory, in MiB: emulated code (1024 at most: QEMU's
#: accel/tcg/region.c, 7.2), its own libraries, a stack and a heap of 64 a thread.
QEMU_MIB = 3072
#: What QEMU may write to one file beside a dump of the guest's memory or its swap, in MiB: the
#: console's log.
QEMU_FILE_MIB = 1024
#: Hours of processor time that each of a guest's CPUs may use before QEMU is ended.
QEMU_HOURS = 24
#: What a build may write to one file, in MiB; vmlinux.o with debug information has 1500.
BUILD_FILE_MIB = 8192
#: Processes and threads of the user that builds run as, or in a fence.
BUILD_PROCESSES = 4096
#: Its /tmp, in MiB.
_TMP_MIB = 2048
_CHOWN_DEADLINE = 600.0


@dataclass(frozen=True)
class Limits:
    """Of one process: address space and size of a file in MiB, seconds of processor time; and of
    all processes of its user the number, 0 for no limit."""

    memory_mib: int
    file_mib: int
    seconds: int
    processes: int = 0

    def words(self) -> tuple[str, ...]:
        """What stands before a command for them; no core file is written in any case."""
        hard = self.seconds + 5  # SIGXCPU first, SIGKILL then (setrlimit(2))
        words = ["prlimit", "--core=0", f"--as={self.memory_mib * _MIB}",
                 f"--fsize={self.file_mib * _MIB}", f"--cpu={self.seconds}:{hard}"]  # fmt: skip
        return (*words, *([f"--nproc={self.processes}"] if self.processes else []), "--")


@dataclass(frozen=True)
class Around:
    """What stands around a command: words before it, and what its environment has besides."""

    words: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


_spec = WallsSpec()


def put_up(spec: WallsSpec) -> None:
    """Have these walls from now on, for all that this process starts.

    :raises UserError: for a user that there is not, or as whom nothing shall run.
    :raises HostError: when this host cannot have them.
    """
    global _spec
    if spec.run_as:
        user = _user(spec.run_as)
        if user.pw_uid != os.geteuid() and os.geteuid() != 0:
            raise HostError(
                f"run_as: {spec.run_as}: only root can run programs as another user",
                f"run the lab as root, or as {spec.run_as}",
            )
    if spec.build_sandbox == BUBBLEWRAP and not bubblewrap_works():
        raise HostError(
            "build_sandbox: bubblewrap does not work on this host",
            f"{install_command(('bubblewrap',))}, and see `lab doctor`",
        )
    _spec = spec


def standing() -> WallsSpec:
    """Which walls stand."""
    return _spec


@functools.cache
def bubblewrap_works() -> bool:
    """Whether bwrap shuts a program in here."""
    with contextlib.suppress(process.ToolMissing):
        words = _fence((), ())
        return process.run([*words, "true"], deadline=120, check=False).status == 0
    return False


# ---------------------------------------------------------------- guests


def guest_limits(shape: ShapeSpec) -> Limits:
    """What QEMU may use for a guest of this shape."""
    return Limits(
        memory_mib=shape.memory_mib + QEMU_MIB,
        file_mib=max(shape.memory_mib, shape.swap_disk_mib) + QEMU_FILE_MIB,
        seconds=QEMU_HOURS * 3600 * shape.cpus,
    )


def around_guest(shape: ShapeSpec, own: Iterable[Path], read: Iterable[Path]) -> Around:
    """The walls of a guest's QEMU.

    :param own: the folder and files that it writes: its user's from now on.
    :param read: the files that it reads by their paths.
    :raises HostError: when its user cannot reach one of them.
    """
    _give(own)
    _refuse_unreachable((*own, *read))
    return Around((*guest_limits(shape).words(), *_as_user()))


# ---------------------------------------------------------------- builds


def around_build(
    seconds: float,
    writes: Sequence[Path],
    reads: Sequence[Path] = (),
    *,
    stores: Sequence[Path] = (),
    fenced: bool,
) -> Around:
    """The walls of a build: make, and all that a tree's Makefiles have it run.

    :param seconds: processor time that each of its processes may take.
    :param writes: the folders that it may write to.
    :param reads: the folders and files of the lab's that it reads.
    :param stores: folders that builds share (ccache's): a fenced one only reads them, or it could
        leave there what another build takes for its own.
    :param fenced: with no network and nothing else to write to, see :meth:`.WallsSpec.fences`.
    :raises HostError: when the build's user cannot reach its folders.
    """
    for folder in (*writes, *(() if fenced else stores)):
        folder.mkdir(parents=True, exist_ok=True)
        _give_all(folder)
    _refuse_unreachable((*writes, *reads, *stores))
    apart = BUILD_PROCESSES if fenced or _other() else 0
    limits = Limits(_memory_mib(), BUILD_FILE_MIB, max(1, round(seconds)), apart)
    words = (*limits.words(), *_as_user())
    if fenced:
        env = {"HOME": "/tmp", "TMPDIR": "/tmp", "CCACHE_READONLY": "1", "CCACHE_TEMPDIR": "/tmp"}
        return Around((*words, *_fence(writes, (*reads, *stores))), env)
    own = _own_temp()
    return Around(words, {"HOME": str(own), "TMPDIR": str(own)} if own else {})


def drop_links(objects: Path, names: Sequence[str]) -> None:
    """Remove what a build left right in its folder that is neither file nor folder: where a link
    leads the lab would write, and at a pipe it would wait.  Kbuild's own link, to its sources, is
    one that nobody follows.

    :param names: what the lab takes out of the folder next.
    :raises HostError: where one of these leads out of it, or is no file.
    """
    if not (_other() or _spec.fenced):
        return  # it could have written there itself
    top = objects.resolve()
    odd = [path for path in (objects / name for name in names)
           if not path.resolve().is_relative_to(top)
           or (path.exists() and not path.is_file())]  # fmt: skip
    for path in (*objects.iterdir(), *odd):
        plain = not path.is_symlink() and (path.is_dir() or path.is_file())
        if not plain and path != objects / "source":
            path.unlink(missing_ok=True)
    for path in odd:
        raise HostError(
            f"the build has put a link out of its folder, or no file, in the place of {path}",
            "no build does that by mistake: look at what the series does to Makefiles and scripts",
        )


def _fence(writes: Sequence[Path], reads: Sequence[Path]) -> tuple[str, ...]:
    """bwrap with a system to read only, of which the user's own files and all sockets of services
    are left out; ``writes`` and ``reads`` are back in their places, wherever they are."""
    words = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent",
             "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
             "--size", str(_TMP_MIB * _MIB), "--tmpfs", "/tmp"]  # fmt: skip
    home = os.environ.get("HOME", "")
    for hidden in ("/run", "/home", "/root", home):
        if hidden not in ("", "/") and Path(hidden).is_dir():
            words += ["--tmpfs", hidden]
    tools = [Path(name) for name in process.environment()["PATH"].split(os.pathsep)]
    for path in (*(tool for tool in tools if tool.is_dir()), *reads):
        words += ["--ro-bind-try", str(path), str(path)]
    for path in writes:
        words += ["--bind", str(path), str(path)]
    return (*words, "--")


@functools.cache
def _memory_mib() -> int:
    """All of the host's: what one process of a build can never need."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB


# ---------------------------------------------------------------- another user


def _user(name: str) -> pwd.struct_passwd:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise UserError(
            f"run_as: {name}: this host has no such user", f"adduser --system {name}"
        ) from None
    if user.pw_uid == 0:
        raise UserError("run_as: root is no wall", "name an unprivileged user, or leave it out")
    return user


def _other() -> pwd.struct_passwd | None:
    """The user to change to; None where that is who runs the lab."""
    user = _user(_spec.run_as) if _spec.run_as else None
    return user if user is not None and user.pw_uid != os.geteuid() else None


def _as_user() -> tuple[str, ...]:
    """Their groups are kept, /dev/kvm's may be among them; nothing can be gained any more."""
    user = _other()
    if user is None:
        return ()
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups",
            "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--")  # fmt: skip


def give_back(path: Path) -> None:
    """Make a file the lab's own again: its user has written to it for the last time."""
    if _other() is not None:
        with contextlib.suppress(OSError):
            os.chown(path, os.geteuid(), os.getegid())


def _give(paths: Iterable[Path]) -> None:
    user = _other()
    if user is None:
        return
    for path in paths:
        for each in (path, *(path.iterdir() if path.is_dir() else ())):
            try:
                os.chown(each, user.pw_uid, user.pw_gid, follow_symlinks=False)
            except OSError as error:
                raise HostError(
                    f"cannot give {each} to {user.pw_name}: {error.strerror}"
                ) from error


def _give_all(folder: Path) -> None:
    """A folder with all in it; one that is the user's already has nothing else that it writes."""
    user = _other()
    if user is not None and folder.stat().st_uid != user.pw_uid:
        words = ["chown", "-R", "-h", f"{user.pw_uid}:{user.pw_gid}", "--", str(folder)]
        process.run(words, deadline=_CHOWN_DEADLINE)


def _own_temp() -> Path | None:
    user = _other()
    if user is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=process.temp_folder()))
    os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def _refuse_unreachable(paths: Iterable[Path]) -> None:
    """:raises HostError: for the first folder on the way that keeps the user out."""
    user = _other()
    if user is None:
        return
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for folder in dict.fromkeys(above for path in paths for above in path.absolute().parents):
        info = folder.stat()
        may = (
            stat.S_IXUSR if info.st_uid == user.pw_uid
            else stat.S_IXGRP if info.st_gid in groups else stat.S_IXOTH
        )  # fmt: skip
        if not info.st_mode & may:
            raise HostError(
                f"run_as: {user.pw_name} may not enter {folder}",
                f"chmod o+x {folder}, or keep lab.yaml and the cache (LAB_CACHE) elsewhere",
            )
