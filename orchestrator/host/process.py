# SPDX-License-Identifier: GPL-2.0-only
"""The only starter of host processes: clean environment, no stdin, a deadline, no survivors.

No command goes through a shell.  Each child leads a process group of its own, which is killed
when its deadline passes, when the lab is interrupted, or, by the reaper, when the lab itself is
killed.  Commands are asked first (SIGTERM): make then removes its half-made targets.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.host.ending import is_ended, refuse_ended
from orchestrator.host.pump import Pump, feed
from orchestrator.model.errors import HostError, Interrupted

log_commands = logging.getLogger("lab.process")

KEPT_ENVIRONMENT = (
    "HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip

# Seconds for a killed command's pipes to end.
PATIENCE = 5.0
# Seconds from SIGTERM to SIGKILL; guests get no SIGTERM.
GRACE = 1.0

_TOKEN = secrets.token_hex(16)
_lock = threading.Lock()
_live: set[int] = set()
_polite: set[int] = set()  # those of _live that get a SIGTERM first, and a SIGKILL from run()
_reaper: subprocess.Popen[bytes] | None = None
_temp = ""  # set with the reaper
_cancelled = threading.Event()


@dataclass(frozen=True)
class Completed:
    """A command that ended: what it printed, its status (negative: signal), seconds it took.

    ``cpu_seconds`` is user plus system time of the command and all children it waited for.
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu_seconds: float = 0.0

    @property
    def text(self) -> str:
        """Standard output as text, bytes that are no UTF-8 replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def command(self) -> str:
        """The command line to paste into a shell."""
        return shlex.join(self.argv)


class ToolMissing(HostError):
    """A program the lab needs is not installed."""

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"the program {tool!r} is not installed", "run `make setup`, or see `lab doctor`"
        )
        self.tool = tool


class CommandFailed(HostError):
    """A command ended with a status other than zero."""

    def __init__(self, completed: Completed) -> None:
        tail = (completed.stderr or completed.stdout).decode(errors="replace").strip()
        last = tail.splitlines()[-1] if tail else "it printed nothing"
        super().__init__(
            f"{completed.argv[0]} ended with status {completed.status}: {last}",
            f"the command was: {completed.command}",
        )
        self.completed = completed


class DeadlineExpired(HostError):
    """A command was killed because its time was over."""

    def __init__(self, argv: Sequence[str], deadline: float) -> None:
        super().__init__(
            f"{argv[0]} did not end within {deadline:.0f} s and was killed",
            f"the command was: {shlex.join(argv)}",
        )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment children run in: a few kept variables, C locale, the reaper's token."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    kept.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    # mke2fs and friends live in sbin, which a plain user's PATH lacks on Debian.
    kept["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    return kept | {"LC_ALL": "C.UTF-8", "LAB_TOKEN": _TOKEN} | dict(extra or {})


def temp_folder() -> Path:
    """The folder for temporary files of this lab and its children; it is gone when the lab is.

    :raises HostError: when there is no room for it.
    """
    _ensure_reaper()
    return Path(_temp)


def find_tool(name: str) -> str | None:
    """Give the path of a program as children would find it, or None."""
    return shutil.which(name, path=environment()["PATH"])


def cancel() -> None:
    """Stop everything: kill all children and refuse to start more (SIGINT, SIGTERM)."""
    _cancelled.set()
    with _lock:
        groups = [(group, group in _polite) for group in _live]
    for group, polite in groups:
        _kill(group, signal.SIGTERM if polite else signal.SIGKILL)


def cancelled() -> bool:
    """Tell whether :func:`cancel` was called."""
    return _cancelled.is_set()


def sleep(seconds: float) -> None:
    """Sleep, but raise Interrupted at once when the lab is being stopped, and Ended after it."""
    if _cancelled.wait(seconds):
        raise Interrupted("interrupted")
    refuse_ended()


@contextlib.contextmanager
def start(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    around: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a long-lived child for the length of a with block; its whole group dies at the end.

    :param around: words that stand before the command, of programs that become it.

    :raises ToolMissing: when the program does not exist.
    :raises Interrupted: when the lab is being stopped.
    """
    child = _popen(argv, cwd, env, stdin, stdout, stderr, pass_fds, around=around)
    try:
        yield child
    finally:
        _kill(child.pid)
        _reap(child)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    cwd: Path | None = None,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    terminal: bool = False,
    around: Sequence[str] = (),
) -> Completed:
    """Run a command to its end.

    With ``log`` both outputs go to that file (appended) and to ``stdout``, in order; ``on_line``
    sees each line of it as it comes.  With ``terminal`` the child has the user's terminal.

    :param deadline: seconds after which the command's process group is stopped: SIGTERM, and a
        second later SIGKILL.
    :param around: words that stand before the command: what shuts it in (:mod:`.walls`).
    :raises ToolMissing: when the program does not exist.
    :raises CommandFailed: when ``check`` and the status is not zero.
    :raises DeadlineExpired: when the deadline passed.
    :raises Interrupted: when the lab is being stopped; Ended, of that kind, when this thread is.
    """
    merged = log is not None or on_line is not None
    pipe = None if terminal else subprocess.PIPE
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(_open_log(log)) if log else None
        child = _popen(
            argv, cwd, env,
            None if terminal else (subprocess.PIPE if input is not None else subprocess.DEVNULL),
            pipe, subprocess.STDOUT if merged and not terminal else pipe, (),
            own_group=not terminal, polite=True, around=around,
        )  # fmt: skip
        status, cpu, pumps = _attend(child, began + deadline, input, sink, on_line, not terminal)
    words = tuple(str(word) for word in argv)
    if _cancelled.is_set():
        raise Interrupted("interrupted")
    refuse_ended()
    for pump in pumps:
        pump.complain(words[0])
    if status is None:
        raise DeadlineExpired(words, deadline)
    out, err = ([bytes(pump.data) for pump in pumps] + [b"", b""])[:2]
    done = Completed(words, status, out, err, time.monotonic() - began, cpu)
    if check and status != 0:
        raise CommandFailed(done)
    return done


