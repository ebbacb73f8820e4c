# SPDX-License-Identifier: GPL-2.0-only
"""A configuration with a command line of its own, held against what the lab boots with.

x86 puts CONFIG_CMDLINE before what the boot loader gives (arch/x86/kernel/setup.c).  arm64 takes it
where the boot loader gives nothing, and the lab always gives something; CMDLINE_EXTEND of Android's
trees and of older ones puts it behind (drivers/of/fdt.c).  Of most words the last one counts.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from orchestrator.model.arch import Arch

#: What the lab gives each guest (:mod:`orchestrator.guest.qemu`); a shape's words come behind.
LABS = frozenset(
    ("console", "root", "ro", "rootfstype", "init", "panic", "oops", "printk.devkmsg",
     "log_buf_len", "ignore_loglevel")
)  # fmt: skip
# What changes how much of the machine there is, which the lab compares with the shape.
_SHAPE = frozenset(("mem", "memmap", "maxcpus", "nr_cpus", "nosmp", "numa", "memory_hotplug"))

_MOST_TOLD = 6
_MOST_SHOWN = 100


def told(arch: Arch, dotconfig: Mapping[str, str]) -> tuple[str, ...]:
    """What becomes of CONFIG_CMDLINE in a guest of the lab, in a sentence or none.

    One that replaces the lab's is a guest's unmet need: :mod:`.needs`.
    """
    text = _text(dotconfig)
    replaced = any(dotconfig.get(f"CMDLINE_{word}") == "y" for word in ("OVERRIDE", "FORCE"))
    if not text or replaced:
        return ()
    short = text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
    head = f"CONFIG_CMDLINE is {short!r}"
    behind = dotconfig.get("CMDLINE_EXTEND") == "y"
    before = dotconfig.get("CMDLINE_BOOL") == "y" and arch.srcarch == "x86"
    if not behind and not before:
        return (f"{head}: the lab gives a command line, so this one does not count",)
    names = dict.fromkeys(word.partition("=")[0] for word in _words(text))
    both = [name for name in names if name in LABS]
    shape = [name for name in names if name in _SHAPE]
    rest = [name for name in names if name not in LABS]
    parts = []
    if both and behind:
        parts.append(f"it comes behind the lab's, and of {_list(both)} its own counts")
    elif both:
        parts.append(f"the lab's come behind it, and of {_list(both)} the lab's count")
    if rest:
        parts.append(f"{_list(rest)} {'counts' if len(rest) == 1 else 'count'} in every guest")
    if shape:
        parts.append(f"{_list(shape)} may differ from what a shape says: boot_args of it win")
    return (f"{head}: {'; '.join(parts)}",)


def _text(dotconfig: Mapping[str, str]) -> str:
    raw = dotconfig.get("CMDLINE", '""')
    return raw[1:-1].replace('\\"', '"').replace("\\\\", "\\").strip()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote without its end
        return text.split()


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_TOLD])
    more = len(names) - _MOST_TOLD
    return f"{shown} and {more} more" if more > 0 else shown
