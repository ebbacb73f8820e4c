# SPDX-License-Identifier: GPL-2.0-only
"""Run a program of a tree under test on the host, shut in as far as the host allows without root.

With bubblewrap it has no network, no other processes, a file system that it can read and not write,
and a /tmp of its own; with unshare(1) the same but for the file system; where user namespaces are
forbidden, its limits and its deadline alone, and that is told.  It is niced, so that it can run
beside a build.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process

BUBBLEWRAP, UNSHARE, NOTHING = "bubblewrap", "unshare", ""

#: What a sandbox that is none says of itself.
BARE = (
    "not shut in: this host has neither bubblewrap nor user namespaces, so the programs could reach"
    " the network and this user's files; only their limits and their time hold"
)

#: How many times its processor time a program may take by the clock.
PATIENCE = 4

# Where the programs' folder is inside; the /tmp around it is the program's own.
_INSIDE = "/tmp/lab"
_MIB = 1 << 20
_FILE_MIB = 64
_TMP_MIB = 256
# From $1, a folder, to its place in a new /tmp; then the program, not as the first process: the
# kernel keeps signals without a handler from that one (pid_namespaces(7)).
_IN_UNSHARE = (
    f'mount -t tmpfs -o size={_TMP_MIB}m tmpfs /mnt && mkdir /mnt/lab && mount --bind "$1" /mnt/lab'
    ' && mount --move /mnt /tmp && cd /tmp && shift && { "$@"; exit $?; }'
)


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds of processor time, memory (MiB), processes and threads.

    By the clock it may take :data:`PATIENCE` times as long: niced, it waits for others.
    ``address_space`` is False for a program that reserves far more memory than it uses, as one
    with sanitizers does; its resident memory is then the sanitizer's to watch.
    """

    seconds: float
    memory_mib: int
    processes: int
    address_space: bool = True


@dataclass(frozen=True)
class Ended:
    """A program that ended: its status as a shell gives it (128 + signal), None where it was
    killed since its time was over; what it printed, and the seconds it took."""

    status: int | None
    output: str
    seconds: float


@functools.cache
def kind() -> str:
    """What shuts programs in on this host: :data:`BUBBLEWRAP`, :data:`UNSHARE` or nothing.

    :raises HostError: where the host is too busy to tell.
    """
    for name in (BUBBLEWRAP, UNSHARE):
        with contextlib.suppress(process.ToolMissing):
            words = _shut_in(name, Path("/usr"), ("true",))
            if process.run(words, deadline=120, check=False).status == 0:
                return name
    return NOTHING


def run(
    folder: Path,
    words: Sequence[str],
    limits: Limits,
    log: Path,
    env: dict[str, str] | None = None,
) -> Ended:
    """Run a program of ``folder`` to its end; whatever it started dies with it.

    :param words: the program below the folder, and its arguments.
    :param log: gets what it prints, as it comes.
    :raises HostError: when it cannot be started.
    """
    how = kind()
    program = f"{_INSIDE if how else folder}/{words[0]}"
    limited = (*_limits(limits, how), program, *words[1:])
    argv = ("nice", "-n", "10", *_shut_in(how, folder, limited))
    log.unlink(missing_ok=True)
    own = {"HOME": "/tmp", "TMPDIR": "/tmp"} if how else {}
    try:
        done = process.run(
            argv,
            deadline=limits.seconds * PATIENCE,
            cwd=folder,
            env={**own, **(env or {})},
            log=log,
            check=False,
        )
    except process.DeadlineExpired:
        return Ended(None, _text(log), limits.seconds * PATIENCE)
    status = 128 - done.status if done.status < 0 else done.status
    over = status == 128 + signal.SIGXCPU
    return Ended(None if over else status, _text(log), done.seconds)


def _text(log: Path) -> str:
    try:
        return log.read_text("utf-8", "replace")
    except OSError:
        return ""


def _limits(limits: Limits, how: str) -> tuple[str, ...]:
    cpu = max(1, round(limits.seconds))
    words = ["prlimit", "--core=0", f"--cpu={cpu}:{cpu + 5}", f"--fsize={_FILE_MIB * _MIB}"]
    if limits.address_space:
        words.append(f"--as={limits.memory_mib * _MIB}")
    if how:  # elsewhere all other processes of the user would count
        words.append(f"--nproc={limits.processes}")
    return (*words, "--")


def _shut_in(how: str, folder: Path, words: Sequence[str]) -> tuple[str, ...]:
    if how == BUBBLEWRAP:
        return (
            "bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session",
            "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
            "--size", str(_TMP_MIB * _MIB), "--tmpfs", "/tmp", "--ro-bind", str(folder), _INSIDE,
            "--chdir", "/tmp", "--", *words,
        )  # fmt: skip
    if how == UNSHARE:
        return (
            "unshare", "--user", "--map-root-user", "--net", "--ipc", "--uts", "--pid", "--fork",
            "--kill-child", "--mount", "--mount-proc", "sh", "-c", _IN_UNSHARE, "lab", str(folder),
            *words,
        )  # fmt: skip
    return tuple(words)
