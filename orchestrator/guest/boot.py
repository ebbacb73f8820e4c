# SPDX-License-Identifier: GPL-2.0-only
"""A booted guest: from an image to a working SSH session, and what became of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.guest.qemu import GuestFiles, Memory, Qemu, command_line, running
from orchestrator.guest.seed import Keys, write_seed
from orchestrator.guest.ssh import Ssh, SshLost, connected
from orchestrator.host import process, walls
from orchestrator.host.starved import own_time
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.spec import ShapeSpec

READY = b"lab: guest ready"
PANIC = b"Kernel panic - not syncing"
POLL = 0.02
# A guest under KVM boots in about this many seconds; a slower one gets proportionally more time
# for everything else (a workload's time-out is given for a fast guest).
FAST_BOOT = 1.5
# A booting kernel prints all the time; one whose console is quiet for this many seconds hangs.
BOOT_SILENCE = {"kvm": 20.0, "tcg": 60.0}
# From power-on to a login; a kernel with KASAN under TCG takes the longest.
BOOT_DEADLINE = {"kvm": 60.0, "tcg": 240.0}


@dataclass(frozen=True)
class GuestRequest:
    """What to boot: image, root, architecture, shape, accelerator, and where its files go.

    ``folder`` is a short-lived private folder (sockets, keys, swap); ``console`` is the log that
    is kept.  ``deadline`` is in seconds for everything up to the SSH login.  ``extra`` are further
    words for QEMU's command line (``-gdb``).  ``memory`` are the files behind the guest's memory
    where it is to be kept, ``keys_folder`` where its seed is when not in ``folder``.
    """

    arch: Arch
    shape: ShapeSpec
    accelerator: str
    image: Path
    root: Path
    folder: Path
    console: Path
    deadline: float
    extra: tuple[str, ...] = ()
    memory: Memory | None = None
    keys_folder: Path | None = None


class BootFailed(Exception):
    """The guest did not come up; ``end`` says how it was found.  A value for the verdict stage."""

    def __init__(self, end: GuestEnd, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = reason
        self.seconds = seconds


@dataclass(frozen=True, eq=False)
class Guest:
    """A guest that answers.  Use :func:`booted`.

    ``port`` on 127.0.0.1 leads to the guest's SSH; ``restore_seconds`` is how long a copy took
    until it was logged in, 0 where it was booted.
    """

    request: GuestRequest
    qemu: Qemu
    ssh: Ssh
    boot_seconds: float
    port: int
    keys: Keys
    restore_seconds: float = 0.0

    @property
    def slowness(self) -> float:
        """How many times slower than a fast guest this one is; at least 1."""
        return max(1.0, self.boot_seconds / FAST_BOOT)

    def console_size(self) -> int:
        """Bytes of console log so far."""
        return self.request.console.stat().st_size

    def console_bytes(self, start: int = 0) -> bytes:
        """The console log from a byte offset on."""
        with self.request.console.open("rb") as file:
            file.seek(start)
            return file.read()

    def state(self) -> GuestEnd:
        """How the guest is, without touching it: alive, panicked, reset, or QEMU died."""
        return _state(self.qemu, self.request.console)

    def answers(self, deadline: float) -> bool:
        """Whether the guest still runs a trivial command over SSH."""
        try:
            return self.ssh.run("true", deadline).status == 0
        except SshLost:
            return False


def _state(qemu: Qemu, console: Path) -> GuestEnd:
    if not qemu.alive():
        return GuestEnd.QEMU_DIED
    if not qemu.stopped():
        return GuestEnd.ALIVE
    # The whole log of this boot: the panic may have come before anybody looked.
    return GuestEnd.PANIC if PANIC in console.read_bytes() else GuestEnd.RESET


def qemu_command(request: GuestRequest) -> list[str]:
    """QEMU's argument vector for a request."""
    files = GuestFiles(
        request.image, request.root, request.folder, request.console, request.keys_folder
    )
    argv = command_line(request.arch, request.shape, request.accelerator, files, request.memory)
    return [*argv, *request.extra]


@contextlib.contextmanager
def machine(request: GuestRequest) -> Iterator[Qemu]:
    """QEMU for a request whose files are there, within its walls.

    The console's log is the lab's own again afterwards: no later guest shall write to it.

    :raises HostError: when it cannot be started, or its user cannot reach its files.
    """
    seeds = request.keys_folder or request.folder
    around = walls.around_guest(
        request.shape,
        (request.folder, request.console),
        (request.image, request.root, seeds / "seed.tar"),
    )
    fds = request.memory.fds if request.memory else ()
    try:
        with running(qemu_command(request), request.folder, fds, around.words) as qemu:
            yield qemu
    finally:
        walls.give_back(request.console)


