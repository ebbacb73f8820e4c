# SPDX-License-Identifier: GPL-2.0-only
"""Whether the guest that runs is the one that was asked for: configuration and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.guest.facts import Facts
from orchestrator.kernel.build.kconfig import tell
from orchestrator.kernel.lines import elf
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import HostError
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Cell, ShapeSpec
from orchestrator.plan.capabilities import broken

_MOST_TOLD = 10
# The firmware and the kernel keep some memory to themselves before the page allocator counts any.
MEMORY_TOLERANCE = 0.15


@dataclass(frozen=True)
class Seen:
    """What a booted guest says of itself, and what its build was configured as.

    ``shown`` is /proc/config.gz, empty where the guest has none; ``made`` is the build's
    ``.config``, empty where it is not kept; both symbol to value.
    """

    facts: Facts
    shown: Mapping[str, str]
    made: Mapping[str, str]

    @property
    def config(self) -> Mapping[str, str]:
        """The guest's configuration as far as it is known."""
        return self.shown or self.made


#: What is known of a guest that was not looked at: pages of 4096 bytes, and nothing else.
UNSEEN = Seen(Facts("", frozenset(), 4096, ""), {}, {})


def look(facts: Facts, built: BuildResult) -> Seen:
    """Put a guest's facts beside its build's configuration."""
    file = built.kernel_config
    made = parse_dotconfig(file.read_text("utf-8", "replace")) if file else {}
    return Seen(facts, parse_dotconfig(facts.config), made)


@dataclass(frozen=True)
class Checked:
    """The verdict with its reason, and what else the report should note."""

    verdict: Verdict
    reason: str = ""
    note: str = ""


def check_config(
    built: BuildResult, made: Mapping[str, str], running: Mapping[str, str]
) -> Checked:
    """Compare what was asked for with what the build made of it and with the running guest.

    :param made: the build's ``.config``, symbol to value; empty where it is not kept.
    :param running: /proc/config.gz, empty where the guest showed none.
    """
    told = [tell(miss) for miss in built.mismatches]
    note = ""
    if running and made:
        names = sorted(made.keys() | running.keys())
        differ = [name for name in names if made.get(name, "n") != running.get(name, "n")]
        told += [
            f"CONFIG_{name} is {running.get(name, 'n')} in the running guest, "
            f"{made.get(name, 'n')} in .config"
            for name in differ[:_MOST_TOLD]
        ]
    found = Verdict.FAIL if told else Verdict.PASS
    if not running and made.get("IKCONFIG_PROC") == "y":
        found = found if told else Verdict.ERROR
        told.append("the guest showed no /proc/config.gz although IKCONFIG_PROC is on")
    elif not running:
        note = "the guest has no /proc/config.gz: only .config was checked"
    return Checked(found, "; ".join(told), note)


def refuse_other_kernel(built: BuildResult, facts: Facts) -> None:
    """See that the guest runs the kernel that was built: the names the linker gave them are equal.

    A kernel without such a name is not looked at.

    :raises HostError: when it runs another one; nothing that it does says anything of this one.
    """
    running = elf.build_id(facts.notes)
    if built.vmlinux is None or not running:
        return
    try:
        with elf.opened(built.vmlinux) as file:
            made = file.build_id
    except (elf.NotElf, OSError):
        return
    if made and made != running:
        raise HostError(
            f"the guest runs another kernel ({running.hex()[:12]}) than was built "
            f"({made.hex()[:12]}): its image holds stale parts",
            f"remove {built.vmlinux.parent} and run it again",
        )


def check_shape(cell: Cell, facts: Facts, config: Mapping[str, str]) -> Checked:
    """Compare the cell's shape with the running guest.

    A kernel that is not configured for something is a skip, unless it or its config promised it; a
    guest that does not tell is an error.

    :param config: the guest's configuration, symbol to value.
    """
    bad = deviations(cell.shape, ARCHES[cell.build.arch], facts, config)
    excused = [item for item in bad if item.lacks and not broken(cell, (item.word,))]
    unknown = [item for item in bad if item.unknown]
    found = Verdict.SKIP if bad else Verdict.PASS
    if len(excused) < len(bad):
        found = Verdict.ERROR if len(excused) + len(unknown) == len(bad) else Verdict.FAIL
    return Checked(found, "; ".join(item.text for item in bad))


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
        # Guests load no module.
        lacks = next((name for name in symbols if config.get(name, "n") in ("n", "m")), "")
        module = config.get(lacks) == "m"
        what = f"has CONFIG_{lacks} as a module" if module else f"has no CONFIG_{lacks}"
        why = f" (the kernel {what})" if lacks else ""
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
