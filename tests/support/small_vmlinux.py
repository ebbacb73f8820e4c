# SPDX-License-Identifier: GPL-2.0-only
"""A file like a vmlinux: two functions, one inlined into the other, and a banner."""

from __future__ import annotations

import subprocess
from pathlib import Path

from orchestrator.kernel.lines.elf import Symbol, opened
from orchestrator.model.arch import ARCHES

ARCH = next(arch for arch in ARCHES.values() if not arch.cross)
SOURCE = """\
const char proc_banner[] = "Linux version %s";
const char linux_banner[] = "Linux version 6.1.2-mine (me@here) #1 SMP\\n";
volatile int seen;

static inline __attribute__((always_inline)) void inner(void)
{
	seen++;
	__asm__ volatile(".byte 0xde, 0xad, 0xbe, 0xef");
}

__attribute__((noinline)) void outer(void)
{
	inner();
}

void _start(void)
{
	outer();
}
"""


def link(folder: Path, *flags: str) -> Path:
    """A file like a vmlinux."""
    (folder / "mm").mkdir(exist_ok=True)
    (folder / "mm" / "move.c").write_text(SOURCE)
    made = folder / "vmlinux"
    subprocess.run(
        [ARCH.gcc, "-O1", "-nostdlib", "-static", "-ffreestanding", *flags,
         "-o", str(made), str(folder / "mm" / "move.c")],
        check=True, timeout=60,
    )  # fmt: skip
    return made


def of(vmlinux: Path, name: str) -> tuple[Symbol, int]:
    """A function, and the way to the one behind it, which the kernel prints as its size."""
    with opened(vmlinux) as elf:
        code = sorted(elf.code, key=lambda symbol: symbol.value)
        symbol = next(s for s in code if s.name == name)
        after = next((s.value for s in code if s.value > symbol.value), None)
    return symbol, (after or symbol.value + symbol.size) - symbol.value


def mark_in(vmlinux: Path, name: str) -> int:
    """How far into a function of it the inlined call's own bytes stand."""
    with opened(vmlinux) as elf:
        symbol = next(s for s in elf.code if s.name == name)
        return elf.bytes_of(symbol).index(b"\xde\xad\xbe\xef")
