# SPDX-License-Identifier: GPL-2.0-only
"""Workloads: compiled, started, watched to their end or the guest's; the guest is played."""

from __future__ import annotations

import itertools
import platform
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import HOME
from orchestrator.evidence.klog import window
from orchestrator.guest import hang
from orchestrator.guest.ssh import SshLost
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.evidence import GuestEnd, WorkloadEvidence
from orchestrator.model.spec import ShapeSpec, WorkloadSpec
from orchestrator.plan.lab_yaml import load_config
from orchestrator.workload import programs, watch

LIBRARY = HOME / "guest-tests" / "lib"
X86 = ARCHES["x86_64"]
TOKEN = "0123abcd"

needs_gcc = pytest.mark.skipif(not shutil.which(X86.gcc), reason=f"no {X86.gcc}")


def spec(program: str = "w.c", folder: Path = Path("/f"), **more: Any) -> WorkloadSpec:
    fields: dict[str, Any] = {"timeout": 10.0, "args": (), **more}
    return WorkloadSpec(name="family/w", family="family", folder=folder, program=program, **fields)


# ---------------------------------------------------------------- compiling


@needs_gcc
def test_each_family_that_ships_compiles(programs_cache: Cache) -> None:
    # All their programs, one by one and with all warnings, are compiled in test_guest_tests.
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    assert programs.library_folder(config.workloads) == LIBRARY
    kinds = {(entry.family, Path(entry.program).suffix): entry for entry in config.workloads}
    chosen = kinds.values()
    assert {Path(entry.program).suffix for entry in chosen} == {".c", ".py", ".sh"}
    files = programs.compile_all(chosen, LIBRARY, X86, programs_cache)
    for entry in chosen:
        assert f"{entry.family}/{entry.program.removesuffix('.c')}" in files
    for name, path in files.items():
        if path.suffix not in (".py", ".sh"):
            assert path.read_bytes()[:4] == b"\x7fELF", name
    if platform.machine() == "x86_64":
        done = process.run([files["sampler"], "--", "true"], deadline=20)
        assert b'"status":0' in done.stderr
    # The second time nothing is compiled.
    # (What others are compiling meanwhile, in the same cache, is not yet there.)
    kept = [
        path for path in programs_cache.folder.rglob("*") if path.suffix not in (".lock", ".new")
    ]
    inodes = {path: path.stat().st_ino for path in kept if path.is_file()}
    assert programs.compile_all(chosen, LIBRARY, X86, programs_cache) == files
    assert {path: path.stat().st_ino for path in inodes} == inodes


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "family"
    folder.mkdir()
    library = tmp_path / "lib"
    library.mkdir()
    agent = tmp_path / "agent"
    agent.mkdir()
    monkeypatch.setattr(programs, "AGENT", agent)
    (library / "shared.h").write_text("int shared(void);\n")
    (library / "shared.c").write_text("int shared(void)\n{\n\treturn 0;\n}\n")
    for tool in programs.TOOLS:
        (agent / f"{tool}.c").write_text("int main(void)\n{\n\treturn 0;\n}\n")
    (library / "ktap.py").write_text("")
    (folder / "w.c").write_text('#include "shared.h"\nint main(void)\n{\n\treturn shared();\n}\n')
    return folder


@needs_gcc
def test_a_changed_source_or_header_is_compiled_anew(family: Path, tmp_path: Path) -> None:
    def binary() -> Path:
        made = programs.compile_all(
            [spec(folder=family)], tmp_path / "lib", X86, Cache(tmp_path / "c")
        )
        return made["family/w"]

    first = binary()
    assert binary() == first
    with (tmp_path / "lib/shared.h").open("a") as header:
        header.write("#define NEW 1\n")
    second = binary()
    assert second != first
    (tmp_path / "lib/shared.c").write_text("int shared(void)\n{\n\treturn 1;\n}\n")
    assert binary() not in (first, second)


@needs_gcc
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int main(void)\n{\n\treturn moved;\n}\n", r"w\.c:3:\d+: .*moved"),
        ('#include "gone.h"\n', r"w\.c:1:\d+: .*gone\.h"),
        ("int gone(void);\nint main(void)\n{\n\treturn gone();\n}\n", "gone"),
    ],
)
def test_a_workload_that_does_not_compile(
    family: Path, tmp_path: Path, text: str, reason: str
) -> None:
    (family / "w.c").write_text(text)
    with pytest.raises(UserError, match=reason):
        programs.compile_all([spec(folder=family)], tmp_path / "lib", X86, Cache(tmp_path / "c"))


