# SPDX-License-Identifier: GPL-2.0-only
"""What a config asks for, file by file: fragments, a complete .config, the selftests' own requests.

Of several the later one counts: the selftests' requests first, then in the order that lab.yaml
names them; a complete .config takes the place at which it stands.  What it and a fragment say
differently of a symbol is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build import kconfig, kfile
from orchestrator.kernel.build.kconfig import Request
from orchestrator.kernel.build.kfile import Complete
from orchestrator.kernel.source import store
from orchestrator.model.arch import ARCHES, Arch
from orchestrator.model.errors import UserError
from orchestrator.model.formats import _SET
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import ConfigSpec

SELFTESTS = "tools/testing/selftests"
# A collection's earlier name: vm became mm in 6.3.
_FORMER = {"mm": "vm"}
_MOST_TOLD = 5


@dataclass(frozen=True)
class Asked:
    """The requests, the complete .config that they go on top of, and what is to be told of them."""

    requests: tuple[Request, ...]
    full: Complete | None = None
    notes: tuple[str, ...] = ()


def ask(
    config: ConfigSpec, tree: KernelTree, arch: Arch, arch_fragment: Path, cache: Cache | None
) -> Asked:
    """Read all that a config names.

    :param arch_fragment: comes right after the first fragment, unless there is a complete .config.
    :param cache: where the tree is, for the selftests' requests.
    :raises UserError: for a file that cannot be read or is for another architecture.
    """
    full, below, above = _split(config, arch)
    trees = _of_selftests(config, tree, cache)
    version, name = tree.version, arch.name
    if not full:
        files = (*above[:1], arch_fragment, *above[1:])
        requests = kconfig.merge(files, version, name, below=trees)
        return Asked(requests, notes=tuple(_told_of(trees, requests)))
    lost = kconfig.merge(below, version, name)
    kept = [request for request in lost if request.symbol not in full.settings]
    requests = kconfig.merge(above, version, name, below=(*kept, *trees))
    notes = [*_overridden(lost, full), *_told_of(trees, requests), *_overrides(requests, full)]
    return Asked(requests, full, tuple(notes))


def check(config: ConfigSpec, arch: Arch) -> None:
    """Read a config's files without a kernel, so that what is wrong with them is told first.

    :raises UserError: for one that cannot be read or is for another architecture.
    """
    _, below, above = _split(config, arch)
    for path in (*below, *above):
        kconfig.read_fragment(path, "")


def _split(config: ConfigSpec, arch: Arch) -> tuple[Complete | None, list[Path], list[Path]]:
    """The complete .config, and the fragments before and behind it."""
    full, below, above = _found(config)
    if full and full.arch and full.arch not in (arch.srcarch, arch.kernel_arch):
        here = "".join(f" (only_arch: [{one.name}])" for one in _of(full.arch))
        raise UserError(
            f"{full.path} is a configuration for {full.arch}, and the build is for {arch.name}",
            f"give config {config.name} an only_arch{here}, or choose with --arch",
        )
    return full, below, above


def _of(name: str) -> list[Arch]:
    return [arch for arch in ARCHES.values() if name in (arch.srcarch, arch.kernel_arch)]


def _found(config: ConfigSpec) -> tuple[Complete | None, list[Path], list[Path]]:
    whole = [path for path in config.fragments if kfile.is_complete(kfile.read_lines(path))]
    found = [*filter(None, (config.full,)), *whole]
    if len(found) > 1:
        raise UserError(
            f"config {config.name} has two complete configurations: {found[0]} and {found[1]}",
            "take one, and a fragment with what the other has more",
        )
    if not whole:
        full = kfile.read_complete(config.full) if config.full else None
        return full, [], list(config.fragments)
    at = config.fragments.index(whole[0])
    before, behind = config.fragments[:at], config.fragments[at + 1 :]
    return kfile.read_complete(whole[0]), list(before), list(behind)


def _of_selftests(config: ConfigSpec, tree: KernelTree, cache: Cache | None) -> tuple[Request, ...]:
    """What the collections ask for; ``m`` as y where the guest has no modules."""
    found: dict[str, Request] = {}
    for collection in config.selftest_config if cache else ():
        for word in filter(None, (collection, _FORMER.get(collection))):
            name = word.replace(".", "/")  # net.forwarding, as workloads write it
            path = f"{SELFTESTS}/{name}/config"
            text = store.read_file(tree.tree, path, cache) if cache else None
            if text is not None:
                break
        else:
            raise UserError(
                f"config {config.name}: kernel {tree.spec.name} has no "
                f"{SELFTESTS}/{collection.replace('.', '/')}/config",
                "selftest_config names folders of the kernel's selftests that have such a file",
            )
        place = f"selftests/{name}/config"
        for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
            match = _SET.match(line.strip())
            if match:
                value = match["value"]
                if value == "m" and not config.modules:
                    value = "y"
                request = Request(match["symbol"], value, place, number, trees=True)
                found[request.symbol] = request
    return tuple(found.values())


def _told_of(trees: Sequence[Request], requests: Sequence[Request]) -> list[str]:
    if not trees:
        return []
    mine = {request.symbol: request for request in requests}
    places = ", ".join(dict.fromkeys(request.fragment for request in trees))
    names = [f"{request.symbol}={request.value}" for request in trees]
    told = [f"{places} asks for {', '.join(names)}"]
    over = [
        f"{one.symbol}={mine[one.symbol].value} by {mine[one.symbol].fragment}"
        for one in trees
        if not mine[one.symbol].trees and mine[one.symbol].value != one.value
    ]
    return [*told, *([f"what a fragment says counts all the same: {_some(over)}"] if over else [])]


def _overridden(lost: Sequence[Request], full: Complete) -> list[str]:
    names = [
        f"CONFIG_{one.symbol} stays {full.settings[one.symbol].value}, not {one.value}"
        for one in lost
        if one.symbol in full.settings
        and not kconfig.same_value(one.value, full.settings[one.symbol].value)
    ]
    if not names:
        return []
    return [
        f"{full.path.name} stands behind {_files(lost)} and counts: {_some(names)}; "
        "name it first to have the fragments count"
    ]


def _overrides(requests: Sequence[Request], full: Complete) -> list[str]:
    changed = [
        one
        for one in requests
        if one.symbol in full.settings
        and not kconfig.same_value(one.value, full.settings[one.symbol].value)
    ]
    if not changed:
        return []
    told = [f"CONFIG_{c.symbol} {full.settings[c.symbol].value} -> {c.value}" for c in changed]
    files = _files(changed)
    verb = "count" if ", " in files else "counts"
    return [f"{files} {verb} over {full.path.name}: {_some(told)}"]


def _files(requests: Sequence[Request]) -> str:
    return ", ".join(dict.fromkeys(request.fragment for request in requests))


def _some(told: Sequence[str]) -> str:
    more = [f"{len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    return ", ".join([*told[:_MOST_TOLD], *more])
