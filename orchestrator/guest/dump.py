# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU can tell of a guest that stands still: registers, stacks, and its whole memory.

All of it needs nothing from the guest, and no debug information of its kernel but symbols.
"""

from __future__ import annotations

import contextlib
import re
import struct
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.host import process
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError

PAGE = 4096  # the unit of reading; no larger than any kernel's page
FRAMES = 64
#: Stands in a chain of frames where an exception was taken.
EXCEPTION = "<exception>"
STACK_WORDS = 512
#: Reads of one guest page over QMP; a corrupted chain of frames must not keep the lab busy.
PAGES = 256
_REGISTER = re.compile(r"\b([A-Z][A-Z0-9]{1,2})\s*=\s*([0-9a-f]{16})\b")
_VECTOR = re.compile(r"^(?:[XYZ]MM\d|FPR\d|Q\d\d=|[ZP]\d\d=|FCW=|FFR=)")
# struct pt_regs of x86 (arch/x86/include/asm/ptrace.h): bytes to bp and ip.
_X86_BP, _X86_IP = 0x20, 0x80


class Monitor(Protocol):
    """What of :class:`orchestrator.guest.qemu.Qemu` is needed here."""

    def ask(self, command: str, **arguments: object) -> Any:
        """Send a QMP command and give its answer."""

    def human(self, line: str) -> str:
        """Send a line to the human monitor."""


@dataclass(frozen=True)
class Vcpu:
    """One virtual CPU: its general registers, and their text without the vector registers."""

    index: int
    registers: dict[str, int]
    text: str


@dataclass(frozen=True)
class Symbols:
    """A kernel's symbols in the order of their addresses, as ``nm`` lists them."""

    addresses: tuple[int, ...]
    names: tuple[str, ...]
    text: tuple[tuple[int, int], ...] = ()

    def name(self, address: int) -> str:
        """``function+0xoffset`` of an address in the kernel's text; empty for any other."""
        if not any(begin <= address < end for begin, end in self.text):
            return ""
        at = bisect_right(self.addresses, address) - 1
        return f"{self.names[at]}+{address - self.addresses[at]:#x}" if at >= 0 else ""

    def start(self, address: int) -> int:
        """Where the function of an address begins; 0 outside of the kernel's text."""
        inside = self.name(address)
        return self.addresses[bisect_right(self.addresses, address) - 1] if inside else 0

    def place(self, address: int) -> str:
        """:meth:`name` with the function's size, as the kernel prints it: ``f+0x1d/0x40``."""
        name = self.name(address)
        after = bisect_right(self.addresses, address)
        if not name or after == len(self.addresses):
            return name
        return f"{name}/{self.addresses[after] - self.addresses[after - 1]:#x}"

    def address(self, name: str) -> int | None:
        """Where a symbol is, or None."""
        with contextlib.suppress(ValueError):
            return self.addresses[self.names.index(name)]
        return None


@dataclass(frozen=True)
class MemoryDump:
    """A dump of the guest's memory; ``path`` is None, and ``problem`` says why, where it failed."""

    path: Path | None
    size: int
    seconds: float
    problem: str = ""


def freeze(qemu: Monitor) -> None:
    """Stop the guest's CPUs; one that has panicked stands still already.

    :raises HostError: when QEMU does not answer.
    """
    if qemu.ask("query-status").get("running"):
        qemu.ask("stop")


def read_vcpus(qemu: Monitor) -> tuple[Vcpu, ...]:
    """The registers of all virtual CPUs (QEMU's ``info registers -a``).

    :raises HostError: when QEMU does not answer.
    """
    return parse_registers(qemu.human("info registers -a"))


def parse_registers(text: str) -> tuple[Vcpu, ...]:
    """Registers by CPU out of ``info registers -a``; what is not understood is passed over."""
    found = []
    pieces = re.split(r"^CPU#(\d+)[ \t]*\r?$", text, flags=re.MULTILINE)
    for index, body in zip(pieces[1::2], pieces[2::2], strict=True):
        lines = [line.rstrip() for line in body.splitlines() if line.strip()]
        kept = "\n".join(line for line in lines if not _VECTOR.match(line.lstrip()))
        values = {name: int(value, 16) for name, value in _REGISTER.findall(kept)}
        found.append(Vcpu(int(index), values, kept))
    return tuple(found)


