# SPDX-License-Identifier: GPL-2.0-only
"""One look at where the CPUs of a running guest stand: it goes on afterwards as if nothing was.

QEMU halts them for the moment, so that a stack is of one piece.  Needs nothing of the guest, which
may answer nobody any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Protocol

from orchestrator.guest import dump
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import CpuPlace, Look

# struct pt_regs (arch/x86/include/asm/ptrace.h of v6.12): 21 words, of which sp is the 20th.
_X86_REGS, _X86_SP = 21 * 8, 19 * 8
# arm64 ends the chain of frames inside pt_regs, behind user space's registers: 304 bytes from its
# beginning in v6.12 and 296 since v6.13 (arch/arm64/include/asm/ptrace.h).
_ARM_BEFORE = 272
# Of user space's stack: the locals of whoever repeats a call, such as how often it did.
_STACK_BYTES = 2048
# The bytes of a direct call; and of registers that a function without a frame may have saved.
_X86_CALL, _ARM_CALL, _SAVED = 5, 4, 64
# X86_EFLAGS_IF; PSR_I_BIT.
_X86_IF, _ARM_I = 0x200, 0x80
_FLAGS = re.compile(r"\b(?P<name>RFL|PSTATE)=(?P<value>[0-9a-f]{8})\b")
_USER = re.compile(r"\bCPL=3\b|\bEL0t\b")
_HALTED = re.compile(r"\bHLT=1\b")
# The idle loop, kernel/sched/idle.c.
_IDLE = re.compile(r"(?:do_idle|cpu_startup_entry|cpu_idle_poll)\+")
# What an idle CPU does in an interrupt is work: x86_64's mark, arm64's entries (entry-common.c).
_TAKEN = re.compile(re.escape(dump.EXCEPTION) + r"|el1[ht]_64_\w+\+")
# The first argument's register, of x86_64 and arm64.
_FIRST = ("RDI", "X00")


class Watched(dump.Monitor, Protocol):
    """What of :class:`orchestrator.guest.qemu.Qemu` is needed here."""

    def ran(self) -> dict[int, float]:
        """Seconds of the host's CPU time that each of the guest's CPUs has had."""


def look(
    qemu: Watched, arch: Arch, symbols: dump.Symbols, folder: Path, until: float, seconds: float
) -> Look:
    """Where each CPU stands.

    :param folder: for short-lived files.
    :param until: of :func:`time.monotonic`; what would be read later is left out.
    :param seconds: what the look says of when it was taken.
    :raises HostError: when QEMU does not answer.
    """
    runs = bool(qemu.ask("query-status").get("running"))
    ran = qemu.ran()
    if runs:
        qemu.ask("stop")
    try:
        places = tuple(
            _place(vcpu, arch, dump.Memory(qemu, vcpu.index, folder, until), symbols,
                   ran.get(vcpu.index, 0.0))
            for vcpu in dump.read_vcpus(qemu)
        )  # fmt: skip
    finally:
        if runs:
            with contextlib.suppress(HostError):  # it has gone down in this very moment
                qemu.ask("cont")
    return Look(seconds, places)


def _place(
    vcpu: dump.Vcpu, arch: Arch, memory: dump.Memory, symbols: dump.Symbols, ran: float
) -> CpuPlace:
    walked = dump.walk(vcpu, arch, memory, symbols)
    frames = [_named(at, called, symbols) for at, called in walked.addresses]
    frames.insert(1, symbols.place(_caller(vcpu, arch, memory, symbols)))
    kept = tuple(frame for frame in frames if frame)
    call, entered = _way_in(walked.last, memory)
    flags = {match["name"]: int(match["value"], 16) for match in _FLAGS.finditer(vcpu.text)}
    taken = next((i for i, frame in enumerate(kept) if _TAKEN.match(frame)), len(kept))
    return CpuPlace(
        cpu=vcpu.index,
        frames=kept,
        call=call,
        entered=entered,
        lock=next((vcpu.registers[name] for name in _FIRST if name in vcpu.registers), 0),
        ran=ran,
        interrupts=bool(flags.get("RFL", _X86_IF) & _X86_IF)
        and not flags.get("PSTATE", 0) & _ARM_I,
        user=_USER.search(vcpu.text) is not None,
        idle=_HALTED.search(vcpu.text) is not None or any(map(_IDLE.match, kept[:taken])),
    )


def _named(at: str, called: bool, symbols: dump.Symbols) -> str:
    if at == dump.EXCEPTION:
        return at
    name = symbols.place(int(at, 16))
    # Behind a call that never returns another function may begin.
    return symbols.place(int(at, 16) - 1) if called and "+0x0/" in name else name


def _caller(vcpu: dump.Vcpu, arch: Arch, memory: dump.Memory, symbols: dump.Symbols) -> int:
    """The return address of a function that keeps no frame, which the chain does not have; or 0.

    Its caller would be left out, and be the one that loops.  A word is believed where a direct call
    of that very function stands before it.
    """
    start = symbols.start(vcpu.registers.get(arch.pc, 0))
    if not start:
        return 0
    if "X30" in vcpu.registers:
        back = vcpu.registers["X30"]
        code = memory.read(back - _ARM_CALL, _ARM_CALL) if symbols.name(back) else None
        word = int.from_bytes(code or b"", "little")
        jump = (word & 0x3FFFFFF) - ((word & 0x2000000) << 1)  # imm26 of BL, in instructions
        called = word >> 26 == 0x25 and back - _ARM_CALL + 4 * jump == start
        return back if called else 0
    sp, fp = vcpu.registers.get(arch.sp, 0), vcpu.registers.get(arch.fp, 0)
    for at in range(sp, min(sp + _SAVED, fp if fp > sp else sp), 8):
        back = memory.word(at) or 0
        code = memory.read(back - _X86_CALL, _X86_CALL) if symbols.name(back) else None
        offset = int.from_bytes((code or b"")[1:], "little", signed=True)
        if code and code[0] == 0xE8 and back + offset == start:
            return back
    return 0


def _way_in(last: int, memory: dump.Memory) -> tuple[int, str]:
    """Where the registers are with which the kernel was entered, and a digest of them.

    x86_64: the last frame of a system call lies just below them, one of an exception tells where
    they are (the odd pointer of ENCODE_FRAME_POINTER).
    """
    if not last:
        return 0, ""
    stack = None
    if not last & 1 and memory.word(last) == 0 == memory.word(last + 8):
        regs, size = last - _ARM_BEFORE, _ARM_BEFORE
    else:
        regs, size = (last & ~1 if last & 1 else last + 16), _X86_REGS
        stack = memory.word(regs + _X86_SP)
    saved = memory.read(regs, size)
    if saved is None:
        return 0, ""
    digest = hashlib.sha256(saved + _on_stack(stack or 0, memory)).hexdigest()[:16]
    return regs, digest


def _on_stack(stack: int, memory: dump.Memory) -> bytes:
    """What lies on a stack, as far as it can be read: its end may be near."""
    first = min(_STACK_BYTES, -stack % dump.PAGE or dump.PAGE)
    here = (memory.read(stack, first) or b"") if stack else b""
    more = memory.read(stack + first, _STACK_BYTES - first) if len(here) < _STACK_BYTES else None
    return here + (more or b"")
