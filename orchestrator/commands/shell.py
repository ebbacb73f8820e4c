# SPDX-License-Identifier: GPL-2.0-only
"""``lab shell``: build where needed, boot, and log in, or run one command in the guest."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.commands import progress
from orchestrator.commands.incoming import received
from orchestrator.commands.workspace import find_places, in_tree, load
from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import boot
from orchestrator.guest.loopback import check_loopback
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.scratch import clean_leftovers, scratch
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, UserError
from orchestrator.model.evidence import GuestEnd
from orchestrator.plan.kernels import STDIN
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.report.text import visible
from orchestrator.results.runs import cell_folder
from orchestrator.runner import record, session
from orchestrator.runner.context import Context, Machine, RunValues
from orchestrator.workload.watch import GUEST_FOLDER

_TAIL = 12
_ENDS = {
    GuestEnd.PANIC: "the guest's kernel panicked",
    GuestEnd.RESET: "the guest reset itself",
    GuestEnd.QEMU_DIED: "QEMU died",
}


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
    if selection.series == STDIN and not options.command and not sys.stdin.isatty():
        raise UserError(
            "standard input is the series, and no terminal to log in from",
            "give a COMMAND, or the series as a file",
        )
    selection = received(in_tree(selection, places), places)
    plan = make_plan(load(places), selection, tuple(ARCHES))
    cell = plan.cells[0]
    _tell(cell.id)
    check_loopback()
    machine = Machine(places.cache, places.reports / "shell", places.fragments)
    values = RunValues("shell", options.jobs or record.cpu_count())
    how = progress.choose(options.plain, False, sys.stderr)
    with using(places.cache):
        clean_leftovers(places.cache)
        try:
            with progress.listener(plan, how, sys.stderr) as listener:
                context = Context(values, machine, listener)
                what = session.bootable(cell, context, selftests=options.push)
        except session.CannotBoot as refused:
            _tell(refused.message)
            if refused.hint:
                _tell(refused.hint)
            return EXIT_KERNEL
        return _session(what, context, options)


def _session(what: session.Bootable, context: Context, options: ShellOptions) -> int:
    chosen = session.accelerator(what, context)
    console = context.folder / f"{Path(cell_folder(what.cell.id)).name}.console.log"
    with scratch(context.cache) as folder:
        request = session.request(what, chosen, folder, console)
        _tell(f"booting ({chosen.name}: {chosen.reason}); console: {console}")
        try:
            with boot.booted(request) as machine:
                _tell(f"booted in {machine.boot_seconds:.1f} s")
                if options.push:
                    session.push(machine, what.cell.workloads, context)
                    _tell(f"workloads are in {GUEST_FOLDER}")
                return _log_in(machine, folder, options.command)
        except boot.BootFailed as failed:
            _tell(failed.reason)
            _show_console(console)
            host = failed.end in (GuestEnd.SSH_LOST, GuestEnd.QEMU_DIED)
            return EXIT_HOST if host else EXIT_KERNEL


def _log_in(machine: boot.Guest, folder: Path, command: tuple[str, ...]) -> int:
    """Log in, and tell afterwards what the kernel reported meanwhile."""
    done = session.log_in(machine, folder, command)
    for hit in done.hits:
        _tell(f"kernel log: {hit.title}")
    if done.end is None:
        return done.status
    _tell(_ENDS.get(done.end, f"the guest is gone ({done.end.value})"))
    _tell(f"console: {machine.request.console}")
    return EXIT_HOST if done.end is GuestEnd.QEMU_DIED else EXIT_KERNEL


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