def test_a_missing_compiler_is_the_hosts_trouble(family: Path, tmp_path: Path) -> None:
    arch = replace(X86, cross="no-such-")
    with pytest.raises(HostError, match="no-such-gcc"):
        programs.compile_all([spec(folder=family)], tmp_path / "lib", arch, Cache(tmp_path / "c"))


def test_a_full_disk_is_the_hosts_trouble() -> None:
    with pytest.raises(HostError, match="No space left"):
        programs._explain("cc1: fatal error: error writing to x: No space left on device\n", X86)


@needs_gcc
def test_python_comes_with_its_library(family: Path, tmp_path: Path) -> None:
    (family / "w.py").write_text("")
    library = tmp_path / "lib"
    files = programs.compile_all([spec("w.py", family)], library, X86, Cache(tmp_path / "c"))
    assert files["family/w.py"] == family / "w.py"
    assert files["family/ktap.py"] == library / "ktap.py"
    assert set(files) == {*programs.TOOLS, "family/w.py", "family/ktap.py"}


def test_a_family_elsewhere_has_the_labs_own_library(tmp_path: Path) -> None:
    elsewhere = [spec(folder=tmp_path / "family")]
    assert programs.library_folder(elsewhere) == LIBRARY
    own = tmp_path / "lib"
    own.mkdir()
    assert programs.library_folder(elsewhere) == LIBRARY
    (own / "ktap.h").write_text("")
    assert programs.library_folder(elsewhere) == own


@needs_gcc
def test_a_family_with_a_library_of_its_own_has_the_labs_agents(tmp_path: Path) -> None:
    for name, text in {
        "lib/ktap.h": "int own(void);\n",
        "lib/own.c": "int own(void)\n{\n\treturn 0;\n}\n",
        "family/part.h": "#define PART own()\n",
        "family/w.c": '#include "ktap.h"\n#include "part.h"\nint main(void) { return PART; }\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    elsewhere = [spec(folder=tmp_path / "family")]
    library = programs.library_folder(elsewhere)
    assert library == tmp_path / "lib"
    files = programs.compile_all(elsewhere, library, X86, Cache(tmp_path / "cache"))
    assert set(files) == {*programs.TOOLS, "family/w"}
    if platform.machine() == "x86_64":
        done = process.run([files["sampler"], "--", files["family/w"]], deadline=20)
        assert b'"status":0' in done.stderr


@pytest.mark.parametrize(
    ("what", "file"),
    [("OWN_LIBRARY", r"guest-tests/lib/ktap\.h"), ("AGENT", r"guest-tests/agent/sampler\.c")],
)
def test_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, file: str) -> None:
    monkeypatch.setattr(programs, what, tmp_path / getattr(programs, what).name)
    with pytest.raises(HostError, match=file):
        programs.library_folder([spec(folder=tmp_path / "family")])
    with pytest.raises(HostError):
        programs.library_folder([])


# ---------------------------------------------------------------- the command


def test_a_looping_workload_is_told_its_seed_and_time() -> None:
    looping = replace(spec(), args=("fork",), seed=17, budget=7.5)
    assert watch.guest_command(looping, "tok").endswith(
        "-- /tmp/lab/family/w fork --seed 17 --seconds 7.5"
    )


def test_guest_command() -> None:
    assert watch.guest_command(spec(), "tok") == (
        "cd /tmp/lab/family && exec /tmp/lab/sampler -m tok -w family/w -- /tmp/lab/family/w"
    )
    assert watch.guest_command(spec("w.py"), "tok").endswith("-- python3 /tmp/lab/family/w.py")


