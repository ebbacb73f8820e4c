# SPDX-License-Identifier: GPL-2.0-only
"""What a machine offers a run, found out as ``lab doctor`` does, and what a task asks of it.

Both are numbers by names, Dask's resources: what a task holds is taken off while it runs.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
from collections.abc import Iterable, Mapping

from orchestrator import HOME
from orchestrator.guest import accel
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.plan.graph import EVERY, Needs

CPUS, MEMORY, DISK, BUILDS = "cpus", "memory", "disk", "builds"
#: Of what a machine can do, as often as one likes: guests and kernels of an architecture, guests of
#: it under KVM, and the host tests of its own.
GUESTS, KVM, NATIVE = "guests-{}", "kvm-{}", "native-{}"
#: Of which lab it is: another one's stages and guests would be others than were asked for.
LAB = "lab-{}"
_ANY = 1_000_000.0

Resources = Mapping[str, float]


def offered(cache: Cache, cores: int | None = None) -> dict[str, float]:
    """What this machine offers: cores, memory and disk (MiB), and what it can do.

    Kernels are built one at a time: a build takes all the cores that one task is given.

    :param cores: how many of its cores (default: all).
    :raises HostError: when it can run nothing.
    """
    found: dict[str, float] = {LAB.format(code()): _ANY}
    for arch in ARCHES.values():
        if process.find_tool(arch.qemu) and process.find_tool(arch.gcc):
            found[GUESTS.format(arch.name)] = _ANY
            if accel.choose(arch, cache).name == "kvm":
                found[KVM.format(arch.name)] = _ANY
        if platform.machine() in arch.kvm_hosts:
            found[NATIVE.format(arch.name)] = _ANY
    if not any(name.startswith(GUESTS.format("")) for name in found):
        raise HostError("this machine has QEMU and a compiler for no architecture",
                        "`make setup`, or see `lab doctor`")  # fmt: skip
    cache.folder.mkdir(parents=True, exist_ok=True)
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        CPUS: float(cores or os.cpu_count() or 1),
        MEMORY: float(pages * size >> 20),
        DISK: float(shutil.disk_usage(cache.folder).free >> 20),
        BUILDS: 1.0,
        **found,
    }


@functools.cache
def code() -> str:
    """A digest of this lab's code and of what its guests run of it."""
    digest = hashlib.sha256()
    folders = (HOME / "orchestrator", HOME / "guest-tests" / "lib", HOME / "guest-tests" / "agent")
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def asked(needs: Needs, offers: Iterable[Resources]) -> dict[str, float]:
    """What a task asks of a worker, of those that there are.

    Where it needs more cores, memory or disk than any has, it takes all of the largest: here too it
    would run, slowly.  A build asks for as many cores as every worker that can make it has, so that
    any of them may.
    """
    wanted: dict[str, float] = {LAB.format(code()): 1.0}
    if needs.arch:
        name = NATIVE if needs.cpus is None else GUESTS
        wanted[name.format(needs.arch)] = 1.0
        if needs.kvm:
            wanted[KVM.format(needs.arch)] = 1.0
    able = [offer for offer in offers if can(offer, wanted)]

    def at_most(name: str, amount: float) -> None:
        if amount:
            wanted[name] = min([amount, *([max(offer[name] for offer in able)] if able else [])])

    if needs.cpus == EVERY:
        wanted[BUILDS] = 1.0
        at_most(CPUS, min((offer[CPUS] for offer in able), default=1.0))
    elif needs.cpus is not None:
        at_most(CPUS, needs.cpus)
    at_most(MEMORY, needs.memory_mib)
    at_most(DISK, needs.disk_mib)
    return wanted


def can(offer: Resources, wanted: Resources) -> bool:
    """Whether a machine can do what is asked at all, once it is free."""
    return all(offer.get(name, 0.0) >= amount for name, amount in wanted.items())


class Wanted:
    """What tasks ask of the workers that there are, worked out once for all that need the same."""

    def __init__(self, offers: Iterable[Resources]) -> None:
        self._offers = list(offers)
        self._known: dict[Needs, Resources] = {}

    def by(self, needs: Needs) -> Resources:
        """What a task with these needs asks of a worker."""
        if needs not in self._known:
            self._known[needs] = asked(needs, self._offers)
        return self._known[needs]


def told(wanted: Mapping[str, float]) -> str:
    """What a task asks of a worker, for people."""
    return ", ".join(
        name if amount == 1.0 else f"{name} {amount:.0f}" for name, amount in sorted(wanted.items())
    )
