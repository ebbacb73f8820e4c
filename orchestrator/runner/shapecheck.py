# SPDX-License-Identifier: GPL-2.0-only
"""A shape against the guest that was booted with it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.guest.facts import Facts
from orchestrator.model.arch import Arch
from orchestrator.model.values import ShapeSpec

# The firmware and the kernel keep some memory to themselves before the page allocator counts any.
MEMORY_TOLERANCE = 0.15


@dataclass(frozen=True)
class Deviation:
    """Where a guest is not as its shape says.

    ``lacks`` is the symbol that its kernel would need for it, empty where the kernel has all.
    ``word`` is the capability that goes missing with it, where there is a word for it.
    ``unknown`` is set where the guest did not tell.
    """

    text: str
    lacks: str = ""
    word: str = ""
    unknown: bool = False


def deviations(
    shape: ShapeSpec, arch: Arch, facts: Facts, config: Mapping[str, str]
) -> tuple[Deviation, ...]:
    """Compare CPUs, memory, nodes and swap; what the shape's boot arguments change is left out.

    :param config: the guest's configuration, symbol to value.
    """
    found: list[Deviation] = []

    def differs(text: str, symbols: tuple[str, ...], word: str = "") -> None:
        lacks = next((name for name in symbols if config.get(name, "n") == "n"), "")
        why = f" (the kernel has no CONFIG_{lacks})" if lacks else ""
        found.append(Deviation(text + why, lacks, word))

    def missing(what: str) -> None:
        found.append(Deviation(f"the guest did not tell its {what}", unknown=True))

    if not _changed(shape, "maxcpus=", "nr_cpus=", "nosmp"):
        if not facts.cpus:
            missing("CPUs")
        elif facts.cpus != shape.cpus:
            differs(f"{facts.cpus} CPUs online instead of {shape.cpus}", ("SMP",))
    if not _changed(shape, "mem=", "memmap="):
        if not facts.memory_mib:
            missing("memory")
        elif abs(facts.memory_mib - shape.memory_mib) > MEMORY_TOLERANCE * shape.memory_mib:
            differs(f"{facts.memory_mib:.0f} MiB of memory instead of {shape.memory_mib}", ())
    # A kernel without NUMA shows no node at all.
    if max(facts.nodes, 1) != shape.nodes and not _changed(shape, "numa="):
        symbols = ("NUMA", "NUMA_EMU") if arch.numa_boot_args else ("NUMA",)
        text = f"{max(facts.nodes, 1)} NUMA nodes instead of {shape.nodes}"
        differs(text, symbols, "numa")
    zram = any("zram" in name for name in facts.swaps)
    if bool(shape.zram_mib) != zram:
        text = "zram is used for swap" if zram else "no swap on zram"
        differs(text, () if zram else ("SWAP", "ZRAM"), "swap")
    disk = any("zram" not in name for name in facts.swaps)
    if bool(shape.swap_disk_mib) != disk:
        text = "a disk is used for swap" if disk else "no swap on the swap disk"
        differs(text, () if disk else ("SWAP", "VIRTIO_BLK"), "swap")
    return tuple(found)


def _changed(shape: ShapeSpec, *words: str) -> bool:
    return any(arg.startswith(words) for arg in shape.boot_args)
