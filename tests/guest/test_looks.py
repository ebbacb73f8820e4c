# SPDX-License-Identifier: GPL-2.0-only
"""One look at the CPUs of a guest that runs; QEMU is a fake over real registers."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import HOME
from orchestrator.guest import dump
from orchestrator.guest.looks import look
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import Look

DATA = HOME / "tests" / "data" / "dump"
TEXT, STACK, USER = 0xFFFFFFFF81000000, 0xFFFFC90000200000, 0x7FFE0000
SYMBOLS = dump.parse_symbols(
    [
        f"{TEXT:016x} T _stext",
        f"{TEXT + 0x100:016x} T do_idle",
        f"{TEXT + 0x200:016x} t moves",
        f"{TEXT + 0x300:016x} T entry",
        f"{TEXT + 0x400:016x} T after",
        f"{TEXT + 0x1000:016x} T _etext",
    ]
)
X86 = """
CPU#0
RAX=0000000000000000 RDI=ffffffff82000010 RBP={bp:016x} RSP={bp:016x}
RIP={ip:016x} RFL={flags:08x} [-------] CPL={cpl} II=0 A20=1 SMM=0 HLT={halted}
"""


class Fake:
    """A QEMU with one CPU and a few words of memory."""

    def __init__(self, text: str, words: dict[int, int]) -> None:
        self.text = text
        self.pages: dict[int, bytearray] = {}
        self.state, self.asked = "running", [""]
        for address, value in words.items():
            page = self.pages.setdefault(address & -4096, bytearray(4096))
            page[address % 4096 : address % 4096 + 8] = struct.pack("<Q", value)

    def ask(self, command: str, **arguments: Any) -> Any:
        self.asked.append(command)
        if command == "query-status":
            return {"running": self.state == "running"}
        if command == "memsave":
            page = self.pages.get(int(arguments["val"]) & (1 << 64) - 1)
            if page is None:
                raise HostError("Invalid addr")
            Path(str(arguments["filename"])).write_bytes(page)
        if command in ("stop", "cont"):
            self.state = {"stop": "paused", "cont": "running"}[command]
        return {}

    def human(self, line: str) -> str:
        assert line == "info registers -a"
        assert self.state == "paused", "a stack that moves is read in pieces"
        return self.text

    def ran(self) -> dict[int, float]:
        return {0: 3.25}


def x86(ip: int = TEXT + 0x210, cpl: int = 0, halted: int = 0, flags: int = 0x246) -> str:
    return X86.format(ip=ip, bp=STACK + 0x800, cpl=cpl, halted=halted, flags=flags)


# A system call: moves() called by entry(), whose frame is the last, below struct pt_regs.
REGS = STACK + 0x910
CALL = {
    STACK + 0x800: STACK + 0x900, STACK + 0x808: TEXT + 0x320,
    STACK + 0x900: 0, STACK + 0x908: TEXT + 0x400,
    REGS + 19 * 8: USER, USER: 7,
}  # fmt: skip


def seen(fake: Fake, folder: Path, arch: str = "x86_64") -> Look:
    return look(fake, ARCHES[arch], SYMBOLS, folder, time.monotonic() + 10, 1.5)


def test_a_system_call(tmp_path: Path) -> None:
    fake = Fake(x86(), CALL)
    looked = seen(fake, tmp_path)
    (at,) = looked.cpus
    assert looked.seconds == 1.5
    # Behind a call that never returns begins another function: it is of the one before.
    assert at.frames == ("moves+0x10/0x100", "entry+0x20/0x100", "entry+0xff/0x100")
    assert (at.call, at.lock, at.ran) == (REGS, 0xFFFFFFFF82000010, 3.25)
    assert (at.interrupts, at.user, at.idle) == (True, False, False)
    assert fake.state == "running"
    assert list(tmp_path.iterdir()) == []


def test_the_way_in_is_the_same_until_it_returns(tmp_path: Path) -> None:
    def entered(words: dict[int, int]) -> str:
        return seen(Fake(x86(), words), tmp_path).cpus[0].entered

    first = entered(CALL)
    assert len(first) == 16
    assert entered(CALL | {STACK + 0x700: 9}) == first  # the kernel's own stack moves
    assert entered(CALL | {REGS + 5 * 8: 9}) != first  # rbx of user space
    assert entered(CALL | {USER: 8}) != first  # a word on its stack
    assert entered(CALL | {USER + 0x700: 9}) != first  # a caller's local
    assert entered(CALL | {USER + 0x800: 9}) == first
    end = CALL | {REGS + 19 * 8: USER + 0xFF8, USER + 0xFF8: 7}
    assert entered(end | {USER + 0xFF8: 8}) != entered(end)  # where the stack soon ends
    without = {key: value for key, value in CALL.items() if key != USER}
    assert entered(without) not in ("", first)  # a stack that cannot be read


def test_the_caller_of_a_function_without_a_frame(tmp_path: Path) -> None:
    """Its return address lies where its stack begins, behind a call of that very function."""
    back = TEXT + 0x340  # in entry(), behind e8 and the way from here to moves()
    call = (TEXT + 0x200 - back) & 0xFFFFFFFF
    code = {back - 8: 0xE8 << 24 | call << 32}
    text = x86().replace(f"RSP={STACK + 0x800:016x}", f"RSP={STACK + 0x7F0:016x}")
    frameless = CALL | code | {STACK + 0x7F8: back}
    (at,) = seen(Fake(text, frameless), tmp_path).cpus
    assert at.frames[:3] == ("moves+0x10/0x100", "entry+0x40/0x100", "entry+0x20/0x100")
    # The same word behind a call of another function was left there by chance.
    other = frameless | {back - 8: 0xE8 << 24 | (call + 0x10) << 32}
    (at,) = seen(Fake(text, other), tmp_path).cpus
    assert at.frames[:2] == ("moves+0x10/0x100", "entry+0x20/0x100")


@pytest.mark.parametrize("way", [0x94000000 | (0x200 - 0x33C) // 4 & 0x3FFFFFF, 0x94000001])
def test_the_caller_of_a_leaf_of_arm64(tmp_path: Path, way: int) -> None:
    text = f"\nCPU#0\n PC={TEXT + 0x210:016x} X30={TEXT + 0x340:016x} X29={0:016x}\n"
    (at,) = seen(Fake(text, {TEXT + 0x338: way << 32}), tmp_path, "arm64").cpus
    called = ("entry+0x40/0x100",) if way != 0x94000001 else ()
    assert at.frames == ("moves+0x10/0x100", *called)


def test_an_exception_of_user_space(tmp_path: Path) -> None:
    """The odd frame pointer leads to the registers at once."""
    regs = STACK + 0x900
    words = {STACK + 0x800: regs | 1, STACK + 0x808: TEXT + 0x320, regs + 0x80: 0x401000}
    (at,) = seen(Fake(x86(), words), tmp_path).cpus
    assert at.frames == ("moves+0x10/0x100", "entry+0x20/0x100", dump.EXCEPTION)
    assert at.call == regs


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (x86(halted=1), {"idle": True}),
        (x86(ip=TEXT + 0x110), {"idle": True}),
        (x86(ip=0x401000, cpl=3), {"user": True}),
        (x86(flags=0x46), {"interrupts": False}),
    ],
)
def test_what_else_a_cpu_does(tmp_path: Path, text: str, what: dict[str, bool]) -> None:
    (at,) = seen(Fake(text, CALL), tmp_path).cpus
    assert replace(at, **what) == at  # type: ignore[arg-type]


def test_registers_of_arm64(tmp_path: Path) -> None:
    text = (DATA / "arm64-registers.txt").read_text()
    last = 0xFFFF800080A9BF70  # the frame pointer: the chain ends here, within pt_regs
    first, second = seen(Fake(text, {last: 0, last + 8: 0}), tmp_path, "arm64").cpus
    assert (first.call, first.lock) == (last - 272, 1)
    assert first.entered
    assert not first.interrupts  # PSTATE has the I bit
    assert not first.user
    assert second.cpu == 1


@pytest.mark.parametrize("over_idle", [True, False])
def test_an_interrupt_over_the_idle_loop(tmp_path: Path, over_idle: bool) -> None:
    """A CPU that loops in an interrupt is not idle, and arm64 leaves no mark in its stack."""
    names = ("do_idle", "moves", "el1h_64_irq" if over_idle else "entry", "after", "_etext")
    symbols = dump.parse_symbols(
        [f"{TEXT:016x} T _stext"]
        + [f"{TEXT + 0x100 * n:016x} T {name}" for n, name in enumerate(names, 1)]
    )
    words = {STACK: STACK + 16, STACK + 8: TEXT + 0x310, STACK + 16: 0, STACK + 24: TEXT + 0x110}
    text = f"\nCPU#0\n PC={TEXT + 0x210:016x} X29={STACK:016x}\n"
    looked = look(Fake(text, words), ARCHES["arm64"], symbols, tmp_path, time.monotonic() + 10, 0)
    assert looked.cpus[0].idle is not over_idle


def test_a_guest_that_stands_still_stays_so(tmp_path: Path) -> None:
    fake = Fake(x86(), CALL)
    fake.state = "paused"  # by a panic
    seen(fake, tmp_path)
    assert "cont" not in fake.asked


def test_a_guest_that_goes_down_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(x86(), CALL)
    ask = fake.ask

    def down(command: str, **arguments: Any) -> Any:
        if command == "cont":
            raise HostError("Resetting the Virtual Machine is required")
        return ask(command, **arguments)

    monkeypatch.setattr(fake, "ask", down)
    assert seen(fake, tmp_path).cpus
