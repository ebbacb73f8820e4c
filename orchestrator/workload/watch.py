# SPDX-License-Identifier: GPL-2.0-only
"""Workloads in the guest: push them, start, watch, fetch what they said."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.evidence.klog.window import LogWindow, read_window
from orchestrator.guest import hang
from orchestrator.guest.boot import Guest
from orchestrator.guest.qemu import boot_arguments
from orchestrator.guest.ssh import Channel, SshLost
from orchestrator.host import process
from orchestrator.host.starved import own_time
from orchestrator.model.evidence import GuestEnd, WorkloadEvidence
from orchestrator.model.spec import WorkloadSpec
from orchestrator.workload import pulse

GUEST_FOLDER = "/tmp/lab"
MODULES_FOLDER = "/lib/modules"
PUSH_DEADLINE = 60.0
POLL = 0.01
# The sampler prints at least once a second; a guest that says nothing for this long is asked.
SILENCE = 6.0
ANSWER = 6.0
END_MARK = 5.0


def push(guest: Guest, archive: Path) -> None:
    """Put all programs into the guest at once.

    :param archive: what :func:`.programs.pack` gave.
    :raises SshLost: when the guest does not take them.
    """
    guest.ssh.unpack(archive.read_bytes(), GUEST_FOLDER, PUSH_DEADLINE * guest.slowness)


def push_modules(guest: Guest, archive: Path) -> None:
    """Put a kernel's modules where modprobe(8) looks for them, and have their dependencies found.

    The guest's root cannot be written to: they lie in memory.

    :param archive: what the build packed, of files below /lib/modules.
    :raises SshLost: when the guest does not take them.
    """
    deadline = PUSH_DEADLINE * guest.slowness
    _do(guest, f"busybox mount -t tmpfs -o mode=0755 tmpfs {MODULES_FOLDER}", deadline)
    guest.ssh.unpack(archive.read_bytes(), MODULES_FOLDER, deadline)
    _do(guest, "busybox depmod -a", deadline)


def _do(guest: Guest, words: str, deadline: float) -> None:
    answer = guest.ssh.run(words, deadline)
    if answer.status != 0:
        raise SshLost(f"the guest did not take its modules: {answer.stderr.strip()}")


def guest_command(workload: WorkloadSpec, token: str) -> str:
    """The command line that runs a workload in the guest, under the sampler."""
    folder = f"{GUEST_FOLDER}/{workload.family}"
    if workload.program.endswith(".c"):
        program = [f"{folder}/{Path(workload.program).stem}"]
    else:
        interpreter = "sh" if workload.program.endswith(".sh") else "python3"
        program = [interpreter, f"{folder}/{workload.program}"]
    words = [f"{GUEST_FOLDER}/sampler", "-m", token, "-w", workload.name, "--"]
    loop = (
        ["--seed", str(workload.seed), "--seconds", f"{workload.budget:g}"]
        if workload.budget
        else []
    )
    return f"cd {folder} && exec {shlex.join([*words, *program, *workload.args, *loop])}"


def run_workload(
    guest: Guest,
    workload: WorkloadSpec,
    token: str,
    on_progress: Callable[[str], None] = lambda _: None,
    on_lost: Callable[[], None] = lambda: None,
) -> WorkloadEvidence:
    """Run one workload to its end, its deadline, or the guest's end, and give the evidence.

    Never raises for what the guest does: a lost guest is evidence too.

    :param on_lost: called when the guest is lost or the workload hangs, with everything still as it
        was found: the program is ended afterwards.

    :raises Interrupted: when the lab is being stopped.
    """
    start = guest.console_size()
    began = time.monotonic()
    channel: Channel | None = None
    status: int | None = None
    timed_out, end, problem, how = False, GuestEnd.ALIVE, "", ""
    try:
        channel = guest.ssh.start(guest_command(workload, token))
        status, timed_out, end, how = _watch(guest, workload, channel, began, on_progress)
    except SshLost as lost:
        end = _after_loss(guest)
        if end is GuestEnd.ALIVE:
            end, how = _ask(guest)
            end = GuestEnd.SSH_LOST if end is GuestEnd.ALIVE else end
            problem = lost.message if end is GuestEnd.SSH_LOST else ""
    seconds = time.monotonic() - began
    if end is GuestEnd.ALIVE and not timed_out:
        _await_end_mark(guest, workload, token, start)
    if timed_out or end is not GuestEnd.ALIVE:
        on_lost()
    if channel is not None:
        channel.close()
    stderr = channel.stderr.decode(errors="replace") if channel else ""
    text = guest.console_bytes(start).decode(errors="replace")
    window = read_window(text, stderr, token, workload.name)
    return WorkloadEvidence(
        workload=workload,
        stdout=channel.stdout.decode(errors="replace") if channel else "",
        stderr=stderr,
        exit_status=status,
        timed_out=timed_out,
        seconds=seconds,
        guest=end,
        console=window.text,
        console_complete=window.complete,
        host_problem=problem,
        console_lines=_console_lines(window, guest.console_bytes()[:start].count(b"\n")),
        recovered=window.recovered,
        hang=how,
    )


def _console_lines(window: LogWindow, before: int) -> tuple[int, ...]:
    return tuple(number + before for number in window.numbers)


def _watch(
    guest: Guest,
    workload: WorkloadSpec,
    channel: Channel,
    began: float,
    on_progress: Callable[[str], None],
) -> tuple[int | None, bool, GuestEnd, str]:
    """Wait for the program's end.

    Gives the exit status, whether its time ran out, how the guest is, and how dead where it was
    asked.  A program that still gets on when its time is up has some more, and of that time is
    left out what its guest had no CPU for.
    """
    limit = workload.timeout * guest.slowness
    deadline, most = limit + workload.budget, pulse.MOST * limit + workload.budget
    heard, starved = time.monotonic(), guest.qemu.starved()
    beat = pulse.Pulse(heard)
    shown = ""
    while True:
        if channel.pump():
            heard = time.monotonic()
            beat.look(channel.stdout, channel.stderr, heard)
            case = _last_case(channel.stdout)
            if case != shown:
                shown = case
                on_progress(case)
        status = channel.status()
        if status is not None and status >= 0:
            channel.pump()
            return status, False, guest.state(), ""
        state = guest.state()
        if status == -1 and state is GuestEnd.ALIVE:
            return None, False, *_who_died(guest)
        if state is not GuestEnd.ALIVE:
            channel.pump()
            return None, False, state, ""
        now = time.monotonic()
        if now - began > deadline:
            own = own_time(now - began, guest.qemu.starved() - starved)
            if own > most or (own > deadline and not beat.gets_on(now, guest.slowness)):
                return None, True, *_ask(guest)
        if now - heard > SILENCE * guest.slowness:
            found, how = _ask(guest)
            if found is not GuestEnd.ALIVE:
                return None, False, _await_complaint(guest, found, heard), how
            heard = time.monotonic()
        process.sleep(POLL)


def _ask(guest: Guest) -> tuple[GuestEnd, str]:
    """Have a quiet guest say what its tasks wait for; how it is, and how dead."""
    asked = hang.ask(guest)
    state = guest.state()
    if asked.dead is hang.Dead.NOT or state is not GuestEnd.ALIVE:
        return state, ""
    return (GuestEnd.SSH_LOST if asked.dead is hang.Dead.SSH else GuestEnd.SILENT), asked.dead.value


def _await_complaint(guest: Guest, found: GuestEnd, heard: float) -> GuestEnd:
    """Give a stuck kernel the time it needs to find out, where that is short."""
    until = heard + hang.patience(boot_arguments(guest.request.arch, guest.request.shape,
                                                 guest.request.accelerator))  # fmt: skip
    while time.monotonic() < until and guest.state() is GuestEnd.ALIVE:
        process.sleep(POLL)
    state = guest.state()
    return found if state is GuestEnd.ALIVE else state


def _after_loss(guest: Guest) -> GuestEnd:
    """A broken connection is often the first sign of a panic: give QEMU a moment to tell."""
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        state = guest.state()
        if state is not GuestEnd.ALIVE:
            return state
        process.sleep(POLL)
    return GuestEnd.ALIVE


def _who_died(guest: Guest) -> tuple[GuestEnd, str]:
    """No exit status: the connection broke, or something killed the sampler alone (OOM)."""
    end = _after_loss(guest)
    if end is not GuestEnd.ALIVE or guest.answers(ANSWER * guest.slowness):
        return end, ""
    end, how = _ask(guest)
    return (GuestEnd.SSH_LOST if end is GuestEnd.ALIVE else end), how


def _await_end_mark(guest: Guest, workload: WorkloadSpec, token: str, start: int) -> None:
    mark = f"lab-mark {token} end {workload.name}".encode()
    until = time.monotonic() + END_MARK * guest.slowness
    while mark not in guest.console_bytes(start) and time.monotonic() < until:
        if guest.state() is not GuestEnd.ALIVE:
            return
        process.sleep(POLL)


def _last_case(stdout: bytearray) -> str:
    for line in reversed(stdout[-4096:].decode(errors="replace").splitlines()):
        if line.lstrip().startswith(("ok ", "not ok ")):
            return line.strip()
    return ""