def launch(argv: Sequence[str], patience: float = 1.0) -> None:
    """Start a program of the user's, a browser, in the user's own environment; it outlives the lab.

    :param patience: seconds that it has to fail in.
    :raises ToolMissing: when the program does not exist.
    :raises CommandFailed: when it ended with a status other than zero by then.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise ToolMissing(argv[0])
    log_commands.debug("%s", shlex.join(argv))
    null = subprocess.DEVNULL
    try:
        # Without the reaper's token and in a session of its own: nobody here ends it.
        child = subprocess.Popen(
            [program, *argv[1:]], stdin=null, stdout=null, stderr=null, start_new_session=True
        )
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from error
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    if child.returncode:
        raise CommandFailed(Completed(tuple(argv), child.returncode, b"", b"", patience))
    child.returncode = child.returncode or 0  # let go of it, without a ResourceWarning


def _attend(
    child: subprocess.Popen[bytes],
    until: float,
    input: bytes | None,
    sink: IO[bytes] | None,
    on_line: Callable[[str], None] | None,
    group: bool,
) -> tuple[int | None, float, list[Pump]]:
    """Move what goes through a child's pipes until it has ended, and its group with it.

    Gives what :func:`_wait` does, and the pumps that hold what the child printed.
    """
    stop = functools.partial(_kill, child.pid)
    pumps: list[Pump] = []
    try:
        if child.stdout:
            pumps.append(Pump(child.stdout, stop, sink, on_line))
        if child.stderr:
            pumps.append(Pump(child.stderr, stop))
        if input is not None and child.stdin:
            feed(child.stdin, input)
        try:
            status, cpu = _wait(child, until, group)
        except BaseException:  # Ctrl-C in the main thread
            if group:
                _stop(child)
            raise
        for pump in pumps:
            pump.join(PATIENCE)  # a grandchild may still hold the pipe: its group dies now
    finally:
        if group:
            _kill(child.pid)
        _forget(child.pid)
    for pump in pumps:
        pump.join(PATIENCE)  # one that made a session of its own is left to the reaper
    return status, cpu, pumps


def _popen(
    argv: Sequence[str | Path],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: int | None,
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
    pass_fds: Sequence[int],
    own_group: bool = True,
    polite: bool = False,
    around: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    if _cancelled.is_set():
        raise Interrupted("interrupted")
    refuse_ended()
    words = [str(word) for word in argv]
    log_commands.debug("%s", shlex.join([*around, *words]))
    full = environment(env)
    for name in (words[0], *around[:1]):  # the first one is what is started
        program = shutil.which(name, path=full["PATH"])
        if program is None:
            raise ToolMissing(name)
    words = [*around[1:], *words] if around else words[1:]
    full = {**full, "TMPDIR": str(temp_folder()), **(env or {})}
    try:
        child = subprocess.Popen(
            [str(program), *words], cwd=cwd, env=full, stdin=stdin, stdout=stdout, stderr=stderr,
            pass_fds=pass_fds, start_new_session=own_group,
        )  # fmt: skip
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from error
    with _lock:
        _live.add(child.pid)
        if polite:
            _polite.add(child.pid)
    # cancel() may have looked at _live just before.  A command is asked first by who waits for it.
    if _cancelled.is_set() and not (polite and own_group):
        _kill(child.pid)
    return child


def _wait(child: subprocess.Popen[bytes], until: float, group: bool) -> tuple[int | None, float]:
    """Wait for the child with rusage; None when it had to be killed at its deadline."""
    pause, expired, asked, killed = 0.001, False, 0.0, 0.0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            if asked:
                _kill(child.pid)  # what is left of the group may hold the pipes
            child.returncode = os.waitstatus_to_exitcode(status)
            return None if expired else child.returncode, usage.ru_utime + usage.ru_stime
        now = time.monotonic()
        if not asked and (now > until or (group and (_cancelled.is_set() or is_ended()))):
            expired, asked = now > until, now
            _kill(child.pid, signal.SIGTERM) if group else child.terminate()
        elif asked and not killed and now > asked + GRACE:
            killed = now
            _kill(child.pid) if group else child.kill()
        elif killed and now > killed + 2 * PATIENCE:  # stuck in the kernel, where no signal reaches
            log_commands.warning("pid %d does not die", child.pid)
            return None, 0.0
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ask a command's group to end and give it a moment."""
    _kill(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)


