# SPDX-License-Identifier: GPL-2.0-only
"""``lab shell``: build where needed, boot, and log in, or run one command in the guest."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.commands import progress
from orchestrator.commands.workspace import find_places, load
from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import accel, boot, root
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.scratch import clean_leftovers, scratch
from orchestrator.judge.outcome import apply_reason
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, HostError
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Cell
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.report.text import visible
from orchestrator.results.runs import cell_folder
from orchestrator.runner import stages
from orchestrator.runner.context import Event
from orchestrator.workload import programs, watch

# Nobody is timed while typing; a session left open over a weekend ends with it.
SESSION_DEADLINE = 3 * 86400.0
_POLL = 0.2
_TAIL = 12


@dataclass(frozen=True)
class ShellOptions:
    """``command`` are the words to run; none for a login.

    With ``push`` the selected workloads are put into the guest's ``/tmp/lab`` first.
    """

    command: tuple[str, ...] = ()
    push: bool = False
    jobs: int | None = None
    plain: bool = False


def shell(selection: Selection, options: ShellOptions) -> int:
    """Boot the first cell that the selection leaves, and hand it to the user; it dies afterwards.

    Gives the command's exit status; 1 where the kernel does not build or boot, or went down.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    :raises HostError: when the host cannot do its part.
    """
    places = find_places()
    plan = make_plan(load(places), selection, tuple(ARCHES))
    cell = plan.cells[0]
    _tell(cell.id)
    places.cache.folder.mkdir(parents=True, exist_ok=True)
    clean_leftovers(places.cache)
    folder = places.reports / "shell"
    how = progress.choose(options.plain, False, sys.stderr)
    with using(places.cache):
        with progress.listener(plan, how, sys.stderr) as listener:
            jobs = options.jobs or os.cpu_count() or 1
            settings = stages.Settings(
                places.cache, folder, places.fragments, "shell", jobs, listener
            )
            built = _build(cell, settings)
            if built is None:
                return EXIT_KERNEL
            told = "cached" if built.cached else ""
            listener(Event("build", built.build.id, "done", told, 1.0, Verdict.PASS, built.seconds))
            image = root.ensure_root(ARCHES[cell.build.arch], places.cache)
        return _session(cell, built, image, settings, options)


def _build(cell: Cell, settings: stages.Settings) -> BuildResult | None:
    kernel = stages.prepare_kernel(cell.build.kernel, settings)
    if kernel.tree.failure is not None:
        _tell(f"the series does not apply: {apply_reason(kernel.tree.failure)}")
        return None
    built = stages.build_one(cell.build, kernel, settings)
    if built.verdict is Verdict.PASS and built.image is not None:
        return built
    _tell(f"{cell.build.id} does not build: {built.reason}")
    if built.log:
        _tell(f"log: {built.log}")
    return None


def _session(
    cell: Cell, built: BuildResult, image: Path, settings: stages.Settings, options: ShellOptions
) -> int:
    arch = ARCHES[cell.build.arch]
    chosen = accel.choose(arch, settings.cache)
    console = settings.folder / f"{Path(cell_folder(cell.id)).name}.console.log"
    assert built.image is not None
    with scratch(settings.cache) as folder:
        request = boot.GuestRequest(
            arch=arch,
            shape=cell.shape,
            accelerator=chosen.name,
            image=built.image,
            root=image,
            folder=folder,
            console=console,
            deadline=stages.BOOT_DEADLINE[chosen.name],
        )
        _tell(f"booting ({chosen.name}: {chosen.reason}); console: {console}")
        try:
            with boot.booted(request) as machine:
                _tell(f"booted in {machine.boot_seconds:.1f} s")
                if options.push:
                    _push(machine, cell, settings.cache)
                return _log_in(machine, folder, options.command)
        except boot.BootFailed as failed:
            _tell(failed.reason)
            _show_console(console)
            host = failed.end in (GuestEnd.SSH_LOST, GuestEnd.QEMU_DIED)
            return EXIT_HOST if host else EXIT_KERNEL


def _push(machine: boot.Guest, cell: Cell, cache: Cache) -> None:
    library = programs.library_folder(cell.workloads)
    files = programs.compile_all(cell.workloads, library, ARCHES[cell.build.arch], cache)
    watch.push(machine, programs.pack(files, cache))
    _tell(f"workloads are in {watch.GUEST_FOLDER}")


def _log_in(machine: boot.Guest, folder: Path, command: tuple[str, ...]) -> int:
    """Run the system's ssh on the user's terminal; tell what the kernel reported meanwhile."""
    start = machine.console_size()
    argv = ssh_command(machine.port, machine.keys.client_private, pin(machine, folder), command)
    term = {"TERM": os.environ.get("TERM", "dumb")}
    with _watched(machine) as ends:
        done = process.run(argv, deadline=SESSION_DEADLINE, env=term, terminal=True, check=False)
    hits = tuple(klog.parse(machine.console_bytes(start).splitlines(keepends=True)))
    for hit in hits:
        _tell(f"kernel log: {hit.title}")
    if not ends:
        return done.status if done.status >= 0 else 128 - done.status
    _tell(_ENDS.get(ends[0], f"the guest is gone ({ends[0].value})"))
    _tell(f"console: {machine.request.console}")
    return EXIT_HOST if ends[0] is GuestEnd.QEMU_DIED else EXIT_KERNEL


@contextlib.contextmanager
def _watched(machine: boot.Guest) -> Iterator[list[GuestEnd]]:
    """Watch a guest for the length of a with block; gives a list for how it ended, if it does.

    A guest that panicked stands still and its TCP connections with it: QEMU is ended, so that ssh
    sees them close.  Nobody else may talk to QEMU meanwhile.
    """
    ends: list[GuestEnd] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            end = machine.state()
            if end is not GuestEnd.ALIVE:
                ends.append(end)
                with contextlib.suppress(HostError):
                    machine.qemu.ask("quit")
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield ends
    finally:
        over.set()
        thread.join()


_ENDS = {
    GuestEnd.PANIC: "the guest's kernel panicked",
    GuestEnd.RESET: "the guest reset itself",
    GuestEnd.QEMU_DIED: "QEMU died",
}


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


def _show_console(console: Path) -> None:
    """The end of a console and the reports in it."""
    with console.open("rb") as file:
        hits = tuple(klog.parse(file))
    for line in console.read_bytes().decode(errors="replace").splitlines()[-_TAIL:]:
        click.echo(f"  {visible(line)}", err=True)
    for hit in hits:
        _tell(f"kernel log: {hit.title}")
    _tell(f"console: {console}")


def _tell(text: str) -> None:
    click.echo(f"lab: {visible(text)}", err=True)
