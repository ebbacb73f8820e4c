# SPDX-License-Identifier: GPL-2.0-only
"""Workloads: started, watched to their end or the guest's; the guest is played."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import HOME
from orchestrator.evidence.klog import window
from orchestrator.guest import hang
from orchestrator.guest.dump import Symbols
from orchestrator.guest.ssh import SshLost
from orchestrator.host import process
from orchestrator.host.starved import HostTime
from orchestrator.model.arch import ARCHES
from orchestrator.model.evidence import GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.spec import ShapeSpec, WorkloadSpec
from orchestrator.workload import stuck, suspicion, watch
from orchestrator.workload.suspicion import Suspicion

LIBRARY = HOME / "guest-tests" / "lib"
X86 = ARCHES["x86_64"]
TOKEN = "0123abcd"


def spec(program: str = "w.c", folder: Path = Path("/f"), **more: Any) -> WorkloadSpec:
    fields: dict[str, Any] = {"timeout": 10.0, "args": (), **more}
    return WorkloadSpec(name="family/w", family="family", folder=folder, program=program, **fields)


# ---------------------------------------------------------------- modules


class ModulesGuest:
    """A guest that takes an archive, and refuses one command where that is asked for."""

    def __init__(self, refused: str = "") -> None:
        self.slowness = 2.0
        self.ssh = self
        self.refused = refused
        self.done: list[str] = []

    def run(self, words: str, deadline: float) -> SimpleNamespace:
        assert deadline > 0
        self.done.append(words)
        return SimpleNamespace(status=int(words == self.refused), stderr="no such folder\n")

    def unpack(self, archive: bytes, folder: str, _deadline: float) -> None:
        self.done.append(f"{archive.decode()} in {folder}")


def test_modules_are_put_where_modprobe_looks(tmp_path: Path) -> None:
    archive = tmp_path / "modules"
    archive.write_text("files")
    guest = ModulesGuest()
    watch.push_modules(guest, archive)  # type: ignore[arg-type]
    mount, unpacked, listed = guest.done
    assert mount.endswith("tmpfs /lib/modules")
    assert (unpacked, listed) == ("files in /lib/modules", "busybox depmod -a")
    with pytest.raises(SshLost, match="did not take its modules: no such folder"):
        watch.push_modules(ModulesGuest(mount), archive)  # type: ignore[arg-type]


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


class LongGuest(ModulesGuest):
    """A guest that takes what is written to a file."""

    def run(self, words: str, deadline: float, stdin: bytes = b"") -> SimpleNamespace:
        self.done.append(stdin.decode())
        return super().run(words, deadline)


def test_a_command_that_is_too_long_is_a_file_in_the_guest() -> None:
    command = watch.guest_command(spec(args=("--passed", "1+2" * 3000)), "tok")
    guest = LongGuest()
    assert watch._short(guest, command) == "exec sh /tmp/lab/command"  # type: ignore[arg-type]
    assert guest.done == [command, "cat > /tmp/lab/command"]
    small = watch.guest_command(spec(), "tok")
    assert watch._short(guest, small) == small  # type: ignore[arg-type]
    assert len(guest.done) == 2
    with pytest.raises(SshLost, match="did not take a long command: no such folder"):
        watch._short(LongGuest("cat > /tmp/lab/command"), command)  # type: ignore[arg-type]


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
        self.made, self.without = time.monotonic(), 0.0
        self.replies = True
        self.asked: list[str] = []
        self.ssh = self
        self.qemu = self
        self.reacts = False  # its kernel, to the keys of its console
        self.keys = ""
        self.request = SimpleNamespace(arch=X86, shape=ShapeSpec("s"), accelerator="tcg")

    def alive(self) -> bool:
        return True

    def starved(self) -> float:
        """It had no CPU for so much of the time since it was made."""
        return self.without * (time.monotonic() - self.made)

    def host_time(self) -> HostTime:
        return HostTime(self.starved())

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


class MovingChannel(FakeChannel):
    """A channel whose sampler sees other pages at each look."""

    def pump(self) -> bool:
        self.stderr += b'{"t":1.0,"RssAnon":%d}\n' % len(self.stderr)
        return True


def _after(seconds: float) -> Iterator[int | None]:
    """The exit status 0, and none before ``seconds`` have passed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield None
    yield 0


