# SPDX-License-Identifier: GPL-2.0-only
"""Workloads in the guest: push them, start, watch, fetch what they said."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.evidence.klog.window import LogWindow, read_window
from orchestrator.guest import hang
from orchestrator.guest.boot import Guest
from orchestrator.guest.dump import Symbols
from orchestrator.guest.qemu import boot_arguments
from orchestrator.guest.ssh import Channel, SshLost
from orchestrator.host import process
from orchestrator.host.starved import MOST, own_time
from orchestrator.model.evidence import GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.spec import WorkloadSpec
from orchestrator.workload import pulse
from orchestrator.workload.stuck import Prover
from orchestrator.workload.suspicion import Suspicions, limit

GUEST_FOLDER = "/tmp/lab"
MODULES_FOLDER = "/lib/modules"
PUSH_DEADLINE = 60.0
POLL = 0.01
# The sampler prints at least once a second; a guest that says nothing for this long is asked.
SILENCE = 6.0
ANSWER = 6.0
END_MARK = 5.0
# Dropbear, the guest's SSH server, takes no longer command (MAX_CMD_LEN of its sysoptions.h: 9000).
_LONGEST_COMMAND = 8000
_COMMAND_FILE = f"{GUEST_FOLDER}/command"


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


def _short(guest: Guest, command: str) -> str:
    """A command as the guest's SSH server takes it: a long one is a file there.

    Programs of `lab explore` are arguments, and may be many.
    """
    if len(command) <= _LONGEST_COMMAND:
        return command
    answer = guest.ssh.run(f"cat > {_COMMAND_FILE}", ANSWER, command.encode())
    if answer.status != 0:
        raise SshLost(f"the guest did not take a long command: {answer.stderr.strip()}")
    return f"exec sh {_COMMAND_FILE}"


def run_workload(
    guest: Guest,
    workload: WorkloadSpec,
    token: str,
    on_progress: Callable[[str], None] = lambda _: None,
    on_lost: Callable[[], None] = lambda: None,
    symbols: Callable[[], Symbols] | None = None,
) -> WorkloadEvidence:
    """Run one workload to its end, its deadline, or the guest's end, and give the evidence.

    Never raises for what the guest does: a lost guest is evidence too.

    :param on_lost: called when the guest is lost or the workload hangs, with everything still as it
        was found: the program is ended afterwards.
    :param symbols: gives the symbols of the guest's kernel, without which no hang can be proved.

    :raises Interrupted: when the lab is being stopped.
    """
    start = guest.console_size()
    began = time.monotonic()
    channel: Channel | None = None
    longest = limit(workload.longest_call, guest.slowness)
    prover = Prover(guest, symbols, longest) if symbols else None
    seen, problem = _Seen(), ""
    try:
        channel = guest.ssh.start(_short(guest, guest_command(workload, token)))
        seen = _watch(guest, workload, channel, began, on_progress, prover)
    except SshLost as lost:
        seen = _Seen(end=_after_loss(guest))
        if seen.end is GuestEnd.ALIVE:
            seen = _ask(guest, prover, began)
            seen = replace(seen, end=GuestEnd.SSH_LOST) if seen.end is GuestEnd.ALIVE else seen
            problem = lost.message if seen.end is GuestEnd.SSH_LOST and not seen.stuck else ""
    end = seen.end
    seconds = time.monotonic() - began
    lost_or_hung = seen.timed_out or seen.stuck is not None or end is not GuestEnd.ALIVE
    if not lost_or_hung:
        _await_end_mark(guest, workload, token, start)
    else:
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
        exit_status=seen.status,
        timed_out=seen.timed_out,
        seconds=seconds,
        guest=end,
        console=window.text,
        console_complete=window.complete,
        host_problem=problem,
        console_lines=_console_lines(window, guest.console_bytes()[:start].count(b"\n")),
        recovered=window.recovered,
        hang=seen.how,
        stuck=seen.stuck,
    )


def _console_lines(window: LogWindow, before: int) -> tuple[int, ...]:
    return tuple(number + before for number in window.numbers)


@dataclass(frozen=True)
class _Seen:
    """How a program ended: its exit status, whether its time ran out, how the guest is, how dead
    where it was asked, and what was proved that will never get on."""

    status: int | None = None
    timed_out: bool = False
    end: GuestEnd = GuestEnd.ALIVE
    how: str = ""
    stuck: Hit | None = None


def _watch(
    guest: Guest,
    workload: WorkloadSpec,
    channel: Channel,
    began: float,
    on_progress: Callable[[str], None],
    prover: Prover | None,
) -> _Seen:
    """Wait for the program's end.

    A program that still gets on when its time is up has some more, and of that time is left out
    what its guest had no CPU for.  What may be stuck in the kernel is looked at long before.
    """
    given = workload.timeout * guest.slowness
    deadline, most = given + workload.budget, pulse.MOST * given + workload.budget
    quiet = _quiet(guest, prover)
    heard, starved = time.monotonic(), guest.qemu.starved()
    beat = pulse.Pulse(heard)
    suspicions = Suspicions(heard, limit(workload.longest_call, guest.slowness))
    shown = ""
    while True:
        if channel.pump():
            heard = time.monotonic()
            beat.look(channel.stdout, channel.stderr, heard)
            suspicions.hear(channel.stderr, heard)
            case = _last_case(channel.stdout)
            if case != shown:
                shown = case
                on_progress(case)
        status = channel.status()
        if status is not None and status >= 0:
            channel.pump()
            return _Seen(status, end=guest.state())
        state = guest.state()
        if status == -1 and state is GuestEnd.ALIVE:
            return _who_died(guest, prover, heard)
        if state is not GuestEnd.ALIVE:
            channel.pump()
            return _Seen(end=state)
        now = time.monotonic()
        suspect = suspicions.due(now, guest.qemu.host_time) if prover else None
        if prover and suspect:
            on_progress(f"looking whether the kernel is stuck: {suspect.told}")
            found = prover.prove(suspect)
            if found:
                return _Seen(end=guest.state(), stuck=found)
            suspicions.unproven()
            continue
        if now - began > deadline:
            own = own_time(now - began, guest.qemu.starved() - starved)
            if own > most or (own > deadline and not beat.gets_on(now, guest.slowness)):
                return replace(_ask(guest, prover, heard), timed_out=True)
        if now - heard > quiet:
            seen = _ask(guest, prover, heard)
            if seen.stuck:
                return seen
            if seen.end is not GuestEnd.ALIVE:
                return replace(seen, end=_await_complaint(guest, seen.end, heard))
            heard = time.monotonic()
        process.sleep(POLL)


def _quiet(guest: Guest, prover: Prover | None) -> float:
    """Seconds of silence after which a guest is asked; looks, which are quicker, come first."""
    asked = SILENCE * guest.slowness
    return asked if prover is None else max(asked, min(MOST * prover.limit, 2 * asked) + 2)


def _ask(guest: Guest, prover: Prover | None, heard: float) -> _Seen:
    """Have a quiet guest say what its tasks wait for; how it is, how dead, and whether stuck."""
    asked = hang.ask(guest)
    state = guest.state()
    if asked.dead is hang.Dead.NOT or state is not GuestEnd.ALIVE:
        return _Seen(end=state)
    found = None
    if prover and asked.dead is not hang.Dead.QEMU:
        found = prover.prove_silent(heard)
    end = GuestEnd.SSH_LOST if asked.dead is hang.Dead.SSH else GuestEnd.SILENT
    return _Seen(end=end, how=asked.dead.value, stuck=found)


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


def _who_died(guest: Guest, prover: Prover | None, heard: float) -> _Seen:
    """No exit status: the connection broke, or something killed the sampler alone (OOM)."""
    end = _after_loss(guest)
    if end is not GuestEnd.ALIVE or guest.answers(ANSWER * guest.slowness):
        return _Seen(end=end)
    seen = _ask(guest, prover, heard)
    return replace(seen, end=GuestEnd.SSH_LOST) if seen.end is GuestEnd.ALIVE else seen


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
