# SPDX-License-Identifier: GPL-2.0-only
"""What runs where, as a value: the tasks of a plan, what each waits for and what it needs.  Pure.

An engine carries a graph out: the local one on the cores of this machine, a cluster's on many
machines.  Neither knows more of the order and of the needs than what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.model.names import CellId
from orchestrator.model.spec import Build, Cell, KernelSpec, Plan

#: Cores of a task that takes as many as its machine gives to one.
EVERY = 0
#: Builds queue behind every cell that can already run, since an early answer counts.
_BUILDS = 1_000_000
#: So does what tells of a part of a series, behind the builds.
_PREFIXES = 2_000_000
#: What a build folder and what comes of it take (MiB), and the most that its compilers and its
#: linker hold at once beside each other: 1.6 GiB were seen of a default kernel with -j2.
BUILD_DISK_MIB = 1200
BUILD_MEMORY_MIB = 2048
#: What a guest takes beside its memory: QEMU's own, and its logs.
GUEST_MEMORY_MIB = 256
GUEST_DISK_MIB = 256


@dataclass(frozen=True)
class Needs:
    """What a task holds of its machine while it runs.

    ``cpus`` are cores (:data:`EVERY`: what the machine gives to one task; ``None``: it holds none,
    since it is niced).  ``arch`` is the architecture whose kernels are compiled or booted; with
    ``kvm`` the machine runs its guests under KVM.  A task that is at home (``here``) needs what
    only the machine of who started the run has: the user's sources.
    """

    cpus: int | None = None
    memory_mib: int = 0
    disk_mib: int = 0
    arch: str = ""
    kvm: bool = False
    here: bool = False


@dataclass(frozen=True)
class Task:
    """One thing to do: a kernel to prepare, a build to make, a cell or a case of one to run.

    ``after`` names the tasks that must have come to a good end, ``rank`` says which of those that
    could begin goes first: the smallest.
    """

    id: str
    work: KernelSpec | Build | Cell
    needs: Needs
    after: tuple[str, ...] = ()
    rank: int = 0

    @property
    def kind(self) -> str:
        """What it is, as events call it: ``kernel``, ``build`` or ``cell``."""
        kinds = {KernelSpec: "kernel", Build: "build", Cell: "cell"}
        return kinds[type(self.work)]


@dataclass(frozen=True)
class Graph:
    """The tasks of a plan, each behind those that it waits for."""

    tasks: tuple[Task, ...]

    @cached_property
    def by_id(self) -> dict[str, Task]:
        """The tasks by their names."""
        return {task.id: task for task in self.tasks}

    @property
    def kernels(self) -> tuple[KernelSpec, ...]:
        """What is to be prepared, in turn."""
        return tuple(task.work for task in self.tasks if isinstance(task.work, KernelSpec))

    @property
    def builds(self) -> tuple[Build, ...]:
        """What is to be built, in turn."""
        return tuple(task.work for task in self.tasks if isinstance(task.work, Build))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What is to be run, in the plan's order."""
        return tuple(task.work for task in self.tasks if isinstance(task.work, Cell))


def graph_of(plan: Plan, *, kvm: bool = False) -> Graph:
    """The tasks of a plan.

    The kernels of a series' first patches are prepared after all others, and their cells run when
    nothing else is to be built or run: what the whole series does is told first.

    :param kvm: guests are to run where KVM runs them, and nowhere else.
    """
    tasks: list[Task] = []
    places = (*plan.builds, *(cell.build for cell in plan.cells))
    kernels = dict.fromkeys(build.kernel for build in places)
    for kernel in sorted(kernels, key=lambda kernel: bool(kernel.prefix_of)):
        tasks.append(Task(kernel_task(kernel), kernel, Needs(here=True), rank=len(tasks)))
    turns = [turn.name for turn in plan.turns] or [cell.id for cell in plan.cells]
    place = {cell: number for number, cell in enumerate(turns)}
    for rank, build in enumerate(_in_turn(plan, place)):
        needs = Needs(EVERY, BUILD_MEMORY_MIB, BUILD_DISK_MIB, build.arch)
        tasks.append(Task(build.id, build, needs, (kernel_task(build.kernel),), _BUILDS + rank))
    for cell in plan.cells:
        later = _PREFIXES if cell.build.kernel.prefix_of else 0
        after = kernel_task(cell.build.kernel) if cell.on_host else cell.build.id
        tasks.append(Task(cell.id, cell, needs_of(cell, kvm=kvm), (after,), later + place[cell.id]))
    return Graph(tuple(tasks))


def kernel_task(kernel: KernelSpec) -> str:
    """What the task that prepares a kernel is called; builds and cells go by their ids."""
    return kernel.name


def needs_of(cell: Cell, *, kvm: bool = False) -> Needs:
    """What a cell holds while it runs; a case of it that is run again holds the same.

    A cell on the host runs one niced process at a time, and holds no cores for it.
    """
    if cell.on_host:
        memory = max((s.host.memory_mib for s in cell.workloads if s.host is not None), default=0)
        return Needs(memory_mib=memory, arch=cell.build.arch)
    shape = cell.shape
    disk = GUEST_DISK_MIB + shape.memory_mib * cell.fresh_guests  # what a snapshot is kept in
    memory = GUEST_MEMORY_MIB + shape.memory_mib
    return Needs(shape.cpus, memory, disk, cell.build.arch, kvm)


def _in_turn(plan: Plan, place: dict[str, int]) -> list[Build]:
    """Builds by the first of their cells; parts of a series stay before the whole."""
    if not plan.turns:
        return list(plan.builds)
    first: dict[str, int] = {}
    for cell in plan.cells:
        first[cell.build.id] = min(place[cell.id], first.get(cell.build.id, place[cell.id]))

    def turn(build: Build) -> int:
        kernel = build.kernel.prefix_of or build.kernel.name
        whole = str(replace(CellId.parse(build.id), kernel=kernel).build)
        return first.get(whole, len(first))

    return sorted(plan.builds, key=turn)  # sort() is stable
