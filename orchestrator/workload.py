# SPDX-License-Identifier: GPL-2.0-only
"""Workloads: compile on the host, push into the guest, start, watch, fetch what they said."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import tarfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from orchestrator import process
from orchestrator.arch import Arch
from orchestrator.errors import HostError, UserError
from orchestrator.evidence import klog
from orchestrator.evidence.logwindow import LogWindow, read_window
from orchestrator.guest import hang
from orchestrator.guest.guest import Guest
from orchestrator.guest.qemu import boot_arguments
from orchestrator.guest.ssh import Channel, SshLost
from orchestrator.kernel.buildlog import host_trouble
from orchestrator.locks import locked
from orchestrator.model import GuestEnd, WorkloadEvidence, WorkloadSpec

GUEST_FOLDER = "/tmp/lab"
# For families that stand in a folder of their own.
OWN_LIBRARY = Path(__file__).resolve().parent.parent / "guest-tests" / "lib"
COMPILE_DEADLINE = 120.0
PUSH_DEADLINE = 60.0
# Small programs: every byte goes through a cipher that TCG emulates.
FLAGS = (
    "-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-pthread",
    "-ffunction-sections", "-Wl,--gc-sections",
)  # fmt: skip
# The lab's own programs in the guest, built alone, of the lab's own sources whatever is beside the
# families, since it is the lab that they speak to: one watches a workload, the other sets the clock
# and the random state of a restored guest.
AGENT = OWN_LIBRARY.parent / "agent"
TOOLS = ("sampler", "revive")
POLL = 0.01
# The sampler prints at least once a second; a guest that says nothing for this long is asked.
SILENCE = 6.0
ANSWER = 6.0
END_MARK = 5.0


def compile_all(
    workloads: Iterable[WorkloadSpec], library: Path, arch: Arch, cache: Path
) -> dict[str, Path]:
    """Compile what is C and collect the rest: name in the guest to file on the host.

    :param library: the folder with the sources all families share.
    :raises UserError: when a workload does not compile, with the compiler's first error.
    """
    files: dict[str, Path] = {}
    bundles: set[tuple[str, Path]] = set()
    shared = sorted(library.glob("*.c"))
    sources: dict[str, Path] = {}
    for workload in workloads:
        program = workload.folder / workload.program
        if program.suffix == ".c":
            sources[f"{workload.family}/{program.stem}"] = program
        else:
            files[f"{workload.family}/{workload.program}"] = program
        for module in sorted(library.glob("*.py")) if program.suffix == ".py" else ():
            files[f"{workload.family}/{module.name}"] = module
        if workload.bundle is not None:
            bundles.add((workload.family, workload.bundle))
    for family, folder in sorted(bundles):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files[f"{family}/{path.relative_to(folder)}"] = path
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # What all share is compiled once: dozens of programs are linked with it.
        parts = [pool.submit(_compile, path, (), library, arch, cache) for path in shared]
        objects = tuple(part.result() for part in parts)
        made = {
            name: pool.submit(_compile, path, objects, library, arch, cache, link=True)
            for name, path in sources.items()
        }
        for name in TOOLS:
            path = AGENT / f"{name}.c"
            made[name] = pool.submit(_compile, path, (), OWN_LIBRARY, arch, cache, link=True)
    return files | {name: future.result() for name, future in made.items()}


def _compile(
    source: Path, objects: tuple[Path, ...], library: Path, arch: Arch, cache: Path,
    *, link: bool = False,
) -> Path:  # fmt: skip
    """An object of ``source``, or a program of it and of ``objects``; kept by what it is made of.

    An object's name tells its content, so the names stand for the objects here.
    """
    recipe = hashlib.sha256("\0".join((arch.gcc, *FLAGS, *(o.name for o in objects))).encode())
    headers = sorted({*library.glob("*.h"), *source.parent.glob("*.h")})
    for path in [source, *headers]:
        recipe.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = cache / "workloads"
    suffix = "" if link else "-o"  # no dot: what is trimmed finds the lock by the name
    made = folder / f"{arch.name}-{source.stem}-{recipe.hexdigest()[:24]}{suffix}"
    with locked(folder / f"{made.name}.lock", deadline=COMPILE_DEADLINE, what=made.name):
        if not made.exists():
            new = folder / f"{made.name}.new"
            how: list[str | Path] = [*objects] if link else ["-c"]
            argv = [arch.gcc, *FLAGS, "-I", library, "-o", new, source, *how]
            done = process.run(argv, deadline=COMPILE_DEADLINE, check=False)
            if done.status != 0:
                _explain(done.stderr.decode(errors="replace"), arch)
            new.rename(made)
        made.touch()  # under the lock, so that trimming sees it
    return made


def _explain(said: str, arch: Arch) -> NoReturn:
    trouble = host_trouble(said)
    if trouble is not None:
        raise HostError(f"a workload cannot be compiled: {trouble[0]}", trouble[1])
    lines = said.splitlines()
    signs = (" error:", "undefined reference")
    first = next(
        (line for line in lines if any(sign in line for sign in signs)), "".join(lines[:1])
    )
    raise UserError(f"a workload does not compile for {arch.name}: {first}")


def pack(files: dict[str, Path], cache: Path) -> Path:
    """All programs of a cell in one archive, name in the guest to file on the host.

    It is kept, so that it may be packed well: statically linked programs are mostly one and the
    same C library, and every byte goes through a cipher that TCG emulates.

    :raises HostError: when the cache cannot be written.
    """
    content = {name: path.read_bytes() for name, path in sorted(files.items())}
    recipe = hashlib.sha256()
    for name, data in content.items():
        recipe.update(f"{name}\0{len(data)}\0".encode() + data)
    archive = cache / "workloads" / f"pack-{recipe.hexdigest()[:24]}"
    with locked(archive.with_name(f"{archive.name}.lock"), deadline=COMPILE_DEADLINE):
        if not archive.exists():
            new = archive.with_name(f"{archive.name}.new")
            with tarfile.open(new, "w:xz", preset=1) as tar:
                for name, data in content.items():
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(data), 0o755
                    tar.addfile(entry, io.BytesIO(data))
            new.rename(archive)
        archive.touch()  # under the lock, so that trimming sees it
    return archive


def push(guest: Guest, archive: Path) -> None:
    """Put all programs into the guest at once.

    :param archive: what :func:`pack` gave.
    :raises SshLost: when the guest does not take them.
    """
    guest.ssh.unpack(archive.read_bytes(), GUEST_FOLDER, PUSH_DEADLINE * guest.slowness)


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
    asked.
    """
    deadline = workload.timeout * guest.slowness + workload.budget
    heard = time.monotonic()
    shown = ""
    while True:
        if channel.pump():
            heard = time.monotonic()
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