def test_guest_command_quotes_arguments() -> None:
    hostile = ("a b", "; reboot", "$(id)", "`id`", "'", '"', "*", "-n", "", "\\", "\u00e9")
    command = watch.guest_command(spec(args=hostile), "tok")
    words = shlex.split(command)
    assert tuple(words[-len(hostile) :]) == hostile
    # And as a shell reads it.
    folder, _, rest = command.partition(" && exec ")
    assert folder == "cd /tmp/lab/family"
    quoted = rest.partition("/tmp/lab/family/w ")[2]
    done = process.run(["sh", "-c", f"printf '%s\\0' {quoted}"], deadline=10)
    assert tuple(done.text.split("\0")[:-1]) == hostile


# ---------------------------------------------------------------- outside the windows


def mark(action: str, name: str = "family/w", token: str = TOKEN) -> str:
    return f"[    1.000000][  T123] lab-mark {token} {action} {name}"


def test_outside_windows() -> None:
    log = [
        "boot 1", "boot 2", mark("begin"), "inside", mark("end"), "between", mark("begin"),
        "inside", mark("end"), "after", "",
    ]  # fmt: skip
    console = "\r\n".join(log).encode()
    found = window.outside_windows(console, TOKEN)
    assert [(n, [line.strip() for line in lines]) for n, lines in found] == [
        (0, ["boot 1", "boot 2"]), (5, ["between"]), (9, ["after", ""]),
    ]  # fmt: skip
    assert window.outside_windows(console, "other-token") == [(0, console.decode().split("\n"))]


def test_a_window_without_its_end_reaches_to_the_next_or_the_end() -> None:
    log = ["boot", mark("begin"), "lost"]
    assert window.outside_windows("\n".join(log).encode(), TOKEN) == [(0, ["boot"])]
    log += [mark("begin", "family/x"), "x", mark("end", "family/x"), "late"]
    assert window.outside_windows("\n".join(log).encode(), TOKEN) == [
        (0, ["boot"]), (6, ["late"]),
    ]  # fmt: skip


def test_an_end_without_its_begin_hides_nothing() -> None:
    log = ["boot", mark("end"), "after"]
    assert window.outside_windows("\n".join(log).encode(), TOKEN) == [
        (0, ["boot"]), (2, ["after"]),
    ]  # fmt: skip
    assert window.outside_windows(b"", TOKEN) == [(0, [""])]
    assert window.outside_windows(b"\xff\x00\n", TOKEN) == [(0, ["\ufffd\x00", ""])]


# ---------------------------------------------------------------- watching


class FakeChannel:
    """A channel that has printed something and ends, breaks or goes on."""

    def __init__(self, status: Iterator[int | None], stdout: bytes = b"") -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.closed = False
        self._status = status
        self._rest = stdout

    def pump(self) -> bool:
        self.stdout += self._rest
        got, self._rest = bool(self._rest), b""
        return got

    def status(self) -> int | None:
        return next(self._status)

    def close(self) -> None:
        self.closed = True


class FakeGuest:
    """A guest whose every answer is given; it is also its own ``ssh`` and ``qemu``."""

    def __init__(self, channel: FakeChannel | Exception, console: str = "") -> None:
        self.channel = channel
        self.console = b"booted\n"
        self.later = console.encode()
        self.end = GuestEnd.ALIVE
        self.slowness = 1.0
        self.replies = True
        self.asked: list[str] = []
        self.ssh = self
        self.qemu = self
        self.reacts = False  # its kernel, to the keys of its console
        self.keys = ""
        self.request = SimpleNamespace(arch=X86, shape=ShapeSpec("s"), accelerator="tcg")

    def alive(self) -> bool:
        return True

    def stopped(self) -> str:
        return ""

    def sysrq(self, key: str) -> None:
        self.keys += key
        if self.reacts:
            self.console += f"[    9.000000][   T1] sysrq: {key}\n".encode()

    def start(self, command: str) -> FakeChannel:
        self.console += self.later
        if isinstance(self.channel, Exception):
            raise self.channel
        return self.channel

    def run(self, command: str, deadline: float) -> None:
        self.asked.append(command)
        if not self.replies:
            raise SshLost("no answer")

    def answers(self, deadline: float) -> bool:
        return self.replies

    def console_size(self) -> int:
        return len(self.console)

    def console_bytes(self, start: int = 0) -> bytes:
        return self.console[start:]

    def state(self) -> GuestEnd:
        return self.end


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkloadEvidence]:
    monkeypatch.setattr(watch, "END_MARK", 0.1)
    monkeypatch.setattr(watch, "POLL", 0.001)
    monkeypatch.setattr(hang, "REACTION", 0.05)
    monkeypatch.setattr(hang, "OUTPUT", 0.05)

    def work(guest: FakeGuest, **more: Any) -> WorkloadEvidence:
        return watch.run_workload(guest, spec(**more), TOKEN)  # type: ignore[arg-type]

    return work


