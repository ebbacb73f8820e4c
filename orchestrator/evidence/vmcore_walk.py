# SPDX-License-Identifier: GPL-2.0-only
"""A walk of a process's page tables in a dump: each entry as it stands there.

drgn's own walk says where an address leads; a maintainer wants to see the entry that leads
nowhere, too: empty, a swap or migration entry, a huge one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

_NAMES = ("pgd", "p4d", "pud", "pmd", "pte")
_PA_MASK = ((1 << 48) - 1) & ~0xFFF


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
