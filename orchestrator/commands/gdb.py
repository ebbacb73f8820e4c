# SPDX-License-Identifier: GPL-2.0-only
"""``lab rerun --gdb``: the guest of a case with QEMU's gdb stub open and its workload at the ready.

Nothing is timed here: a guest that a debugger has stopped is silent for as long as its user likes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator.commands.entry import no_interrupts
from orchestrator.commands.run import Options
from orchestrator.evidence.klog import parse as klog
from orchestrator.guest import boot, qemu
from orchestrator.guest.seed import write_seed
from orchestrator.guest.ssh import Channel
from orchestrator.host import process
from orchestrator.host.cache.scratch import scratch
from orchestrator.judge.trials import Repeat
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.formats import parse_dotconfig
from orchestrator.report.text import visible
from orchestrator.runner import record, session
from orchestrator.runner.context import Context, Machine, Places, RunValues
from orchestrator.runner.repeat import same_kernel
from orchestrator.runner.stages import Stages
from orchestrator.workload import watch

# A session that is left open over a weekend ends with it.
DEADLINE = 3 * 86400.0
_POLL = 0.1
_PROBE = 60.0
_FIFO = "/tmp/lab/go"
# gdb(1) of the distribution knows the host's architecture; gdb-multiarch knows all.
_DEBUGGERS = ("gdb-multiarch", "gdb")


def debug(places: Places, repeat: Repeat, old: Path, options: Options) -> int:
    """Boot the case's guest for a debugger and stay until that is over.

    A case of ``boot`` stands still before the guest's first instruction; any other one after its
    workload was pushed, which the debugger's command ``lab-run`` starts.

    :raises UserError: when nothing can be booted for the case.
    """
    if not repeat.boots or repeat.tested.cell.on_host:
        raise UserError(f"{repeat.case.id}: no guest runs in it", "name a case of a workload")
    folder = places.reports / "gdb"
    values = RunValues("gdb", options.jobs or record.cpu_count())
    context = Context(values, Machine(places.cache, folder, places.fragments))
    kernel, built, note = same_kernel(repeat.tested, old, context, Stages())
    try:
        what = session.with_build(repeat.tested.cell, kernel, built, context, selftests=True)
    except session.CannotBoot as refused:
        _tell(f"there is no kernel to boot: {refused.message}")
        return EXIT_KERNEL
    if note:
        _tell(note)
    return _Session(what, repeat, context).go()


class _Session:
    """One guest with a debugger."""

    def __init__(self, what: session.Bootable, repeat: Repeat, context: Context) -> None:
        self.what = what
        self.context = context
        self.cell = what.cell
        self.spec = next((w for w in self.cell.workloads if w.name == repeat.case.workload), None)
        self.built = what.built
        self.folder = context.folder
        self.short = process.temp_folder() / "gdb"  # a socket's path is at most 107 bytes
        self.channel: Channel | None = None
        self.starter: Channel | None = None

    @property
    def go_file(self) -> Path:
        """Made by the debugger's ``lab-run``."""
        return self.short / "go"

    def go(self) -> int:
        self.short.mkdir(mode=0o700)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with scratch(self.context.cache) as folder:
                return self._booted(folder) if self.spec else self._stopped(folder)
        finally:
            for path in self.short.glob("*"):
                path.unlink(missing_ok=True)
            self.short.rmdir()

    def _request(self, folder: Path) -> boot.GuestRequest:
        chosen = session.accelerator(self.what, self.context)
        stub = f"unix:{qemu.escaped(self.short / 'stub')},server=on,wait=off"
        extra = ("-gdb", stub) if self.spec else ("-gdb", stub, "-S")
        return session.request(self.what, chosen, folder, self.folder / "console.log", extra)

    # ------------------------------------------------------------ the two states

    def _booted(self, folder: Path) -> int:
        """Booted as ever, the workload pushed and waiting for a word."""
        assert self.spec is not None
        request = self._request(folder)
        _tell(f"{self.cell.id}: booting; console: {request.console}")
        try:
            with boot.booted(request) as machine:
                session.push_modules(machine, self.what)
                session.push(machine, (self.spec,), self.context)
                self._arm(machine)
                _tell(f"booted in {machine.boot_seconds:.1f} s; {self.spec.name} is ready")
                start = machine.console_size()
                self._session(machine.qemu)
                _tell_hits(machine.console_bytes(start))
        except boot.BootFailed as failed:
            _tell(f"{failed.reason}; console: {request.console}")
            host = failed.end in (GuestEnd.SSH_LOST, GuestEnd.QEMU_DIED)
            return EXIT_HOST if host else EXIT_KERNEL
        return EXIT_OK

    def _stopped(self, folder: Path) -> int:
        """Before its first instruction: a boot is what fails."""
        request = self._request(folder)
        write_seed(folder, request.shape)
        if request.shape.swap_disk_mib:
            with (folder / "swap.raw").open("wb") as file:
                file.truncate(request.shape.swap_disk_mib << 20)
        request.console.write_bytes(b"")
        with boot.machine(request) as machine:
            _tell(f"{self.cell.id}: stands before its first instruction; `continue` boots it")
            _tell(f"console: {request.console}")
            self._session(machine)
        _tell_hits(request.console.read_bytes())
        return EXIT_OK

    def _arm(self, machine: boot.Guest) -> None:
        """Open all it takes to start the workload now: a stopped guest answers nothing.

        Its standard input stays open, since the sampler takes its end for the end of the session.
        """
        assert self.spec is not None
        machine.ssh.run(f"busybox mkfifo {_FIFO}", 30.0 * machine.slowness)
        command = watch.guest_command(self.spec, "gdb")
        self.channel = machine.ssh.start(f"read go <{_FIFO} && {command}")
        self.starter = machine.ssh.start(f"cat >{_FIFO}")

    # ------------------------------------------------------------ the debugger

    def _session(self, machine: qemu.Qemu) -> None:
        script = self._script()
        program = _debugger(self.built.vmlinux)
        argv = [program or _DEBUGGERS[0], "-q", "-x", str(script)]
        self._advise()
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        with self._watched(machine) as gone:
            if terminal and program:
                _tell(f"starting {shlex.join(argv)}")
                with no_interrupts():
                    env = {"TERM": os.environ.get("TERM", "dumb")}
                    process.run(argv, deadline=DEADLINE, env=env, terminal=True, check=False)
                return
            if not program:
                _tell("no gdb here knows this architecture: apt-get install gdb-multiarch")
            click.echo(shlex.join(argv))
            _tell("Ctrl-C here ends the guest")
            until = time.monotonic() + DEADLINE
            while not gone.is_set() and time.monotonic() < until:
                process.sleep(_POLL)

    def _script(self) -> Path:
        """gdb's commands: symbols, the kernel's own scripts if any, the stub, ``lab-run``."""
        lines = ["set pagination off", "set confirm off"]
        vmlinux = self.built.vmlinux
        if vmlinux is not None and vmlinux.exists():
            if (vmlinux.parent / "vmlinux-gdb.py").exists():
                lines.append(f"add-auto-load-safe-path {vmlinux.parent}")
            lines.append(f'file "{vmlinux}"')
        lines += ["set tcp connect-timeout 30", f"target remote {self.short / 'stub'}"]
        if self.spec is not None:
            lines += [
                "define lab-run", f"  shell touch {shlex.quote(str(self.go_file))}", "  continue",
                "end", "document lab-run", f"Start {self.spec.name} in the guest and let it run.",
                "end",
            ]  # fmt: skip
        path = self.short / "lab.gdb"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _advise(self) -> None:
        file = self.built.kernel_config
        config = parse_dotconfig(file.read_text("utf-8", "replace")) if file else {}
        if config.get("DEBUG_INFO") != "y":
            _tell("this kernel has function names for gdb; one of --config symbols has lines too")
        if config.get("RANDOMIZE_BASE") == "y":
            _tell("its addresses are random: put nokaslr into the shape's boot_args")
        if self.spec is not None:
            _tell("set breakpoints, then `lab-run` starts the workload; `continue` goes on")

    @contextlib.contextmanager
    def _watched(self, machine: qemu.Qemu) -> Iterator[threading.Event]:
        """Start the workload when told to, show what it prints, and see QEMU's end."""
        gone, over = threading.Event(), threading.Event()
        shown = 0

        def watch() -> None:
            nonlocal shown
            while not over.wait(_POLL):
                if not machine.alive():
                    gone.set()
                    return
                if self.starter is not None and self.go_file.exists():
                    self.go_file.unlink()
                    with contextlib.suppress(OSError, EOFError):
                        self.starter.feed(b"go\n", 60.0)
                if self.channel is not None and self.channel.pump():
                    said = bytes(self.channel.stdout[shown:])
                    shown += len(said)
                    for line in said.decode(errors="replace").splitlines():
                        click.echo(visible(line), err=True)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield gone
        finally:
            over.set()
            thread.join()


def _debugger(vmlinux: Path | None) -> str | None:
    """A gdb that knows the kernel's architecture, or None."""
    for name in _DEBUGGERS:
        program = process.find_tool(name)
        if program is None:
            continue
        if vmlinux is None or not vmlinux.exists():
            return name
        argv = [name, "-nx", "-batch", "-readnever", "-ex", "info files", str(vmlinux)]
        done = process.run(argv, deadline=_PROBE, check=False)
        # A gdb that does not know the machine calls the file plain "elf64-little".
        if re.search(rb"file type elf64-(?!(?:little|big)\.)", done.stdout):
            return name
    return None


def _tell_hits(console: bytes) -> None:
    for hit in klog.parse(console.splitlines(keepends=True)):
        _tell(f"kernel log: {hit.title}")


def _tell(text: str) -> None:
    click.echo(f"lab: {visible(text)}", err=True)