WINDOW = f"{mark('begin')}\nhello\n{mark('end')}\n"


def forever() -> Iterator[None]:
    return itertools.repeat(None)


def test_an_ordinary_end(run: Callable[..., WorkloadEvidence]) -> None:
    channel = FakeChannel(iter([None, None, 0]), b"ok 1 a\n")
    evidence = run(FakeGuest(channel, WINDOW + "late\n"))
    assert (evidence.exit_status, evidence.timed_out) == (0, False)
    assert evidence.guest is GuestEnd.ALIVE
    assert evidence.stdout == "ok 1 a\n"
    assert evidence.console.strip() == "hello"
    assert evidence.console_complete
    assert evidence.host_problem == ""
    assert channel.closed


def test_the_last_case_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    channel = FakeChannel(iter([None, 0]), b"1..2\nok 1 a\nnot ok 2 b\n# why\xff\n")
    watch.run_workload(FakeGuest(channel, WINDOW), spec(), TOKEN, told.append)  # type: ignore[arg-type]
    assert told == ["not ok 2 b"]


def test_an_end_mark_that_never_comes(run: Callable[..., WorkloadEvidence]) -> None:
    evidence = run(FakeGuest(FakeChannel(iter([0])), f"{mark('begin')}\nBUG: late\n"))
    assert evidence.guest is GuestEnd.ALIVE
    assert not evidence.console_complete
    assert "BUG: late" in evidence.console  # looked at all the same


def test_its_time_runs_out(run: Callable[..., WorkloadEvidence]) -> None:
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    evidence = run(guest, timeout=0.05)
    assert evidence.timed_out
    assert evidence.exit_status is None
    assert evidence.guest is GuestEnd.ALIVE
    assert "sysrq-trigger" in guest.asked[1]  # the kernel is asked who is blocked


def test_a_slow_guest_has_more_time(run: Callable[..., WorkloadEvidence]) -> None:
    guest = FakeGuest(FakeChannel(itertools.chain(itertools.repeat(None, 60), [0])), WINDOW)
    guest.slowness = 100.0
    assert not run(guest, timeout=0.01).timed_out


def test_its_time_runs_out_in_a_dead_guest(run: Callable[..., WorkloadEvidence]) -> None:
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.replies = False
    evidence = run(guest, timeout=0.05)
    assert evidence.timed_out
    assert evidence.guest is GuestEnd.SILENT
    assert evidence.hang == "its kernel does not react to its console either"
    assert guest.keys == "w", "one key without an answer is enough"


@pytest.mark.parametrize("dead", [False, True])
def test_what_is_lost_is_shown_before_its_program_is_ended(dead: bool) -> None:
    channel = FakeChannel(forever())
    guest = FakeGuest(channel, WINDOW)
    guest.end = GuestEnd.PANIC if dead else GuestEnd.ALIVE
    seen: list[bool] = []
    watch.run_workload(
        guest,  # type: ignore[arg-type]
        spec(timeout=0.05), TOKEN, on_lost=lambda: seen.append(channel.closed),
    )  # fmt: skip
    assert (seen, channel.closed) == ([False], True)
    watch.run_workload(
        FakeGuest(FakeChannel(iter([0])), WINDOW),  # type: ignore[arg-type]
        spec(), TOKEN, on_lost=lambda: seen.append(True),
    )  # fmt: skip
    assert seen == [False], "one that ended by itself is not lost"


def test_its_time_runs_out_and_its_kernel_lives(run: Callable[..., WorkloadEvidence]) -> None:
    """Its SSH is dead: the kernel is asked over its console, and what it says is kept."""
    guest = FakeGuest(FakeChannel(forever()), mark("begin") + "\n")
    guest.replies, guest.reacts = False, True
    evidence = run(guest, timeout=0.05)
    assert (evidence.guest, evidence.timed_out) == (GuestEnd.SSH_LOST, True)
    assert evidence.hang == "its kernel answers on the console, its SSH does not"
    assert guest.keys == "wmdt"
    assert "sysrq: t" in evidence.console


