# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of the kernel's memory management in words: flags, mappings, source files.  Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

#: Bits of vm_flags since 4.x (include/linux/mm.h) as /proc/PID/smaps spells them
#: (Documentation/filesystems/proc.rst).
_VM_FLAGS = {
    0: "rd", 1: "wr", 2: "ex", 3: "sh", 4: "mr", 5: "mw", 6: "me", 7: "ms", 8: "gd", 9: "um",
    10: "pf", 12: "uw", 13: "lo", 14: "io", 15: "sr", 16: "rr", 17: "dc", 18: "de", 19: "lf",
    20: "ac", 21: "nr", 22: "ht", 23: "sf", 25: "wf", 26: "dd", 27: "sd", 28: "mm", 29: "hg",
    30: "nh", 31: "mg",
}  # fmt: skip


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
