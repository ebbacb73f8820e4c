# SPDX-License-Identifier: GPL-2.0-only
"""One guest for a person: its kernel made as for a run, booted, and open until that person is done.

Prints nothing: what cannot be had is told by :class:`CannotBoot`, what the guest did by values.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import accel, boot, root
from orchestrator.guest.accel import Accelerator
from orchestrator.host import process
from orchestrator.judge.outcome import apply_reason
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, LabError
from orchestrator.model.evidence import GuestEnd, Hit
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import CellId, Verdict
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.stages import Stages, expand_cell
from orchestrator.workload import programs, watch

# Nobody is timed while typing; a session left open over a weekend ends with it.
SESSION_DEADLINE = 3 * 86400.0
_POLL = 0.2


class CannotBoot(LabError):
    """The kernel does not apply or build, so there is no guest; the hint says where to look."""


@dataclass(frozen=True)
class Bootable:
    """A cell with the image and the root that its guest boots."""

    cell: Cell
    built: BuildResult
    image: Path
    root: Path


def bootable(
    cell: Cell, context: Context, *, selftests: bool = False, stages: Stages | None = None
) -> Bootable:
    """Make a cell's kernel as a run does: prepared, then found or built.

    :param selftests: whether the cell's selftests are wanted in the guest.

    :raises CannotBoot: when its series does not apply or it does not build.
    :raises UserError, HostError: as the stages do.
    """
    doing = stages or Stages()
    kernel = doing.prepare(cell.build.kernel, context)
    if kernel.tree.failure is not None:
        raise CannotBoot(f"the series does not apply: {apply_reason(kernel.tree.failure)}")
    built = doing.build(cell.build, kernel, context)
    told = "cached" if built.cached else ""
    if built.verdict is Verdict.PASS:
        context.listener(
            Event("build", built.build.id, "done", told, 1.0, Verdict.PASS, built.seconds)
        )
    return with_build(cell, kernel, built, context, selftests=selftests)


def with_build(
    cell: Cell, kernel: Kernel, built: BuildResult | None, context: Context, *, selftests: bool
) -> Bootable:
    """What boots with a build that is there: the root is made, and the cell's selftests if wanted.

    :raises CannotBoot: when there is no build, or it failed.
    """
    if built is None:
        raise CannotBoot(f"{cell.build.id}: its series does not apply")
    if built.verdict is not Verdict.PASS or built.image is None:
        hint = f"log: {built.log}" if built.log else ""
        raise CannotBoot(f"{cell.build.id} does not build: {built.reason}", hint)
    image = root.ensure_root(ARCHES[cell.build.arch], context.cache)
    whole = expand_cell(cell, kernel, context) if selftests else cell
    return Bootable(whole, built, built.image, image)


def accelerator(what: Bootable, context: Context) -> Accelerator:
    """KVM or TCG for this guest, and why."""
    return accel.choose(ARCHES[what.cell.build.arch], context.cache)


def request(
    what: Bootable, chosen: Accelerator, folder: Path, console: Path, extra: tuple[str, ...] = ()
) -> boot.GuestRequest:
    """The guest to boot.

    :param folder: for its files while it lives.
    :param extra: further words of QEMU's command line.
    """
    return boot.GuestRequest(
        arch=ARCHES[what.cell.build.arch],
        shape=what.cell.shape,
        accelerator=chosen.name,
        image=what.image,
        root=what.root,
        folder=folder,
        console=console,
        deadline=boot.BOOT_DEADLINE[chosen.name],
        extra=extra,
    )


def sharing(cell: Cell, fragment: Path) -> Cell:
    """The cell with a kernel that can mount a folder of the host: a config of another name.

    So the build without it stays as it is.

    :param fragment: what that takes of the kernel.
    """
    config = cell.build.config
    config = replace(
        config, name=f"{config.name}+{fragment.stem}", fragments=(*config.fragments, fragment)
    )
    place = replace(CellId.parse(cell.id), config=config.name)
    return replace(cell, id=str(place), build=replace(cell.build, id=place.build, config=config))


def push(machine: boot.Guest, specs: Iterable[WorkloadSpec], context: Context) -> None:
    """Compile workloads and put them into the guest.

    :raises UserError: when one does not compile.
    """
    wanted = tuple(specs)
    library = programs.library_folder(wanted)
    files = programs.compile_all(wanted, library, machine.request.arch, context.cache)
    watch.push(machine, programs.pack(files, context.cache))


def push_modules(machine: boot.Guest, what: Bootable) -> None:
    """Put the kernel's modules into the guest, where its config asks for any.

    :raises SshLost: when the guest does not take them.
    """
    if what.built.modules:
        watch.push_modules(machine, what.built.modules)


# ---------------------------------------------------------------- logged in


@dataclass(frozen=True)
class LoggedIn:
    """How a login was: the ``status`` of ssh, what the kernel reported, and how the guest ended."""

    status: int
    hits: tuple[Hit, ...]
    end: GuestEnd | None


def log_in(machine: boot.Guest, folder: Path, command: tuple[str, ...]) -> LoggedIn:
    """Run the system's ssh on the user's terminal until it ends or the guest does.

    :param folder: where the guest's pinned key is written.
    :param command: the words to run; none for a login.
    """
    start = machine.console_size()
    argv = ssh_command(machine.port, machine.keys.client_private, pin(machine, folder), command)
    term = {"TERM": os.environ.get("TERM", "dumb")}
    with _watched(machine) as ends:
        done = process.run(argv, deadline=SESSION_DEADLINE, env=term, terminal=True, check=False)
    hits = tuple(klog.parse(machine.console_bytes(start).splitlines(keepends=True)))
    status = done.status if done.status >= 0 else 128 - done.status
    return LoggedIn(status, hits, ends[0] if ends else None)


@contextlib.contextmanager
def _watched(machine: boot.Guest) -> Iterator[list[GuestEnd]]:
    """Watch a guest for the length of a with block; gives a list for how it ended, if it does.

    A guest that panicked stands still and its TCP connections with it: QEMU is ended, so that ssh
    sees them close.  Nobody else may talk to QEMU meanwhile.
    """
    ends: list[GuestEnd] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_POLL):
            end = machine.state()
            if end is not GuestEnd.ALIVE:
                ends.append(end)
                with contextlib.suppress(HostError):
                    machine.qemu.ask("quit")
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield ends
    finally:
        over.set()
        thread.join()


def pin(machine: boot.Guest, folder: Path) -> Path:
    """Write the known_hosts file that holds this guest's key and no other."""
    path = folder / "known_hosts"
    path.write_text(f"[127.0.0.1]:{machine.port} ssh-ed25519 {machine.keys.host_public}\n")
    return path


def ssh_command(port: int, key: Path, known_hosts: Path, command: tuple[str, ...]) -> list[str]:
    """The ssh client's command line: this guest's keys, and nothing of the user's own settings.

    One word is a line for the guest's shell; several are a program with its arguments.
    """

    def quoted(path: Path) -> str:
        # ssh_config(5): values with spaces stand in quotes, and % starts a token.
        return '"' + str(path).replace("%", "%%") + '"'

    options = {
        "IdentityFile": quoted(key),
        "UserKnownHostsFile": quoted(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        # A guest that hangs without a panic: without this ssh would wait for it for ever.
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "6",
    }
    argv = ["ssh", "-F", "/dev/null", "-p", str(port)]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    argv += ["root@127.0.0.1"]
    if command:
        argv += ["--", command[0] if len(command) == 1 else shlex.join(command)]
    return argv