def test_a_kernel_that_soon_finds_out_is_waited_for(
    run: Callable[..., WorkloadEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE", 0.05)
    monkeypatch.setattr(hang, "patience", lambda line: 0.6)
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.replies = False
    evidence = run(guest)
    assert evidence.seconds >= 0.5
    assert evidence.guest is GuestEnd.SILENT


def test_a_silent_guest_is_asked(
    run: Callable[..., WorkloadEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE", 0.05)
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.replies = False
    evidence = run(guest)
    assert evidence.guest is GuestEnd.SILENT
    assert not evidence.timed_out
    assert evidence.seconds < 5
    # One that answers is given its time.
    guest = FakeGuest(FakeChannel(itertools.chain(itertools.repeat(None, 200), [3])), WINDOW)
    evidence = run(guest)
    assert guest.asked
    assert (evidence.exit_status, evidence.guest) == (3, GuestEnd.ALIVE)


@pytest.mark.parametrize("end", [GuestEnd.PANIC, GuestEnd.RESET, GuestEnd.QEMU_DIED])
def test_a_guest_that_is_lost(run: Callable[..., WorkloadEvidence], end: GuestEnd) -> None:
    guest = FakeGuest(FakeChannel(forever(), b"ok 1 a\n"), f"{mark('begin')}\nKernel panic\n")
    guest.end = end
    evidence = run(guest)
    assert evidence.guest is end
    assert evidence.exit_status is None
    assert evidence.stdout == "ok 1 a\n"
    assert "Kernel panic" in evidence.console


def test_a_connection_that_breaks(
    run: Callable[..., WorkloadEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(process, "sleep", lambda seconds: waits.append(seconds))
    clock = itertools.count()
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock) * 0.1)
    guest = FakeGuest(FakeChannel(iter([-1])), WINDOW)
    guest.replies = False
    assert run(guest).guest is GuestEnd.SILENT
    guest = FakeGuest(FakeChannel(iter([-1])), WINDOW)
    guest.replies, guest.reacts = False, True
    assert run(guest).guest is GuestEnd.SSH_LOST
    # The channel alone ended without a status: something killed the sampler.
    evidence = run(FakeGuest(FakeChannel(iter([-1])), WINDOW))
    assert evidence.guest is GuestEnd.ALIVE
    assert evidence.exit_status is None
    # A broken connection is often the first sign of a panic.
    guest = FakeGuest(FakeChannel(iter([-1])), WINDOW)
    states = itertools.chain([GuestEnd.ALIVE] * 3, itertools.repeat(GuestEnd.PANIC))
    monkeypatch.setattr(guest, "state", lambda: next(states))
    assert run(guest).guest is GuestEnd.PANIC


def test_a_guest_that_takes_no_command(
    run: Callable[..., WorkloadEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock) * 0.1)
    evidence = run(FakeGuest(SshLost("takes no further command")))
    assert evidence.guest is GuestEnd.SSH_LOST
    assert evidence.host_problem == "takes no further command"
    assert evidence.stdout == ""
    gone = FakeGuest(SshLost("takes no further command"))
    gone.end = GuestEnd.PANIC
    evidence = run(gone)
    assert evidence.guest is GuestEnd.PANIC
    assert evidence.host_problem == ""


def test_programs_are_packed_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\x7fELF" * 1000)
    (tmp_path / "two").write_text("print()\n")
    files = {"family/b": tmp_path / "one", "sampler": tmp_path / "two"}
    archive = programs.pack(files, Cache(tmp_path / "cache"))
    with tarfile.open(archive, "r:xz") as tar:
        assert tar.getnames() == ["family/b", "sampler"]
        assert [(m.mode, m.size) for m in tar.getmembers()] == [(0o755, 4000), (0o755, 8)]
    before = archive.stat().st_ino
    assert programs.pack(files, Cache(tmp_path / "cache")) == archive
    assert archive.stat().st_ino == before
    (tmp_path / "two").write_text("print(1)")
    assert programs.pack(files, Cache(tmp_path / "cache")) != archive