@contextlib.contextmanager
def booted(
    request: GuestRequest,
    on_progress: Callable[[str], None] = lambda _: None,
    on_lost: Callable[[Qemu], None] = lambda _: None,
) -> Iterator[Guest]:
    """Boot a guest for the length of a with block; it and its files are gone afterwards.

    :param on_lost: sees the QEMU of a guest that did not come up, while it still runs.
    :raises BootFailed: when the kernel panics, resets, falls silent or never offers SSH, or QEMU
        dies meanwhile.
    :raises HostError: when QEMU cannot be started at all.
    """
    began = time.monotonic()
    keys = write_seed(request.folder, request.shape)
    files = GuestFiles(request.image, request.root, request.folder, request.console)
    if request.shape.swap_disk_mib:
        with files.swap.open("wb") as file:
            file.truncate(request.shape.swap_disk_mib << 20)
    request.console.parent.mkdir(parents=True, exist_ok=True)
    request.console.write_bytes(b"")
    with contextlib.ExitStack() as stack:
        qemu = stack.enter_context(machine(request))
        try:
            port, ssh = _log_in(request, qemu, keys, began, on_progress, stack)
        except BootFailed as failed:
            if failed.end is GuestEnd.SILENT:
                _ask_kernel(qemu)
            if qemu.alive():
                on_lost(qemu)
            raise
        seconds = time.monotonic() - began
        yield Guest(request, qemu, ssh, seconds, port, keys)


def _log_in(
    request: GuestRequest,
    qemu: Qemu,
    keys: Keys,
    began: float,
    on_progress: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> tuple[int, Ssh]:
    try:
        port = qemu.ssh_port()
    except HostError:
        _check_alive(request, qemu, began)  # of a QEMU that has died there is more to say
        raise
    _await_ready(request, qemu, began)
    on_progress("kernel is up, logging in")
    left = max(request.deadline - (time.monotonic() - began), 5.0)
    try:
        watch = partial(_check_alive, request, qemu, began)
        ssh = stack.enter_context(connected(port, keys, left, watch))
    except SshLost as lost:
        _check_alive(request, qemu, began)
        passed = time.monotonic() - began
        raise BootFailed(GuestEnd.SSH_LOST, lost.message, passed) from lost
    return port, ssh


def _ask_kernel(qemu: Qemu) -> None:
    """Have a kernel that hangs while booting say what its tasks wait for; it may well not answer.

    A break and a key on the console: Documentation/admin-guide/sysrq.rst.
    """
    with contextlib.suppress(HostError):
        for key in "wt":
            qemu.sysrq(key)
            process.sleep(1.0)


def _await_ready(request: GuestRequest, qemu: Qemu, began: float) -> None:
    """Watch the console until the guest's first process says that SSH is up."""
    silence = BOOT_SILENCE[request.accelerator]
    seen = b""
    empty = True
    heard, starved = time.monotonic(), 0.0  # what it waited for a CPU until it was heard
    with request.console.open("rb") as log:
        while True:
            new = log.read()
            if new:
                empty, heard, starved = False, time.monotonic(), qemu.starved()
            # Keep a tail: the mark may arrive in two pieces.
            seen = seen[-len(READY) :] + new
            if READY in seen:
                return
            _check_alive(request, qemu, began)
            now = time.monotonic()
            if now - heard > silence and own_time(now - heard, qemu.starved() - starved) > silence:
                what = "stayed empty" if empty else "fell silent"
                reason = f"the console {what} for {silence:.0f} s while booting"
                raise BootFailed(GuestEnd.SILENT, reason, now - began)
            if now - began > request.deadline < own_time(now - began, qemu.starved()):
                reason = f"no login within {request.deadline:.0f} s"
                raise BootFailed(GuestEnd.SILENT, reason, now - began)
            process.sleep(POLL)


def _check_alive(request: GuestRequest, qemu: Qemu, began: float) -> None:
    """Do nothing while the guest runs.

    :raises BootFailed: when it panicked, reset itself, or QEMU died.
    """
    end = _state(qemu, request.console)
    if end is GuestEnd.ALIVE:
        return
    passed = time.monotonic() - began
    if end is GuestEnd.QEMU_DIED:
        reason = f"QEMU died while booting: {qemu.last_words() or 'no message'}"
    else:
        what = "panicked" if end is GuestEnd.PANIC else "reset itself without a panic"
        reason = f"the kernel {what} {passed:.1f} s into the boot"
    raise BootFailed(end, reason, passed)
