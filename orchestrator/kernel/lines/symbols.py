# SPDX-License-Identifier: GPL-2.0-only
"""Which code ``function+0xOFFSET/0xSIZE`` means in a linked kernel.

The SIZE that the kernel prints is the way to the next symbol (get_symbol_pos() in kernel/kallsyms.c
of v6.12), which tells functions of one name apart.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.kernel.lines.elf import Elf, Symbol
from orchestrator.kernel.lines.excerpts import Place

# What kallsyms has not (scripts/mksysmap of v6.12).
_NO_SYMBOL = re.compile(
    r"\$|\.L|__efistub_|__pi_\$|__pi_\.L|__kvm_nvhe_\$|__kvm_nvhe_\.L|__kcfi_typeid_|__crc_"
    r"|__kstrtab|.*_veneer$"
)


@dataclass(frozen=True)
class Address:
    """``function+0xOFFSET/0xSIZE`` as a report prints it.

    ``exact``: the address of an instruction, not a return address behind a call.
    """

    function: str
    offset: int
    size: int
    exact: bool

    @property
    def key(self) -> str:
        """What its answer is kept by."""
        return f"{self.function}+{self.offset:#x}/{self.size:#x}{'' if self.exact else ' return'}"


@dataclass(frozen=True)
class Answer:
    """The places an address stands for, the innermost inlined call first; or why there are none."""

    places: tuple[Place, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Target:
    """``offset`` bytes into the code of a symbol of the vmlinux."""

    symbol: Symbol
    offset: int


def answer(
    targets: Sequence[Target], places: Mapping[Target, tuple[Place, ...]], note: str = ""
) -> Answer:
    """What is told of an address that can mean ``targets``: one thing, or why nothing.

    :param note: why the target has no places, where that is known.
    """
    if not targets:
        return Answer(note="the build has no such function of this size")
    told = {places.get(target, ()) for target in targets}
    if len(told) > 1:
        return Answer(note=f"{len(targets)} functions of this name and size")
    (only,) = told
    return Answer(only, "" if only else note or "it has no line there")


class Symbols:
    """The functions of a linked kernel, as kallsyms has them.

    :raises NotElf: the file is damaged.
    """

    def __init__(self, elf: Elf) -> None:
        self.named = [s for s in elf.code if not _NO_SYMBOL.match(s.name)]
        self.by_name: dict[str, list[Symbol]] = {}
        for symbol in self.named:
            self.by_name.setdefault(symbol.name, []).append(symbol)
        self.starts = sorted({symbol.value for symbol in self.named})
        self.sized = sorted((s for s in self.named if s.size), key=lambda s: (s.value, s.size))

    def targets(self, address: Address) -> tuple[Target, ...]:
        """What an address can mean: none, one, or several of one name and size."""
        found: list[Target] = []
        if address.offset > address.size:
            return ()
        for symbol in self.by_name.get(address.function, ()):
            if self._extent(symbol) != address.size:
                continue
            # A return address may be the first byte after a function that ends with a call.
            at = symbol.value + address.offset - (0 if address.exact else 1)
            holder = self._holder(at)
            if holder is not None:
                found.append(Target(holder, at - holder.value))
        return tuple(dict.fromkeys(found))

    def _extent(self, symbol: Symbol) -> int:
        """What the kernel prints as a symbol's size: the way to the next one."""
        after = bisect.bisect_right(self.starts, symbol.value)
        return self.starts[after] - symbol.value if after < len(self.starts) else symbol.size

    def _holder(self, at: int) -> Symbol | None:
        """The function that an address is in; a label within assembly code is in one too."""
        before = bisect.bisect_right(self.sized, at, key=lambda symbol: symbol.value)
        for symbol in reversed(self.sized[max(0, before - 8) : before]):
            if symbol.value <= at < symbol.value + symbol.size:
                return symbol
        return None
