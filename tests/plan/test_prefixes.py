# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of the first patches of a series, and where they stand in a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    SelftestRun,
    SelftestSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.prefixes import first_patches, prefix, with_prefixes

KERNEL = KernelSpec("cli", "debian:6.12", "/s", provides=("uffd-move",), apply="3way")
STEADY = WorkloadSpec("w/steady", "w", Path("/w"), "a.c")
RACES = replace(STEADY, name="w/races", deterministic=False)
LOOPS = replace(STEADY, name="w/loops", budget=30.0)


def plan_of(*places: str, kernel: KernelSpec = KERNEL, base: bool = False) -> Plan:
    """A plan of ``CONFIG/ARCH``, each with one guest."""
    kernels = (kernel, KernelSpec("v6.12", "debian:6.12")) if base else (kernel,)
    builds = tuple(
        Build(f"{k.name}/{place}", k, ConfigSpec(place.split("/")[0]), place.split("/")[1])
        for k in kernels
        for place in places
    )
    shape = ShapeSpec("small")
    cells = tuple(
        Cell(f"{b.id}/small", b, shape, (STEADY, RACES, LOOPS), fresh_guests=True) for b in builds
    )
    return Plan("p", builds, cells, baseline="v6.12" if base else None)


def test_the_kernel_of_the_first_patches() -> None:
    two = first_patches(KERNEL, 2)
    assert two == replace(KERNEL, name="cli@patch-2", patches=2)
    assert prefix(KERNEL, 2) == replace(two, prefix_of="cli")
    base = first_patches(KERNEL, 0)
    assert (base.name, base.series, base.patches) == ("cli@patch-0", None, 0)
    with pytest.raises(ValueError, match="no kernel of its first 1 patches"):
        first_patches(replace(KERNEL, series=None), 1)


def test_one_after_the_other_and_then_the_whole() -> None:
    plan = with_prefixes(plan_of("a/x86_64", "b/arm64", base=True), {"cli": 3}, "build")
    assert [build.id for build in plan.builds] == [
        "cli@patch-1/a/x86_64", "cli@patch-2/a/x86_64", "cli/a/x86_64",
        "cli@patch-1/b/arm64", "cli@patch-2/b/arm64", "cli/b/arm64",
        "v6.12/a/x86_64", "v6.12/b/arm64",
    ]  # fmt: skip
    assert [cell.build.kernel.name for cell in plan.cells] == ["cli", "cli", "v6.12", "v6.12"]
    assert plan.baseline == "v6.12"


def test_boots_without_workloads() -> None:
    plan = with_prefixes(plan_of("a/x86_64"), {"cli": 2}, "boot")
    whole, part = plan.cells
    assert (whole.id, len(whole.workloads)) == ("cli/a/x86_64/small", 3)
    assert (part.id, part.workloads) == ("cli@patch-1/a/x86_64/small", ())
    assert part.build in plan.builds


def test_runs_what_is_deterministic_and_ends() -> None:
    _, part = with_prefixes(plan_of("a/x86_64"), {"cli": 2}, "test").cells
    assert part.workloads == (STEADY,)
    assert part.fresh_guests


def test_a_collection_of_selftests_without_what_races() -> None:
    runs = (
        SelftestRun("races", deterministic=False),
        SelftestRun("both", "one"), SelftestRun("both", "two", deterministic=False),
    )  # fmt: skip
    spec = replace(STEADY, name="kselftest/mm", selftests=SelftestSpec("mm", runs=runs))
    plan = plan_of("a/x86_64")
    plan = replace(plan, cells=(replace(plan.cells[0], workloads=(spec,)),))
    tests = with_prefixes(plan, {"cli": 2}, "test").cells[1].workloads[0].selftests
    assert tests is not None
    assert tests.runs == (runs[1],)
    assert tests.left_out == ("races",)


def test_what_runs_on_the_host() -> None:
    build = Build("cli/host/x86_64", KERNEL, HOST_CONFIG, "x86_64")
    plan = Plan("p", (), (Cell("cli/host/x86_64/-", build, HOST_SHAPE, (STEADY,)),))
    assert with_prefixes(plan, {"cli": 2}, "boot") == plan
    cells = with_prefixes(plan, {"cli": 2}, "test").cells
    assert [cell.id for cell in cells] == ["cli/host/x86_64/-", "cli@patch-1/host/x86_64/-"]


def test_a_series_of_one_patch_has_no_parts() -> None:
    plan = plan_of("a/x86_64")
    assert with_prefixes(plan, {"cli": 1}, "test") == plan
