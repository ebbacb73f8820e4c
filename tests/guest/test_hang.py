# SPDX-License-Identifier: GPL-2.0-only
"""How long a kernel takes to find out that it is stuck, and who is asked when it says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.guest import hang
from orchestrator.guest.hang import Dead
from orchestrator.guest.ssh import SshLost
from orchestrator.model.errors import HostError


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("", 27.0),
        ("quiet watchdog_thresh=5", 24.0),
        ("watchdog_thresh=5 rcupdate.rcu_cpu_stall_timeout=8", 15.0),
        ("watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120", 0.0),
        ("watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=5 "
         "rcupdate.rcu_cpu_stall_timeout=10", 15.0),
        ("xwatchdog_thresh=3", 27.0),
    ],
)  # fmt: skip
def test_patience(line: str, seconds: float) -> None:
    assert hang.patience(line) == seconds


class Silent:
    """A guest that answers nothing, or only what it is told to."""

    def __init__(self, reacts: bool = False, why: str = "", alive: bool = True) -> None:
        self.slowness = 1.0
        self.console = b""
        self.reacts = reacts
        self.why = why
        self.lives = alive
        self.keys = ""
        self.ssh = SimpleNamespace(run=self._refuse)
        self.qemu = self

    def _refuse(self, *_: Any) -> None:
        raise SshLost("no answer")

    def alive(self) -> bool:
        return self.lives

    def stopped(self) -> str:
        return self.why

    def sysrq(self, key: str) -> None:
        self.keys += key
        self.console += b"sysrq: SysRq\n" * self.reacts

    def console_size(self) -> int:
        return len(self.console)

    def console_bytes(self, start: int = 0) -> bytes:
        return self.console[start:]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hang, "REACTION", 0.05)


@pytest.mark.parametrize(
    ("guest", "dead", "keys"),
    [
        (Silent(), Dead.KERNEL, "w"),
        (Silent(reacts=True), Dead.SSH, "wmdt"),
        (Silent(alive=False), Dead.QEMU, ""),
        (Silent(why="guest-panic"), Dead.KERNEL, ""),
    ],
)
def test_how_dead(guest: Any, dead: Dead, keys: str) -> None:
    asked = hang.ask(guest)
    assert (asked.dead, guest.keys) == (dead, keys)
    assert asked.said == len(guest.console)


def test_a_console_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    guest: Any = Silent()

    def refuse(key: str) -> None:
        raise HostError("the console takes no input: Connection refused")

    monkeypatch.setattr(guest, "sysrq", refuse)
    assert hang.ask(guest).dead is Dead.QEMU


def test_one_that_answers() -> None:
    said: list[str] = []
    guest: Any = Silent()
    guest.ssh = SimpleNamespace(run=lambda words, deadline: said.append(words))
    assert hang.ask(guest).dead is Dead.NOT
    assert said == [
        "true",
        "echo w > /proc/sysrq-trigger; echo m > /proc/sysrq-trigger; "
        "echo d > /proc/sysrq-trigger; echo t > /proc/sysrq-trigger",
    ]
