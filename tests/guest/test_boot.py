# SPDX-License-Identifier: GPL-2.0-only
"""A boot that is watched: QEMU and its console are played."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.guest import boot as guest
from orchestrator.guest.boot import BootFailed, GuestRequest
from orchestrator.guest.ssh import SshLost
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.spec import ShapeSpec


class PlayedQemu:
    def __init__(self, console: Path, says: bytes) -> None:
        self.console = console
        self.says = says
        self.lives = True
        self.why = ""
        self.keys = ""
        self.share = 1.0  # of a CPU that it gets
        self.began = time.monotonic()

    def starved(self) -> float:
        return (1 - self.share) * (time.monotonic() - self.began)

    def alive(self) -> bool:
        return self.lives

    def stopped(self) -> str:
        return self.why

    def ssh_port(self) -> int:
        if not self.lives:
            raise HostError("no answer")
        self.console.write_bytes(self.says)
        return 4242

    def sysrq(self, key: str) -> None:
        self.keys += key

    def last_words(self) -> str:
        return "out of memory"


@pytest.fixture
def request_(tmp_path: Path) -> GuestRequest:
    folder = tmp_path / "private"
    folder.mkdir()
    return GuestRequest(
        ARCHES["x86_64"], ShapeSpec("s"), "tcg", tmp_path / "image", tmp_path / "root", folder,
        tmp_path / "console.log", 30.0,
    )  # fmt: skip


def boot(
    request: GuestRequest, machine: PlayedQemu, monkeypatch: pytest.MonkeyPatch, log_in: Any = None
) -> BootFailed:
    @contextlib.contextmanager
    def running(argv: list[str], folder: Path, fds: object, around: object) -> Iterator[PlayedQemu]:
        yield machine

    @contextlib.contextmanager
    def connected(port: int, keys: object, deadline: float, watch: Any) -> Iterator[None]:
        log_in(watch)
        yield None

    monkeypatch.setattr(guest, "running", running)
    monkeypatch.setattr(guest, "connected", connected)
    with pytest.raises(BootFailed) as caught, guest.booted(request):
        pass
    return caught.value


def test_qemu_that_dies_while_booting(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = PlayedQemu(request_.console, b"")
    machine.lives = False
    failed = boot(request_, machine, monkeypatch)
    assert failed.end is GuestEnd.QEMU_DIED
    assert failed.reason == "QEMU died while booting: out of memory"


@pytest.mark.parametrize(("says", "what"), [(b"", "stayed empty"), (b"Linux\n", "fell silent")])
def test_a_console_that_is_silent(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch, says: bytes, what: str
) -> None:
    monkeypatch.setitem(guest.BOOT_SILENCE, "tcg", 0.2)
    failed = boot(request_, PlayedQemu(request_.console, says), monkeypatch)
    assert failed.end is GuestEnd.SILENT
    assert what in failed.reason
    assert failed.seconds < 5


@pytest.mark.parametrize(("share", "least", "most"), [(0.5, 0.38, 0.78), (0.01, 0.78, 5.0)])
def test_a_guest_that_gets_no_cpu_has_more_time_and_not_for_ever(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch, share: float, least: float, most: float
) -> None:
    monkeypatch.setitem(guest.BOOT_SILENCE, "tcg", 0.2)
    machine = PlayedQemu(request_.console, b"Linux\n")
    machine.share = share
    failed = boot(request_, machine, monkeypatch)
    assert failed.end is GuestEnd.SILENT
    assert least < failed.seconds < most


@pytest.mark.parametrize(
    ("log", "end"),
    [(guest.PANIC, GuestEnd.PANIC), (b"", GuestEnd.RESET)],
)
def test_a_guest_that_stops_while_logging_in(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch, log: bytes, end: GuestEnd
) -> None:
    machine = PlayedQemu(request_.console, guest.READY + b"\n" + log)

    def log_in(watch: Any) -> None:
        watch()  # all is well
        machine.why = "guest-reset"
        watch()

    assert boot(request_, machine, monkeypatch, log_in).end is end


def test_a_guest_that_takes_no_login(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log_in(watch: Any) -> None:
        raise SshLost("no SSH login: x")

    machine = PlayedQemu(request_.console, guest.READY)
    failed = boot(request_, machine, monkeypatch, log_in)
    assert (failed.end, failed.reason) == (GuestEnd.SSH_LOST, "no SSH login: x")


def test_further_words_come_last_on_qemus_command_line(request_: GuestRequest) -> None:
    plain = guest.qemu_command(request_)
    more = guest.qemu_command(replace(request_, extra=("-gdb", "unix:/x,server=on,wait=off")))
    assert more == [*plain, "-gdb", "unix:/x,server=on,wait=off"]
