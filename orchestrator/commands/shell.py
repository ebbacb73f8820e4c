# SPDX-License-Identifier: GPL-2.0-only
"""``lab shell``: build where needed, boot, and log in, or run one command in the guest."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click

from orchestrator import HOME
from orchestrator.commands import progress
from orchestrator.commands.incoming import received
from orchestrator.commands.workspace import find_places, in_tree, load
from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import boot, share
from orchestrator.guest.loopback import check_loopback
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.scratch import clean_leftovers, scratch
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.evidence import GuestEnd
from orchestrator.plan.kernels import STDIN
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.report.text import visible
from orchestrator.results.runs import cell_folder
from orchestrator.runner import record, session, transfer
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

    With ``push`` the selected workloads are put into the guest's ``/tmp/lab`` first.  ``files_in``,
    ``files_out`` and ``shares`` are as written on the command line.
    """

    command: tuple[str, ...] = ()
    push: bool = False
    jobs: int | None = None
    plain: bool = False
    files_in: tuple[str, ...] = ()
    files_out: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Files:
    """What goes in before the command, what comes out after it, and what both sides see."""

    pushes: tuple[transfer.Push, ...]
    pulls: tuple[transfer.Pull, ...]
    shares: tuple[share.Share, ...]

    @classmethod
    def of(cls, options: ShellOptions) -> _Files:
        """As the options say.

        :raises UserError: when something that must be there is not.
        """
        shares = tuple(map(share.parse_share, options.shares))
        share.refuse_twins(shares)
        pulls = tuple(map(transfer.parse_pull, options.files_out))
        return cls(tuple(map(transfer.parse_push, options.files_in)), pulls, shares)


def shell(selection: Selection, options: ShellOptions) -> int:
    """Boot the first cell that the selection leaves, and hand it to the user; it dies afterwards.

    Gives the command's exit status; 1 where the kernel does not build or boot, or went down.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    :raises HostError: when the host cannot do its part.
    """
    files = _Files.of(options)
    places = find_places(anywhere=selection.source is not None)
    if selection.series == STDIN and not options.command and not sys.stdin.isatty():
        raise UserError(
            "standard input is the series, and no terminal to log in from",
            "give a COMMAND, or the series as a file",
        )
    selection = received(in_tree(selection, places), places)
    plan = make_plan(load(places), selection, tuple(ARCHES))
    cell = next((one for one in plan.cells if not one.on_host), None)
    if cell is None:
        raise UserError(
            "what was asked for runs on the host: there is no guest to log in to",
            "`lab list profiles` shows what has one",
        )
    if files.shares:
        cell = session.sharing(cell, HOME / "kernel-configs" / share.FRAGMENT)
        plan = replace(plan, cells=(cell,), builds=(cell.build,))
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
        return _session(what, context, options, files)


def _session(what: session.Bootable, context: Context, options: ShellOptions, files: _Files) -> int:
    chosen = session.accelerator(what, context)
    console = context.folder / f"{Path(cell_folder(what.cell.id)).name}.console.log"
    with scratch(context.cache) as folder:
        extra = share.qemu_words(ARCHES[what.cell.build.arch], files.shares)
        request = session.request(what, chosen, folder, console, extra)
        _tell(f"booting ({chosen.name}: {chosen.reason}); console: {console}")
        try:
            with boot.booted(request) as machine:
                _tell(f"booted in {machine.boot_seconds:.1f} s")
                session.push_modules(machine, what)
                if options.push:
                    session.push(machine, what.cell.workloads, context)
                    _tell(f"workloads are in {GUEST_FOLDER}")
                if files.shares:
                    share.mount(machine.ssh, files.shares, machine.slowness)
                    told = (f"{s.folder} is {s.place}" for s in files.shares)
                    _tell(", ".join(told))
                transfer.push(machine, folder, files.pushes)
                status = _log_in(machine, folder, options.command)
                missed = _pull(machine, folder, files.pulls)
                return status or missed  # the command's own counts most
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


def _pull(machine: boot.Guest, folder: Path, pulls: tuple[transfer.Pull, ...]) -> int:
    """Get out of the guest what can be had; 3 where something could not."""
    status = EXIT_OK
    for item in pulls:
        try:
            if machine.state() is not GuestEnd.ALIVE:
                raise transfer.NotMoved(f"no {item.source} out of the guest: it is gone")
            transfer.pull(machine, folder, item)
            _tell(f"pulled {item.source}: {item.goal}")
        except transfer.NotMoved as missed:
            _tell(missed.message)
            status = EXIT_HOST
    return status


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
