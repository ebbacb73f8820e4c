# SPDX-License-Identifier: GPL-2.0-only
"""A booted guest as a snapshot, and private copies of it that start in the time of a login.

The guest's memory is a file without a name (memfd_create(2)) that QEMU maps.  A snapshot is that
file plus the state of the devices, which QEMU writes as a migration stream without the memory
(capability ``x-ignore-shared``, QEMU's docs/devel/migration) into a pipe of the lab's, since its
sandbox lets it start no program; a copy maps the file privately, so
that the kernel copies only the pages it changes.  Nothing is written to a disk, and no copy sees
another.  The descriptor dies with the lab, and so does all of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.guest.boot import FAST_BOOT, Guest, GuestRequest, machine
from orchestrator.guest.qemu import Memory, Qemu, memory_sizes
from orchestrator.guest.seed import Keys
from orchestrator.guest.ssh import SshLost, connected
from orchestrator.host import process
from orchestrator.host.cache.files import write_atomic
from orchestrator.host.pump import Pump, feed
from orchestrator.model.errors import HostError, LabError

# Writing and reading the state of the devices: half a megabyte.
STATE_DEADLINE = 30.0
LOGIN_DEADLINE = 30.0
# What the guest does after a copy is restored, see guest-tests/agent/revive.c.
REVIVE = "/tmp/lab/revive"
COPY_DEADLINE = 60.0
SEED_BYTES = 32
_POLL = 0.005
# What QEMU calls the end of the pipe with its devices' state.
_STATE = "state"
_FAILED = ("failed", "cancelled")


class RestoreFailed(LabError):
    """A copy did not come to life; the guest can still be booted anew."""


@dataclass(frozen=True)
class Snapshot:
    """A guest as it was; ``state`` is the file with its devices, ``swap`` its swap disk."""

    request: GuestRequest
    state: Path
    swap: Path | None
    keys: Keys
    boot_seconds: float


@contextlib.contextmanager
def memory_files(request: GuestRequest) -> Iterator[GuestRequest]:
    """Give the request files for its memory, for the length of a with block.

    :raises HostError: when the host gives none.
    """
    fds: list[int] = []
    try:
        try:
            for size in memory_sizes(request.arch, request.shape):
                fds.append(os.memfd_create("lab-guest"))
                os.ftruncate(fds[-1], size << 20)
        except OSError as error:
            raise HostError(f"no memory for a guest: {error.strerror}") from error
        yield replace(request, memory=Memory(tuple(fds)))
    finally:
        for fd in fds:
            os.close(fd)


def take(machine: Guest) -> Snapshot:
    """Stop a guest for good and keep what it is.  Its SSH connection is closed first.

    A connection cannot be kept: its other end would be in every copy.

    :raises HostError: when QEMU cannot write its state.
    """
    request, qemu = machine.request, machine.qemu
    machine.ssh.close()
    _await_no_connection(machine)
    state = request.folder / "state"
    qemu.ask("stop")
    _ignore_shared(qemu)
    reading, writing = os.pipe()
    pump = Pump(os.fdopen(reading, "rb"), stop=lambda: None)
    with os.fdopen(writing, "wb") as end:
        qemu.hand_over(end.fileno(), _STATE)
    qemu.ask("migrate", uri=f"fd:{_STATE}")
    until = time.monotonic() + STATE_DEADLINE
    while (status := str(qemu.ask("query-migrate").get("status"))) != "completed":
        if status in _FAILED or time.monotonic() > until:
            raise HostError(f"the guest's state could not be kept: {status}")
        process.sleep(_POLL)
    # "completed" may come before the last bytes are here.
    if not pump.join(max(until - time.monotonic(), 1.0)):
        raise HostError("the guest's state could not be kept: QEMU does not come to its end")
    # Renamed into place: the folder is QEMU's, which must not choose where this is written to.
    write_atomic(state, bytes(pump.data))
    swap = request.folder / "swap.raw"
    return Snapshot(
        request, state, swap if swap.exists() else None, machine.keys, machine.boot_seconds
    )


@contextlib.contextmanager
def restored(snapshot: Snapshot, folder: Path, console: Path) -> Iterator[Guest]:
    """A private copy of a snapshot, logged in, with the right time and randomness of its own.

    :param folder: an empty private folder, not the snapshot's.
    :param console: the copy's own console log.
    :raises RestoreFailed: when it does not come to life; its console may tell why.
    """
    began = time.monotonic()
    memory = snapshot.request.memory
    assert memory is not None  # it would not have been taken
    request = replace(
        snapshot.request,
        folder=folder,
        console=console,
        keys_folder=snapshot.request.folder,
        memory=replace(memory, private=True),
        extra=(*snapshot.request.extra, "-incoming", "defer"),
    )
    console.parent.mkdir(parents=True, exist_ok=True)
    console.write_bytes(b"")
    with contextlib.ExitStack() as stack:
        try:
            if snapshot.swap:
                words = ["cp", "--sparse=always", "--reflink=auto"]
                process.run([*words, snapshot.swap, folder / "swap.raw"], deadline=COPY_DEADLINE)
            qemu = stack.enter_context(machine(request))
            _load(qemu, snapshot.state)
            port = qemu.ssh_port()

            def watch() -> None:
                if not qemu.alive() or qemu.stopped():
                    raise RestoreFailed("a copy of the guest died before anybody was logged in")

            limit = LOGIN_DEADLINE * max(1.0, snapshot.boot_seconds / FAST_BOOT)
            ssh = stack.enter_context(connected(port, snapshot.keys, limit, watch))
            guest = Guest(
                request, qemu, ssh, snapshot.boot_seconds, port, snapshot.keys,
                restore_seconds=time.monotonic() - began,
            )  # fmt: skip
            _revive(guest)
        except (HostError, SshLost) as error:
            raise RestoreFailed(f"a copy of the guest was not restored: {error.message}") from error
        yield guest


def _load(qemu: Qemu, state: Path) -> None:
    _ignore_shared(qemu)
    reading, writing = os.pipe()
    feed(os.fdopen(writing, "wb"), state.read_bytes())
    with os.fdopen(reading, "rb") as end:
        qemu.hand_over(end.fileno(), _STATE)
    qemu.ask("migrate-incoming", uri=f"fd:{_STATE}")
    until = time.monotonic() + STATE_DEADLINE
    while (status := str(qemu.ask("query-status")["status"])) == "inmigrate":
        if time.monotonic() > until:
            raise HostError("QEMU did not read the guest's state in time")
        process.sleep(_POLL)
    if not qemu.alive():
        raise HostError(f"QEMU died of the guest's state: {qemu.last_words()}")
    if status != "running":  # it was stopped when it was kept
        qemu.ask("cont")


def _ignore_shared(qemu: Qemu) -> None:
    wanted = {"capability": "x-ignore-shared", "state": True}
    qemu.ask("migrate-set-capabilities", capabilities=[wanted])


def _await_no_connection(machine: Guest) -> None:
    """Wait until the guest has seen the connection's end; one that hangs costs a second."""
    until = time.monotonic() + 1.0
    while "[ESTABLISHED]" in machine.qemu.human("info usernet") and time.monotonic() < until:
        process.sleep(_POLL)
    process.sleep(0.05 * machine.slowness)  # for the SSH server's child to be gone


def _revive(machine: Guest) -> None:
    words = f"{REVIVE} {time.time():.6f} {secrets.token_hex(SEED_BYTES)}"
    answer = machine.ssh.run(words, 10.0 * machine.slowness)
    if answer.status != 0:
        raise HostError(f"its clock and random state could not be set: {answer.stderr.strip()}")