class Memory:
    """The guest's memory as one of its CPUs sees it; read page by page, each page once.

    ``folder`` is for short-lived files: QEMU answers ``memsave`` into a file only.
    """

    def __init__(self, qemu: Monitor, cpu: int, folder: Path, until: float) -> None:
        self._qemu = qemu
        self._cpu = cpu
        self._file = folder / f"memsave-{cpu}.tmp"
        self._until = until
        self._pages: dict[int, bytes | None] = {}

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes at a virtual address, or None where they cannot be read (or not in time)."""
        parts = []
        for page in range(address & -PAGE, address + size, PAGE):
            if page not in self._pages:
                self._pages[page] = self._fetch(page)
            part = self._pages[page]
            if part is None:
                return None
            parts.append(part)
        start = address % PAGE
        return b"".join(parts)[start : start + size]

    def word(self, address: int) -> int | None:
        """The 64-bit little-endian word at an address."""
        data = self.read(address, 8) if 0 <= address < 1 << 64 else None
        return struct.unpack("<Q", data)[0] if data and len(data) == 8 else None

    def _fetch(self, page: int) -> bytes | None:
        if len(self._pages) >= PAGES or time.monotonic() > self._until or page >= 1 << 64:
            return None
        # QAPI's integers are signed 64 bit, and take the upper half of the addresses as negative.
        value = page - (1 << 64) if page >= 1 << 63 else page
        arguments = {"val": value, "size": PAGE, "filename": str(self._file)}
        try:
            self._qemu.ask("memsave", **arguments, **{"cpu-index": self._cpu})
            data = self._file.read_bytes()
        except (HostError, OSError):
            return None
        finally:
            self._file.unlink(missing_ok=True)
        return data if len(data) == PAGE else None


def backtrace(vcpu: Vcpu, arch: Arch, memory: Memory, symbols: Symbols) -> tuple[str, ...]:
    """A CPU's stack by its chain of frame pointers, one line a frame, innermost first.

    The lab's kernels keep frame pointers (x86_64: CONFIG_UNWINDER_FRAME_POINTER; arm64: always).
    Both architectures store the caller's frame pointer and the return address, in this order, where
    the frame pointer points to; x86 marks an exception by an odd one, which leads to its pt_regs
    (ENCODE_FRAME_POINTER in arch/x86/include/asm/frame.h).
    """
    return tuple(
        line if line == EXCEPTION else _frame(int(line, 16), symbols, called)
        for line, called in walk(vcpu, arch, memory, symbols).addresses
    )


@dataclass(frozen=True)
class Walked:
    """A chain of frames: each program counter in hexadecimal (or :data:`EXCEPTION`), innermost
    first, with whether it is a return address; and where the chain's last record is."""

    addresses: tuple[tuple[str, bool], ...]
    last: int = 0


def walk(vcpu: Vcpu, arch: Arch, memory: Memory, symbols: Symbols) -> Walked:
    """Follow a CPU's chain of frame pointers, see :func:`backtrace`."""
    found: list[tuple[str, bool]] = []
    pc, fp = vcpu.registers.get(arch.pc), vcpu.registers.get(arch.fp)
    if pc is not None:
        found.append((f"{pc:016x}", False))
    called, last = True, 0
    seen: set[int] = set()
    while fp and fp not in seen and len(found) < FRAMES:
        seen.add(fp)
        last = fp
        if fp & 1:
            regs = fp & ~1
            pc, fp = memory.word(regs + _X86_IP), memory.word(regs + _X86_BP)
            called = False
            found.append((EXCEPTION, False))
        else:
            called = True
            pc = memory.word(fp + 8)
            fp = memory.word(fp)
        if pc is None or not pc:
            break
        if not symbols.name(pc):
            pc = _unsigned(pc, symbols)
        found.append((f"{pc:016x}", called))
        if not symbols.name(pc):
            break
    return Walked(tuple(found), last)


def _unsigned(address: int, symbols: Symbols) -> int:
    """A return address without arm64's authentication code, where that makes it kernel text."""
    for bits in (48, 52, 39):
        plain = address | (-1 << bits) & (1 << 64) - 1
        if symbols.name(plain):
            return plain
    return address