def test_what_still_gets_on_has_more_time(
    run: Callable[..., WorkloadEvidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch.pulse, "QUIET", 0.3)
    evidence = run(FakeGuest(MovingChannel(_after(0.5)), WINDOW), timeout=0.4)
    assert not evidence.timed_out
    assert evidence.seconds > 0.4
    evidence = run(FakeGuest(MovingChannel(forever()), WINDOW), timeout=0.1)
    assert evidence.timed_out
    assert 0.3 <= evidence.seconds < 3.0  # three times its limit, and no more
    looping = run(FakeGuest(MovingChannel(forever()), WINDOW), timeout=0.02, budget=0.5, seed=1)
    assert 0.5 <= looping.seconds < 1.5  # of a loop's time nothing is added


def test_a_slow_guest_has_more_time(run: Callable[..., WorkloadEvidence]) -> None:
    guest = FakeGuest(FakeChannel(itertools.chain(itertools.repeat(None, 60), [0])), WINDOW)
    guest.slowness = 100.0
    assert not run(guest, timeout=0.01).timed_out


def test_time_without_a_cpu_is_not_the_workloads(run: Callable[..., WorkloadEvidence]) -> None:
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.without = 0.7
    evidence = run(guest, timeout=0.1)
    assert evidence.timed_out
    assert evidence.seconds >= 0.3
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.without = 1.0  # for good
    evidence = run(guest, timeout=0.1)
    assert evidence.timed_out
    assert evidence.seconds >= 0.4


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


# ---------------------------------------------------------------- kernels that hang

STUCK = Hit("endless loop in move_pages", "endless-loop", "s", 0, "looks", fatal=True)


class StuckChannel(FakeChannel):
    """A channel whose sampler tells of one call that lasts and lasts."""

    def pump(self) -> bool:
        self.stderr += b'{"stuck":7,"state":"R","seconds":%d.0,"wchan":"0"}\n' % (
            10 + len(self.stderr)
        )
        return True


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> list[Suspicion]:
    """What was looked at; all of it is proved to hang."""
    told: list[Suspicion] = []

    class Played(stuck.Prover):
        def prove(self, suspicion: Suspicion) -> Hit | None:
            told.append(suspicion)
            return STUCK

        def prove_silent(self, heard: float) -> Hit | None:
            return self.prove(Suspicion(0, "", time.monotonic() - heard))

    monkeypatch.setattr(watch, "Prover", Played)
    return told


def hung(guest: FakeGuest) -> WorkloadEvidence:
    return watch.run_workload(
        guest,
        spec(timeout=60.0),
        TOKEN,
        symbols=lambda: Symbols((1,), ("f",)),  # type: ignore[arg-type]
    )


def test_a_call_that_never_returns(proved: list[Suspicion]) -> None:
    channel = StuckChannel(forever())
    evidence = hung(FakeGuest(channel, WINDOW))
    assert evidence.stuck == STUCK
    assert (evidence.guest, evidence.timed_out, evidence.exit_status) == (
        GuestEnd.ALIVE, False, None,
    )  # fmt: skip
    assert evidence.seconds < 5
    assert [(s.tid, s.state) for s in proved] == [(7, "R")]
    assert channel.closed


def test_a_guest_that_goes_silent_is_looked_at(
    proved: list[Suspicion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE", 0.05)
    monkeypatch.setattr(hang, "REACTION", 0.05)
    guest = FakeGuest(FakeChannel(forever()), WINDOW)
    guest.replies = False
    evidence = hung(guest)
    assert evidence.seconds >= 2
    assert (evidence.stuck, evidence.guest) == (STUCK, GuestEnd.SILENT)
    assert [s.tid for s in proved] == [0]


def test_looks_that_prove_nothing_cost_no_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Suspicion] = []
    monkeypatch.setattr(stuck.Prover, "prove", lambda _, suspicion: looked.append(suspicion))
    ends = itertools.chain(itertools.repeat(None, 6), [0])
    evidence = hung(FakeGuest(StuckChannel(ends), WINDOW))
    assert (evidence.exit_status, evidence.stuck) == (0, None)
    assert looked


def test_without_symbols_nobody_looks(run: Callable[..., WorkloadEvidence]) -> None:
    ends = itertools.chain(itertools.repeat(None, 6), [0])
    assert run(FakeGuest(StuckChannel(ends), WINDOW)).exit_status == 0


def test_looks_come_before_a_silent_guest_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(slowness: float, longest_call: float = 1.5) -> tuple[float, float]:
        guest: Any = FakeGuest(FakeChannel(forever()), WINDOW)
        guest.slowness = slowness
        most = suspicion.limit(longest_call, slowness)
        prover = stuck.Prover(guest, lambda: Symbols((), ()), most)
        return most, watch._quiet(guest, prover)

    for slowness in (1.0, 3.0, 7.0, 30.0):
        most, asked = quiet(slowness)
        assert most < asked
        assert asked <= 2 * watch.SILENCE * slowness + 2
    # A call that is long by nature does not keep the lab from asking.
    assert quiet(7.0, 240.0)[1] == 2 * watch.SILENCE * 7.0 + 2