def _forget(group: int) -> None:
    with _lock:
        _live.discard(group)
        _polite.discard(group)


def _reap(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:  # stuck in the kernel: the reaper stays after it
        log_commands.warning("pid %d does not die", child.pid)
    _forget(child.pid)


def _open_log(path: Path) -> IO[bytes]:
    try:
        # Unbuffered: a reader sees each line at once, and closing has nothing left to fail at.
        return path.open("ab", buffering=0)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def _kill(group: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@atexit.register
def _dismiss_reaper() -> None:
    """Let the reaper go: it sweeps up after us and ends, and nobody waits for it."""
    if _reaper is not None and _reaper.stdin is not None:
        with contextlib.suppress(OSError):
            os.rmdir(_temp)  # noqa: PTH106 (mostly empty by now; else the reaper sees to it)
        _reaper.stdin.close()
        _reaper.returncode = 0


def _ensure_reaper() -> None:
    """Start the reaper once; its pipe's writing end stays open in this process alone."""
    global _reaper, _temp
    with _lock:
        if _reaper is None:
            try:
                _temp = tempfile.mkdtemp(prefix="lab-")
                # To look for names is denied; mmdebstrap's other user passes through.
                Path(_temp).chmod(0o711)
            except OSError as error:
                raise HostError(f"no folder for temporary files: {error}", "set TMPDIR") from error
            script = str(Path(__file__).with_name("reaper.py"))
            _reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", script, _temp, _TOKEN],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"}, cwd="/", start_new_session=True,
            )  # fmt: skip
