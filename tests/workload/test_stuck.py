# SPDX-License-Identifier: GPL-2.0-only
"""Several looks at a guest, one after the other; guest and looks are played."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.guest.dump import Symbols
from orchestrator.host.starved import HostTime
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import CpuPlace, GuestEnd, Look
from orchestrator.workload import stuck
from orchestrator.workload.stuck import Prover
from orchestrator.workload.suspicion import Suspicion

SUSPICION = Suspicion(7, "R", 11.0, "0")
SYMBOLS = Symbols((1,), ("f",))
BUSY = CpuPlace(0, ("move_pages+0x1/0x20",), 0x1000, "digest")
IDLE = CpuPlace(0, ("do_idle+0x1/0x20",), 0x9000, "zero", idle=True)
LISTED = (
    "sysrq: Show Blocked State\n"
    "task:w   state:D stack:0 pid:61 tgid:61 ppid:1 flags:0x4\n"
    "Call Trace:\n __mutex_lock+0x1/0x20\n remap+0x1/0x20\n"
)


class FakeGuest:
    """A guest whose CPUs stand where they are told to; its own ``qemu`` too."""

    def __init__(self, *places: CpuPlace, says: str = "") -> None:
        self.places = list(places)
        self.says = says
        self.console = b""
        self.looks = 0
        self.slowness = 1.0
        self.end = GuestEnd.ALIVE
        self.qemu = self
        self.request = SimpleNamespace(arch=ARCHES["x86_64"], folder=Path("/f"))

    def state(self) -> GuestEnd:
        return self.end

    def host_time(self) -> HostTime:
        return HostTime()

    def sysrq(self, key: str) -> None:
        assert key == "w"
        if not self.says:
            raise HostError("the console takes no input")
        self.console += self.says.encode()

    def console_size(self) -> int:
        return len(self.console)

    def console_bytes(self, start: int = 0) -> bytes:
        return self.console[start:]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "SPACING", 0.01)
    monkeypatch.setattr(stuck, "LISTING", 0.05)

    def look(guest: Any, *_: Any) -> Look:
        at = guest.places[min(guest.looks, len(guest.places) - 1)]
        guest.looks += 1
        return Look(float(guest.looks), (replace(at, ran=float(guest.looks)),))

    monkeypatch.setattr(stuck, "look", look)


def prove(guest: FakeGuest, symbols: Symbols = SYMBOLS) -> Any:
    return Prover(guest, lambda: symbols, 10.0).prove(SUSPICION)  # type: ignore[arg-type]


def test_a_loop_is_proved_by_five_looks() -> None:
    guest = FakeGuest(BUSY)
    hit = prove(guest)
    assert (hit.title, guest.looks) == ("endless loop in move_pages", 5)
    assert "suspected since one call of task 7 burnt 11 s" in hit.text


def test_one_that_others_keep_off_its_cpu_is_looked_at_longer() -> None:
    guest = FakeGuest(BUSY, replace(BUSY, call=2, entered="other"), BUSY)
    assert prove(guest).title == "endless loop in move_pages"
    assert guest.looks == 6


def test_what_gets_on_is_not_looked_at_for_ever() -> None:
    guest = FakeGuest(*(replace(BUSY, entered=f"digest{n}") for n in range(20)))
    assert prove(guest) is None
    assert guest.looks == stuck.MOST


def test_a_task_that_sleeps() -> None:
    guest = FakeGuest(IDLE, says=LISTED)
    hit = prove(guest)
    assert hit.title == "lock never let go: task in remap for a mutex"
    assert guest.looks == 5
    assert prove(FakeGuest(IDLE)) is None  # a kernel that lists nobody


def test_a_guest_that_was_heard_of_late_is_not_looked_at() -> None:
    """It may be lost to SSH alone, and in a call that is long by nature."""
    guest = FakeGuest(BUSY)
    prover = Prover(guest, lambda: SYMBOLS, 10.0)  # type: ignore[arg-type]
    assert prover.prove_silent(time.monotonic() - 9.0) is None
    assert guest.looks == 0
    hit = prover.prove_silent(time.monotonic() - 10.0)
    assert hit is not None
    assert "nothing was heard of the guest for 10 s" in hit.text


def test_without_symbols_nothing_is_proved() -> None:
    guest = FakeGuest(BUSY)
    assert prove(guest, Symbols((), ())) is None
    assert guest.looks == 0


def test_a_guest_that_has_gone_down_says_why_itself() -> None:
    guest = FakeGuest(BUSY)
    guest.end = GuestEnd.PANIC
    assert prove(guest) is None


def test_a_qemu_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Look:
        raise HostError("QEMU's monitor does not answer stop")

    monkeypatch.setattr(stuck, "look", refuse)
    assert prove(FakeGuest(BUSY)) is None
