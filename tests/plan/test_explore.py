# SPDX-License-Identifier: GPL-2.0-only
"""Slices, their seeds and their time; programs as arguments of a workload."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.finds import Find
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.explore import (
    AT_ONCE,
    MODES,
    SLICE,
    as_found,
    chunks,
    exploring,
    replaying,
    share,
    slice_of,
)
from orchestrator.plan.lab_yaml import load_config

SPEC = WorkloadSpec("explore/steady", "explore", Path("explore"), "steady.c", args=("--x",))


def cell(config: str = "c", cpus: int = 2) -> Cell:
    build = Build(f"k/{config}/x86_64", KernelSpec("k", "path:x"), ConfigSpec(config), "x86_64")
    return Cell(f"{build.id}/s", build, ShapeSpec("s", cpus=cpus), (SPEC,))


def test_each_mode_has_its_workload() -> None:
    known = {spec.name for spec in load_config(HOME / "lab.yaml", tuple(ARCHES)).workloads}
    assert set(MODES.values()) <= known


def test_no_two_slices_draw_the_same_programs() -> None:
    slices = [slice_of(SPEC, number, 5, 1000.0) for number in range(50)]
    seeds = sorted(one.spec.seed or 0 for one in slices)
    # 5,000 programs a second and swarm would not reach the next slice's.
    assert min(b - a for a, b in itertools.pairwise(seeds)) > 5000 * SLICE / 5
    assert slice_of(SPEC, 1, 2**64 - 1, 9.0).spec.seed == 99_999


def test_the_last_slice_is_as_long_as_what_is_left() -> None:
    assert slice_of(SPEC, 0, 1, 500.0).spec.budget == SLICE
    assert slice_of(SPEC, 0, 1, 7.25).spec.budget == 7.2
    assert slice_of(SPEC, 0, 1, -3.0).spec.budget == 1.0


def test_cells_that_find_no_room_beside_each_other_share_the_time() -> None:
    assert share(60, [cell()], 2) == 60
    assert share(60, [cell("a"), cell("b"), cell("c")], 2) == 20
    assert share(60, [cell("a"), cell("b"), cell("c")], 4) == 40
    assert share(60, [cell("a"), cell("b")], 64) == 60
    assert share(60, [cell(cpus=8)], 2) == 60


def test_programs_are_arguments() -> None:
    spec = replaying(SPEC, [("a", ["0 exit  # EINVAL", "# x", ""]), ("b", ["0 kill", "1 exit"])])
    assert spec.args == (
        "--program", "0 exit", "--case", "a", "--program", "0 kill;1 exit", "--case", "b",
    )  # fmt: skip
    assert (spec.budget, spec.seed, spec.name) == (0.0, None, SPEC.name)


def test_a_case_with_a_find_is_repeated_by_its_program() -> None:
    find = Find("state", "exit", "x", ("0 exit",))
    case = CaseResult("i", SPEC.name, "state-exit", Verdict.FAIL, find=find)
    assert as_found(SPEC, case).args == ("--program", "0 exit", "--case", "state-exit")
    assert as_found(SPEC, replace(case, find=None)) is SPEC
    assert as_found(replace(SPEC, name="f/other"), case).name == "f/other"
    assert as_found(replace(SPEC, name="f/other"), case).args == ("--x",)


def test_a_corpus_goes_in_parts() -> None:
    programs = [(str(number), ("0 exit",)) for number in range(AT_ONCE + 1)]
    assert [len(part) for part in chunks(programs)] == [AT_ONCE, 1]
    assert chunks([]) == []


def test_the_plan_of_an_exploration() -> None:
    plan = exploring(Plan("p", (), (cell(),), time_budget=5.0, spend_budget=True), "steady")
    assert (plan.time_budget, plan.spend_budget) == (None, False)
    assert plan.cells[0].fresh_guests
    with pytest.raises(UserError, match="no guest that could run explore/steady"):
        exploring(Plan("p", (), ()), "steady")
    with pytest.raises(UserError, match="no guest"):
        exploring(Plan("p", (), (replace(cell(), workloads=()),)), "steady")