def outside_windows(console: bytes, token: str) -> list[tuple[int, list[str]]]:
    """What no workload's window holds of a console log: how many lines precede it, and its lines.

    Where a window has no end the guest was lost in it: what follows belongs to it.  Where one has
    no begin, what is before its end counts as outside too.
    """
    lines = console.decode(errors="replace").split("\n")
    pieces: list[tuple[int, list[str]]] = []
    since: int | None = 0
    for mark in klog.find_marks(lines, token):
        if mark.action == "end":
            if since is not None:
                # The console lost its begin: looked at twice rather than not at all.
                pieces.append((since, lines[since : mark.line - 1]))
            since = mark.line
        elif since is not None:
            pieces.append((since, lines[since : mark.line - 1]))
            since = None
    return pieces if since is None else [*pieces, (since, lines[since:])]


def _last_case(stdout: bytearray) -> str:
    for line in reversed(stdout[-4096:].decode(errors="replace").splitlines()):
        if line.lstrip().startswith(("ok ", "not ok ")):
            return line.strip()
    return ""


def library_folder(workloads: Iterable[WorkloadSpec]) -> Path:
    """The ``lib`` folder beside the families, or else the lab's own.

    :raises HostError: when it, or a program of ``TOOLS``, is missing.
    """
    beside = [workload.folder.parent / "lib" for workload in workloads]
    needed = [*(AGENT / f"{name}.c" for name in TOOLS), OWN_LIBRARY / "ktap.h"]
    for path in needed:
        if not path.is_file():
            name = f"guest-tests/{path.parent.name}"
            raise HostError(f"{name}/{path.name} is missing", f"restore the folder {name}")
    return next(library for library in (*beside, OWN_LIBRARY) if (library / "ktap.h").is_file())
