# SPDX-License-Identifier: GPL-2.0-only
"""A plan as ``lab plan`` prints it: what it counts.  Its tables are looked at in test_matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    SelftestSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.show import explain

WALK = WorkloadSpec("ledger/walk", "ledger", Path("/f/ledger"), "walk.c")
MM = WorkloadSpec(
    "kselftest/mm", "kselftest", Path("/f/kselftest"), "run.sh", timeout=45.0, needs=("root",),
    selftests=SelftestSpec("mm"),
)  # fmt: skip
COW = replace(MM, name="kselftest/mm/cow", selftests=SelftestSpec("mm", only="cow"))


def lines(*workloads: WorkloadSpec) -> list[str]:
    build = Build("k/default/x86_64", KernelSpec("k", "tar:/x"), ConfigSpec("default"), "x86_64")
    cell = Cell(f"{build.id}/small", build, ShapeSpec("small"), workloads)
    return explain(Plan("p", (build,), (cell,))).splitlines()


def cell_row(told: list[str]) -> str:
    return next(line for line in told if line.startswith("k/default/x86_64/small"))


def test_selftests_are_not_counted_before_the_tree_was_read() -> None:
    """How many programs a collection has is the tree's to say: neither one nor none is true."""
    told = lines(WALK, MM, COW)
    assert told[0] == "profile p: 1 build, 1 cell, 1 workload run and 2 selections of selftests"
    assert cell_row(told).endswith("  1 + 2 selections")
    assert "kselftest/mm      45 s each  root" in told
    assert told[-2].startswith("A selection of selftests is found in the tree when it is read")
    told = lines(MM)
    assert told[0] == "profile p: 1 build, 1 cell, 1 selection of selftests"
    assert cell_row(told).endswith("  1 selection")


def test_what_is_known_is_counted_alone() -> None:
    found = replace(COW, bundle=Path("/built"))  # as it is when the tree was read
    told = lines(WALK, found)
    assert told[0] == "profile p: 1 build, 1 cell, 2 workload runs"
    assert cell_row(told).endswith("  2")
    assert not any("selection" in line for line in told)
