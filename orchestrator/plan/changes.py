# SPDX-License-Identifier: GPL-2.0-only
"""The changes that can be made to a cell, and the cell that comes of some of them.  Pure.

A changed cell has a name of its own, so that what it leaves stands beside the others in a run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.model.names import CellId
from orchestrator.model.narrowing import (
    ARCH,
    BOOT_ARGS,
    FRAGMENTS,
    OF_CONFIG,
    SHAPE,
    SYMBOLS,
    TIME,
    WORKLOAD,
    Change,
)
from orchestrator.model.spec import Cell, ConfigSpec, ShapeSpec, WorkloadSpec

#: What part of a loop's time, or of a number among a workload's arguments, is left.
PART = 4
#: A guest with less memory does not boot (MiB).
LEAST_MEMORY = 512
# The symbol without which a word of a workload's `needs` is not to be had (docs/lab-yaml.md).
_SYMBOL_OF = {
    "swap": "SWAP",
    "thp": "TRANSPARENT_HUGEPAGE",
    "ksm": "KSM",
    "numa": "NUMA",
    "hugepages": "HUGETLBFS",
}
# What a guest has no more without a symbol: names of its changes.
_WITH = {
    "SWAP": ("no-swap-disk", "no-zram"),
    "ZRAM": ("no-zram",),
    "NUMA": ("1-node",),
    "SMP": ("1-cpu",),
}
_MEMORY = "the amount of memory"
_MARK = "@"
_LONGEST = 60
_HARMLESS = re.compile(r"[^A-Za-z0-9._=,-]+")
_NUMBER = re.compile(r"(?P<head>(?:.*=)?)(?P<number>[0-9]{1,9})", re.ASCII)


def guest_changes(cell: Cell) -> tuple[Change, ...]:
    """What of a cell can be changed without another kernel: shape, boot arguments, workload."""
    shape = cell.shape
    # A workload that names what it needs would be skipped: that is known without a guest.
    needs = {need for spec in cell.workloads for need in spec.needs}
    found = [
        replace(one, blocked="its workload needs swap") if _loses_swap(one, shape, needs) else one
        for one in _of_shape(shape, needs)
    ]
    found += (
        Change(_named("no", arg), BOOT_ARGS, arg, f"without the boot argument {arg}", drop=arg)
        for arg in dict.fromkeys(shape.boot_args)
    )
    if len(cell.workloads) == 1:
        found += _of_workload(cell.workloads[0])
    return tuple(found)


def fragment_changes(
    cell: Cell, fragments: Mapping[Path, Collection[str]], configs: Iterable[ConfigSpec] = ()
) -> tuple[Change, ...]:
    """Leaving out each fragment.

    :param fragments: those that can be left out, each with the symbols that it switches on.
    :param configs: those of lab.yaml, which tell what a kernel lacks without which fragment.
    """
    needs = [need for spec in cell.workloads for need in spec.needs]
    idle = _idle_without(cell, configs)
    found = []
    for path, symbols in fragments.items():
        need = next((n for n in needs if _symbol(n) in symbols), "")
        found.append(
            Change(
                _named("no", path.stem), FRAGMENTS, path.stem,
                f"without the fragment {path.stem}", drop=str(path), alone=path.stem in idle,
                blocked=f"its workload needs {need}" if need else "",
                includes=tuple(dict.fromkeys(n for s in symbols for n in _WITH.get(s, ()))),
            )
        )  # fmt: skip
    return tuple(found)


def _idle_without(cell: Cell, configs: Iterable[ConfigSpec]) -> set[str]:
    """Fragments without which the workloads have nothing to do, by how lab.yaml goes without.

    A config there that lacks what they are about has ``userfaultfd-off`` for ``userfaultfd``.
    """
    words = {word for spec in cell.workloads for word in (*spec.exercises, *spec.needs)}
    stems = (path.stem for one in configs if words & {*one.lacks} for path in one.fragments)
    return {stem.removesuffix("-off") for stem in stems if stem.endswith("-off")}


def symbol_changes(cell: Cell, fragment: Change, symbols: Iterable[str]) -> tuple[Change, ...]:
    """Switching off each of the symbols that a fragment switches on."""
    needed = {_symbol(need) for spec in cell.workloads for need in spec.needs}
    return tuple(
        Change(
            _named("no", symbol), SYMBOLS, symbol, f"without CONFIG_{symbol}",
            drop=symbol, of=fragment.name,
            blocked="its workload needs it" if symbol in needed else "",
        )
        for symbol in symbols
    )  # fmt: skip


def arch_changes(cell: Cell, arches: Iterable[str]) -> tuple[Change, ...]:
    """The same guest on each other architecture that its config and shape are for."""
    here = cell.build.arch
    limits = [spec.only_arch for spec in (cell.build.config, cell.shape) if spec.only_arch]
    return tuple(
        Change(arch, ARCH, here, f"on {arch}", alone=True, arch=arch)
        for arch in arches
        if arch != here and all(arch in limit for limit in limits)
    )


def _symbol(need: str) -> str:
    return _SYMBOL_OF.get(need, need.removeprefix("CONFIG_"))


def _named(*words: str) -> str:
    return _HARMLESS.sub("_", "-".join(words))


# ---------------------------------------------------------------- what there is to change


def _of_shape(shape: ShapeSpec, needs: Collection[str]) -> Iterator[Change]:
    # Each node of an arm64 guest has a CPU of its own.
    least = shape.nodes
    if shape.cpus > least:
        told = "one CPU" if least == 1 else f"{least} CPUs"
        thing = "two CPUs" if shape.cpus == 2 else f"more than {told}"
        yield Change(f"{least}-cpu", SHAPE, thing, told, shape=(("cpus", least),))
    if shape.nodes > 1:
        blocked = "its workload needs NUMA" if "numa" in needs else ""
        yield Change("1-node", SHAPE, "more than one NUMA node", "one NUMA node",
                     shape=(("nodes", 1),), blocked=blocked)  # fmt: skip
    if shape.swap_disk_mib:
        yield Change("no-swap-disk", SHAPE, "the swap disk", "without the swap disk",
                     shape=(("swap_disk_mib", 0),))  # fmt: skip
    if shape.zram_mib:
        yield Change("no-zram", SHAPE, "zram", "without zram", shape=(("zram_mib", 0),))
    if shape.machine is not None:
        yield Change("no-machine", SHAPE, f"the machine {shape.machine}", "on the usual machine",
                     shape=(("machine", None),))  # fmt: skip
    memory = shape.memory_mib
    if memory // 2 >= LEAST_MEMORY:
        yield Change("half-memory", SHAPE, f"more than {memory // 2} MiB of memory",
                     f"{memory // 2} MiB of memory", alone=True, about=_MEMORY,
                     shape=(("memory_mib", memory // 2),))  # fmt: skip
    yield Change("twice-memory", SHAPE, f"less than {memory * 2} MiB of memory",
                 f"{memory * 2} MiB of memory", alone=True, about=_MEMORY,
                 shape=(("memory_mib", memory * 2),))  # fmt: skip


def _loses_swap(change: Change, shape: ShapeSpec, needs: Collection[str]) -> bool:
    after = replace(shape, **dict(change.shape))  # type: ignore[arg-type]
    left = bool(after.swap_disk_mib or after.zram_mib)
    return "swap" in needs and not left and bool(shape.swap_disk_mib or shape.zram_mib)


def _of_workload(spec: WorkloadSpec) -> Iterator[Change]:
    for places in _groups(spec.args):
        words = " ".join(spec.args[place] for place in places)
        yield Change(_named("no-arg", str(places[0]), words), WORKLOAD, words,
                     f"without the argument {words}", places=places)  # fmt: skip
        found = _NUMBER.fullmatch(spec.args[places[-1]])
        if found and int(found["number"]) >= PART:
            less = f"{found['head']}{int(found['number']) // PART}"
            told = " ".join([*words.split(" ")[:-1], less])
            yield Change(_named("arg", str(places[0]), told), TIME, f"more than {told}",
                         f"{told} in place of {words}", alone=True, places=places[-1:],
                         word=less)  # fmt: skip
    if spec.budget:
        less_time = round(spec.budget / PART, 1)
        yield Change("less-time", TIME, f"more than {less_time:g} s of looping",
                     f"{less_time:g} s of looping in place of {spec.budget:g} s", alone=True,
                     budget=less_time)  # fmt: skip


def _groups(args: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """The places of words that belong together: an option and what follows it, if no option."""
    place = 0
    while place < len(args):
        after = args[place + 1 : place + 2]
        both = args[place].startswith("-") and after and not after[0].startswith("-")
        yield (place, place + 1) if both else (place,)
        place += 2 if both else 1


# ---------------------------------------------------------------- a changed cell


def changed(cell: Cell, changes: Sequence[Change], folder: Path) -> Cell:
    """The cell with some changes made to it, under a name of its own; itself without any.

    Where its kernel is another one, nothing is promised of it: what it lacks is an honest skip.

    :param folder: where :func:`switched_off` is to be written before it is built.
    """
    place = CellId.parse(cell.id)
    config = _config(cell, changes, folder)
    arch = next((one.arch for one in changes if one.arch), cell.build.arch)
    shape = cell.shape
    for one in changes:
        shape = replace(shape, **dict(one.shape))  # type: ignore[arg-type]
    if arch != cell.build.arch:
        shape = replace(shape, machine=None)
    dropped = {one.drop for one in changes if one.axis == BOOT_ARGS}
    others = [one for one in changes if not one.builds]
    shape = replace(
        shape,
        name=_with(place.shape, others),
        boot_args=tuple(arg for arg in shape.boot_args if arg not in dropped),
    )
    place = replace(place, config=config.name, arch=arch, shape=shape.name)
    build = replace(cell.build, id=place.build, config=config, arch=arch)
    workloads = tuple(_workload(spec, changes) for spec in cell.workloads)
    return replace(cell, id=str(place), build=build, shape=shape, workloads=workloads)


def switched_off(changes: Iterable[Change]) -> str:
    """The text of the fragment that switches symbols off; empty where none is."""
    names = (one.drop for one in changes if one.axis == SYMBOLS)
    return "".join(f"# CONFIG_{name} is not set\n" for name in names)


def _config(cell: Cell, changes: Sequence[Change], folder: Path) -> ConfigSpec:
    config = cell.build.config
    own = [one for one in changes if one.axis in OF_CONFIG]
    if not own:
        return config
    gone = {one.drop for one in own if one.axis == FRAGMENTS}
    fragments = tuple(path for path in config.fragments if str(path) not in gone)
    name = _with(config.name, own)
    symbols = bool(switched_off(own))
    if symbols:  # one that stays on all the same stops the build before its compile
        fragments = (*fragments, folder / f"{name}.config")
    return replace(
        config,
        name=name,
        fragments=fragments,
        provides=(),
        lacks=tuple(dict.fromkeys((*cell.build.kernel.provides, *config.provides))),
        build_mismatched=not symbols,
        # One folder for all: what two changes have in common is compiled once.
        objects=f"{config.name}{_MARK}narrow",
    )


def _with(name: str, changes: Sequence[Change]) -> str:
    """``small@1-cpu+no-swap-disk``; of many a digest."""
    if not changes:
        return name
    words = "+".join(one.name for one in changes)
    if len(words) > _LONGEST:
        digest = hashlib.sha256(words.encode()).hexdigest()[:8]
        words = f"{len(changes)}-changes-{digest}"
    return f"{name}{_MARK}{words}"


def _workload(spec: WorkloadSpec, changes: Iterable[Change]) -> WorkloadSpec:
    args = dict(enumerate(spec.args))
    for one in changes:
        if one.axis == WORKLOAD:
            args = {place: word for place, word in args.items() if place not in one.places}
        elif one.word:
            args |= dict.fromkeys(one.places, one.word)
        if one.budget:
            spec = replace(spec, budget=one.budget)
    return replace(spec, args=tuple(args.values()))