def _frame(address: int, symbols: Symbols, called: bool = False) -> str:
    """A line of a backtrace.  Where a function that never returns was called last, the return
    address is already the next function's.
    """
    name = symbols.name(address)
    if called and name.endswith("+0x0"):
        before, _, offset = symbols.name(address - 1).rpartition("+")
        name = f"{before}+{int(offset, 16) + 1:#x}" if before else name
    return f"{address:016x} {name or '(no kernel text)'}"


def stack_excerpt(
    vcpu: Vcpu, arch: Arch, memory: Memory, symbols: Symbols, words: int = STACK_WORDS
) -> str:
    """The stack from the stack pointer on: one word a line, kernel text by its name."""
    sp = vcpu.registers.get(arch.sp)
    if sp is None:
        return ""
    lines = []
    for at in range(sp & ~7, (sp & ~7) + 8 * words, 8):
        value = memory.word(at)
        if value is None:
            lines.append(f"{at:016x}: (not readable)")
            break
        name = symbols.name(value)
        lines.append(f"{at:016x}: {value:016x}{'  ' + name if name else ''}")
    return "\n".join(lines)


def read_symbols(arch: Arch, vmlinux: Path, deadline: float = 30.0) -> Symbols:
    """The symbols of a vmlinux.

    :raises HostError: when ``nm`` is missing or cannot read the file.
    """
    listed = process.run([f"{arch.cross}nm", "-n", vmlinux], deadline=deadline)
    return parse_symbols(listed.text.splitlines())


def parse_symbols(lines: Sequence[str]) -> Symbols:
    """Symbols out of ``nm -n`` or a System.map; absolute and per-CPU ones are left out."""
    addresses, names = [], []
    bounds = {"_stext": 0, "_etext": 0, "_sinittext": 0, "_einittext": 0}
    for line in lines:
        parts = line.split()
        if len(parts) < 3 or parts[1] in "aA$" or parts[2].startswith("$"):
            continue
        try:
            address = int(parts[0], 16)
        except ValueError:
            continue
        if parts[2] in bounds:
            bounds[parts[2]] = address
        addresses.append(address)
        names.append(parts[2])
    begin, end, init, ended = bounds.values()
    return Symbols(tuple(addresses), tuple(names), ((begin, end), (init, ended)))


def read_vmcoreinfo(memory: Memory, symbols: Symbols) -> bytes:
    """The kernel's VMCOREINFO (kernel/vmcore_info.c), read where its symbols say; or nothing.

    It is made while the kernel boots, if it has CONFIG_VMCORE_INFO (before 6.9: CRASH_CORE).
    """
    where, length = symbols.address("vmcoreinfo_data"), symbols.address("vmcoreinfo_size")
    if where is None or length is None:
        return b""
    pointer, size = memory.word(where), memory.word(length)
    if not pointer or not size or size > 1 << 16:
        return b""
    found = memory.read(pointer, size) or b""
    return found if b"OSRELEASE=" in found else b""


def dump_memory(qemu: Monitor, path: Path, budget: int, deadline: float) -> MemoryDump:
    """Dump the memory of a guest that stands still; kdump's format, zlib, pages of zeros left out.

    1 GiB, most of it never touched, comes to about 16 MiB in a second that way, where an ELF core
    takes its full size and several times as long.

    :param budget: bytes after which the file is not worth having.
    :param deadline: seconds.
    """
    began = time.monotonic()
    problem = ""
    try:
        qemu.ask(
            "dump-guest-memory", paging=False, protocol=f"file:{path}", detach=True,
            format="kdump-zlib",
        )  # fmt: skip
        while not problem:
            state = qemu.ask("query-dump")["status"]
            size = path.stat().st_size if path.exists() else 0
            if state == "failed":
                problem = "QEMU failed to write it"
            elif size > budget:
                problem = f"larger than {budget >> 20} MiB"
            elif state == "completed":
                return MemoryDump(path, size, time.monotonic() - began)
            elif time.monotonic() - began > deadline:
                problem = f"not done within {deadline:.0f} s"
            else:
                process.sleep(0.05)
    except (HostError, OSError, KeyError) as error:
        problem = error.message if isinstance(error, HostError) else str(error)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return MemoryDump(None, 0, time.monotonic() - began, problem)
