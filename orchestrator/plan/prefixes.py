# SPDX-License-Identifier: GPL-2.0-only
"""A series patch by patch: the kernels of its first patches, planned beside the whole.  Pure.

Such a kernel is one like others: it is built, booted, stored and run again under its own name.
Only its role is another (:attr:`.KernelSpec.prefix_of`): it is judged by what its patches bring,
and is neither the kernel under test nor a baseline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from orchestrator.model.names import CellId
from orchestrator.model.spec import Build, Cell, KernelSpec, Plan, SelftestSpec, WorkloadSpec

#: How far the kernel of each patch is tried: built, booted as well, its workloads run as well.
BUILD, BOOT, TEST = DEPTHS = ("build", "boot", "test")

# No name in lab.yaml has this sign, and no shell sees more in it than a letter.
_MARK = "@patch-"


def first_patches(kernel: KernelSpec, count: int) -> KernelSpec:
    """The kernel with the first ``count`` patches of a kernel's series: ``NAME@patch-COUNT``.

    It stands for itself; as part of a run of the whole series it is a :func:`prefix`.  With no
    patch it is the base: the same source without a series.

    :raises ValueError: when the kernel has no series, or the count is below 0.
    """
    if kernel.series is None or count < 0:
        raise ValueError(f"{kernel.name}: no kernel of its first {count} patches")
    named = replace(kernel, name=f"{kernel.name}{_MARK}{count}", patches=count)
    return named if count else replace(named, series=None, patches=0)


def prefix(kernel: KernelSpec, count: int) -> KernelSpec:
    """:func:`first_patches` in its role beside the kernel of the whole series."""
    return replace(first_patches(kernel, count), prefix_of=kernel.name)


def with_prefixes(plan: Plan, lengths: Mapping[str, int], depth: str) -> Plan:
    """The plan with every beginning of the series of some kernels, tried as far as ``depth`` says.

    In each config and architecture they are built one after the other, first to last, and right
    before the whole series: each build then compiles what one patch changes.  Their guests run
    the workloads that are deterministic and come to an end by themselves.

    :param lengths: how many patches the series of each such kernel has, by the kernel's name.
    """
    builds = [
        build
        for whole in plan.builds
        for build in (*_moved(whole, lengths), whole)
    ]  # fmt: skip
    cells = [] if depth == BUILD else list(_cells(plan.cells, lengths, depth))
    return replace(plan, builds=tuple(builds), cells=(*plan.cells, *cells))


def _moved(build: Build, lengths: Mapping[str, int]) -> Iterator[Build]:
    """A build with each beginning of its kernel's series."""
    for count in range(1, lengths.get(build.kernel.name, 0)):
        kernel = prefix(build.kernel, count)
        place = CellId(kernel.name, build.config.name, build.arch).build
        yield replace(build, id=place, kernel=kernel)


def _cells(cells: Iterable[Cell], lengths: Mapping[str, int], depth: str) -> Iterator[Cell]:
    for cell in cells:
        workloads = _steady(cell.workloads) if depth == TEST else ()
        if cell.on_host and not workloads:
            continue
        for build in _moved(cell.build, lengths):
            name = f"{build.id}/{cell.shape.name}"
            yield replace(cell, id=name, build=build, workloads=workloads)


def _steady(workloads: Iterable[WorkloadSpec]) -> tuple[WorkloadSpec, ...]:
    """Those that tell the same each time they run, and end by themselves."""
    kept = (spec for spec in workloads if spec.deterministic and not spec.budget)
    return tuple(
        replace(spec, selftests=_steady_runs(spec.selftests)) if spec.selftests else spec
        for spec in kept
    )


def _steady_runs(tests: SelftestSpec) -> SelftestSpec:
    """A collection without the runs that race; a program that has no other is left out."""
    runs = tuple(run for run in tests.runs if run.deterministic)
    racing = {run.program for run in tests.runs} - {run.program for run in runs}
    return replace(tests, runs=runs, left_out=(*tests.left_out, *sorted(racing)))
