# SPDX-License-Identifier: GPL-2.0-only
"""Page tables and struct pages in a dump, by what VMCOREINFO says of the kernel's layout.

drgn's own walk says where an address leads; a maintainer wants to see the entry that leads
nowhere, too: empty, a swap or migration entry, a huge one.  And drgn finds struct pages only where
they lie in one row (CONFIG_SPARSEMEM_VMEMMAP), which the lab's small x86_64 kernels do without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

_NAMES = ("pgd", "p4d", "pud", "pmd", "pte")
_MAX_ROOTS = 1 << 16
_PA_MASK = ((1 << 48) - 1) & ~0xFFF


#: Bits of vm_flags since 4.x (include/linux/mm.h) as /proc/PID/smaps spells them
#: (Documentation/filesystems/proc.rst).
_VM_FLAGS = {
    0: "rd", 1: "wr", 2: "ex", 3: "sh", 4: "mr", 5: "mw", 6: "me", 7: "ms", 8: "gd", 9: "um",
    10: "pf", 12: "uw", 13: "lo", 14: "io", 15: "sr", 16: "rr", 17: "dc", 18: "de", 19: "lf",
    20: "ac", 21: "nr", 22: "ht", 23: "sf", 25: "wf", 26: "dd", 27: "sd", 28: "mm", 29: "hg",
    30: "nh", 31: "mg",
}  # fmt: skip


class Memory(Protocol):
    """What of drgn.Program is needed here."""

    def read_u64(self, address: int, physical: bool = False) -> int:
        """A 64-bit word."""


class Walk:
    """The page tables of one kernel, as its VMCOREINFO describes them.

    x86_64 says whether it has five levels (arch/x86/kernel/vmcore_info_64.c); arm64 gives the size
    of a kernel address by TCR_EL1.T1SZ (arch/arm64/kernel/vmcore_info.c), and user addresses are
    as large.
    """

    def __init__(self, memory: Memory, info: Mapping[str, str]) -> None:
        self._memory = memory
        self._shift = int(info["PAGESIZE"]).bit_length() - 1
        size = info.get("NUMBER(TCR_EL1_T1SZ)")
        self._arm = size is not None
        if size is not None:
            bits = 64 - int(size, 0)
        else:
            bits = 57 if info.get("NUMBER(pgtable_l5_enabled)", "0") == "1" else 48
        self._bits = bits
        per_level = self._shift - 3
        self._levels = -(-(bits - self._shift) // per_level)

    def is_user(self, address: int) -> bool:
        """Whether a number may be a user address that something can be mapped at."""
        top = self._bits if self._arm else self._bits - 1
        return 1 << 16 <= address < 1 << top

    def steps(self, pgd: int, address: int) -> tuple[tuple[str, ...], int | None]:
        """The entries on the way to an address, and the page frame it leads to, or None.

        :param pgd: kernel address of the top table.
        """
        lines: list[str] = []
        per_level = self._shift - 3
        names = (_NAMES[0], *_NAMES[len(_NAMES) - self._levels + 1 :])
        table, physical = pgd, False
        for level, name in enumerate(names):
            shift = self._shift + per_level * (self._levels - 1 - level)
            index = address >> shift & (1 << per_level) - 1
            if level == 0:
                index = address >> shift & (1 << self._bits - shift) - 1
            try:
                entry = self._memory.read_u64(table + 8 * index, physical)
            except Exception as error:  # drgn's FaultError, or what else broken tables lead to
                lines.append(f"{name:<6} not readable: {error}")
                return tuple(lines), None
            last = level == self._levels - 1
            lines.append(f"{name:<6} {entry:#018x}{self._meaning(entry, last)}")
            if not entry & 1:
                return tuple(lines), None
            target = entry & _PA_MASK & -(1 << self._shift)
            if last or self._is_leaf(entry):
                base = target & -(1 << shift)
                return tuple(lines), (base | address & (1 << shift) - 1) >> self._shift
            table, physical = target, True
        return tuple(lines), None

    def _is_leaf(self, entry: int) -> bool:
        return entry & 3 == 1 if self._arm else bool(entry & 0x80)

    def _meaning(self, entry: int, last: bool) -> str:
        if not entry:
            return "  empty"
        if not entry & 1:
            return "  not present: a swap or migration entry, or PROT_NONE"
        return "  huge" if not last and self._is_leaf(entry) else ""


class Pages:
    """Which struct page belongs to which page frame: SPARSEMEM's sections, with or without VMEMMAP.

    include/linux/mmzone.h: ``mem_section`` points to roots, each a page of sections; a section's
    ``section_mem_map`` is the address that the struct page of frame 0 would have, and flags in bits
    that are zero in it (bit 1: the section has a map).
    """

    def __init__(self, memory: Memory, info: Mapping[str, str], page_struct: int) -> None:
        self._struct = page_struct
        self._shift = int(info["NUMBER(SECTION_SIZE_BITS)"]) - (
            int(info["PAGESIZE"]).bit_length() - 1
        )
        self._bases: dict[int, int] = {}
        size = int(info["SIZE(mem_section)"])
        per_root = int(info["PAGESIZE"]) // size
        offset = int(info["OFFSET(mem_section.section_mem_map)"])
        roots = int(info["SYMBOL(mem_section)"], 16)
        for number in range(min(int(info["LENGTH(mem_section)"]), _MAX_ROOTS)):
            root = memory.read_u64(roots + 8 * number)
            for index in range(per_root if root else 0):
                coded = memory.read_u64(root + index * size + offset)
                if coded & 2:
                    self._bases[number * per_root + index] = coded & ~0xFFF

    def page(self, pfn: int) -> int | None:
        """The address of a page frame's struct page, or None where there is no such memory."""
        base = self._bases.get(pfn >> self._shift)
        return None if base is None else (base + pfn * self._struct) & (1 << 64) - 1

    def pfn(self, page: int) -> int | None:
        """The page frame whose struct page is at an address; None where that is none."""
        for section, base in self._bases.items():
            pfn, rest = divmod(page - base & (1 << 64) - 1, self._struct)
            if not rest and pfn >> self._shift == section:
                return pfn
        return None


def vma_flags(bits: int) -> str:
    """The flags of a VMA as two-letter words; those above bit 31 differ between kernels."""
    return " ".join(word for bit, word in _VM_FLAGS.items() if bits >> bit & 1)


def page_flags(enumeration: Sequence[tuple[str, int]], flags: int, anon: bool) -> tuple[str, ...]:
    """The names of the flags that are set, one a bit.

    ``enum pageflags`` lists the proper names first, then __NR_PAGEFLAGS, then aliases.  Of an
    anonymous page the bit that it shares with others means PG_anon_exclusive.
    """
    count = next((value for name, value in enumeration if name == "__NR_PAGEFLAGS"), 64)
    names: dict[int, str] = {}
    for name, bit in enumeration:
        if bit < count and (bit not in names or (anon and name == "PG_anon_exclusive")):
            names[bit] = name.removeprefix("PG_")
    return tuple(name for bit, name in sorted(names.items()) if flags >> bit & 1)


def mapping(value: int) -> str:
    """What folio->mapping is: its low bits say so (PAGE_MAPPING_*, include/linux/page-flags.h)."""
    kind = ("address_space", "anon_vma", "movable_operations", "KSM node")[value & 3]
    return f"{kind} {value & ~3:#x}" if value else "none"


def short_sources(files: Sequence[str]) -> tuple[str, ...]:
    """The source files of one stack without the folder that all of the absolute ones share.

    A stack begins in arch/ or kernel/ and ends in arch/, so that this folder is the tree's.
    """
    absolute = {file for file in files if file.startswith("/")}
    root = os.path.commonpath([os.path.dirname(file) for file in absolute]) if absolute else ""  # noqa: PTH120
    return tuple(
        file.removeprefix(root).removeprefix("/") if file in absolute else file.removeprefix("./")
        for file in files
    )
