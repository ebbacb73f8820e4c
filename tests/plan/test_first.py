# SPDX-License-Identifier: GPL-2.0-only
"""What runs first, and what each order is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.names import BOOT, BUILD
from orchestrator.model.signs import Signs
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    SelftestSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.first import Known, with_signs, with_turns, workload_turns
from orchestrator.plan.show import explain, plan_to_dict

SHAPES = (ShapeSpec("s"), ShapeSpec("t"))
PLACE = "a/x86_64/s"


def work(name: str, budget: float = 0.0) -> WorkloadSpec:
    return WorkloadSpec(name, "w", Path("/w"), f"{name}.c", budget=budget)


def plan_of(
    kernels: str = "k", configs: str = "a", shapes: int = 1, works: str = "uvwxyz",
    baseline: str | None = None,
) -> Plan:  # fmt: skip
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in configs
    )
    specs = tuple(map(work, works))
    cells = tuple(Cell(f"{b.id}/{s.name}", b, s, specs) for b in builds for s in SHAPES[:shapes])
    return Plan("p", builds, cells, baseline=baseline)


def order(known: Known, plan: Plan | None = None) -> str:
    cell = with_signs(plan or plan_of(), known).cells[0]
    return " ".join(turn.name for turn in workload_turns(cell))


def cells(plan: Plan, known: Known, *, base_beside: bool = False) -> str:
    """The cells in short, ``kas`` for ``k/a/x86_64/s``."""
    turns = with_turns(with_signs(plan, known), base_beside=base_beside).turns
    return " ".join("".join(turn.name.replace("x86_64/", "").split("/")) for turn in turns)


def here(**signs: Signs) -> dict[tuple[str, str], Signs]:
    return {(PLACE, name): one for name, one in signs.items()}


# ---------------------------------------------------------------- workloads


def test_without_a_history_they_run_as_they_stand() -> None:
    assert order({}) == "u v w x y z"
    plan = plan_of()
    looping = replace(plan.cells[0], workloads=(work("race", 5.0), work("a")))
    assert order({}, replace(plan, cells=(looping,))) == "race a"
    assert order({("b/x86_64/s", "u"): Signs(failed=True)}) == "u v w x y z"


def test_what_speaks_for_a_failure_in_the_order_of_its_strength() -> None:
    known = here(
        u=Signs(runs=9, seconds=1.0), v=Signs(runs=9, found=2, seconds=9.0),
        w=Signs(runs=9, touches=("move_pages_pte", "move_swap_pte"), seconds=9.0),
        x=Signs(runs=9, found=1, failed_at="b/arm64/s", seconds=9.0),
        y=Signs(runs=9, found=9, failed=True, seconds=9.0),
    )  # fmt: skip
    assert order(known) == "y x w v z u"
    turns = workload_turns(with_signs(plan_of(), known).cells[0])
    assert [turn.why for turn in turns] == [
        "failed in its last run",
        "failed in its last run in b/arm64/s",
        "runs move_pages_pte and 1 more, which the series touches",
        "failed in 2 of 9 runs of any kernel",
        "",
        "",
    ]


def test_among_those_that_failed_the_one_that_fails_most_often_then_the_quickest() -> None:
    known = here(
        u=Signs(failed=True, found=1, runs=9, seconds=1.0),
        v=Signs(failed=True, found=5, runs=9, seconds=9.0),
        w=Signs(failed=True, found=5, runs=9, seconds=3.0),
        x=Signs(found=3, runs=9), y=Signs(found=4, runs=9),
    )  # fmt: skip
    assert order(known) == "w v u y x z"


def test_then_what_was_never_tried_then_the_quick_ones_and_what_is_equal_stays() -> None:
    known = here(
        v=Signs(runs=2, seconds=3.0), w=Signs(runs=2, seconds=0.5), x=Signs(runs=2, seconds=3.0),
        y=Signs(runs=2),
    )  # fmt: skip
    assert order(known) == "u z w v x y"
    plan = plan_of()
    loops = replace(plan.cells[0], workloads=(work("new-race", 5.0), work("w"), work("new")))
    assert order(known, replace(plan, cells=(loops,))) == "new w new-race"


def test_programs_of_selftests_are_known_once_they_are_workloads() -> None:
    spec = replace(work("kselftest/mm"), selftests=SelftestSpec("mm"))
    plan = plan_of()
    plan = replace(plan, cells=(replace(plan.cells[0], workloads=(spec,)),))
    known = {
        (PLACE, "kselftest/mm/cow"): Signs(failed=True, runs=1, found=1),
        (PLACE, "kselftest/mm/a"): Signs(runs=1, seconds=1.0),
        (PLACE, "kselftest/mmap/b"): Signs(runs=1),
    }
    (cell,) = with_signs(plan, known).cells
    assert [name for name, _ in cell.signs] == ["kselftest/mm/a", "kselftest/mm/cow"]
    expanded = replace(cell, workloads=(work("kselftest/mm/a"), work("kselftest/mm/cow")))
    assert [turn.name for turn in workload_turns(expanded)] == [
        "kselftest/mm/cow",
        "kselftest/mm/a",
    ]


signs = st.builds(
    Signs, failed=st.booleans(), failed_at=st.sampled_from(["", "b/arm64/s"]),
    found=st.integers(0, 3), runs=st.integers(0, 5),
    seconds=st.none() | st.floats(0.1, 9.0), touches=st.sampled_from([(), ("f",)]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("uvwxyz"), signs))
def test_an_order_leaves_nothing_out_and_is_the_same_each_time(known: dict[str, Signs]) -> None:
    first = order(here(**known))
    assert sorted(first.split()) == sorted("uvwxyz")
    turned = dict(reversed(known.items()))
    assert order(here(**turned)) == first
    plan = with_turns(with_signs(plan_of("kb", "ab", 2, baseline="b"), here(**known)))
    assert sorted(turn.name for turn in plan.turns) == sorted(cell.id for cell in plan.cells)
    assert plan.cells == with_signs(plan, here(**known)).cells, "the plan's own order stays"


# ---------------------------------------------------------------- cells


def test_cells_without_a_history_are_run_as_they_stand() -> None:
    assert cells(plan_of("kl", "ab", 2), {}) == "kas kat kbs kbt las lat lbs lbt"


def test_the_cell_in_which_something_failed_comes_first() -> None:
    plan = plan_of(configs="ab", shapes=2)
    known = {("b/x86_64/t", "u"): Signs(failed=True), ("a/x86_64/t", "v"): Signs(found=1, runs=9)}
    assert cells(plan, known) == "kbt kat kas kbs"
    assert [t.why for t in with_turns(with_signs(plan, known)).turns] == [
        "failed in its last run", "failed in 1 of 9 runs of any kernel", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [("b/x86_64/-", BUILD), ("b/x86_64/s", BOOT)])
def test_a_build_or_a_boot_that_failed_speaks_for_its_cells(bad: tuple[str, str]) -> None:
    assert cells(plan_of(configs="ab"), {bad: Signs(failed=True)}) == "kbs kas"


def test_among_cells_of_one_build_the_quicker_are_first_and_builds_stay() -> None:
    plan = plan_of(configs="ab", shapes=2, works="u")
    known = {(f"{place}", "u"): Signs(runs=1, seconds=seconds) for place, seconds in
             (("a/x86_64/s", 9.0), ("a/x86_64/t", 5.0), ("b/x86_64/s", 1.0))}  # fmt: skip
    assert cells(plan, known) == "kat kas kbs kbt"


def test_a_baseline_comes_after_what_is_compared_with_it() -> None:
    plan = plan_of("kb", "ac", baseline="b")
    known = {("c/x86_64/s", "u"): Signs(failed=True)}
    assert cells(plan, known) == "kcs kas bcs bas"
    assert cells(plan, known, base_beside=True) == "kcs bcs kas bas"
    assert cells(plan, {}, base_beside=True) == "kas bas kcs bcs"


def test_a_part_of_a_series_comes_after_the_whole() -> None:
    plan = plan_of("kl", "a")
    part = plan.cells[1]
    kernel = replace(part.build.kernel, prefix_of="k")
    part = replace(part, build=replace(part.build, kernel=kernel))
    plan = replace(plan, cells=(part, plan.cells[0]))
    assert cells(plan, here(u=Signs(failed=True))) == "kas las"


def test_a_cell_on_the_host_is_one_of_them() -> None:
    plan = plan_of()
    build = Build("k/host/x86_64", plan.builds[0].kernel, HOST_CONFIG, "x86_64")
    host = Cell("k/host/x86_64/-", build, HOST_SHAPE, (work("h"), work("i")))
    plan = replace(plan, cells=(host, *plan.cells))
    known = {("host/x86_64/-", "i"): Signs(failed=True)}
    assert order(known, plan) == "i h"
    assert cells(plan, here(u=Signs(failed=True))) == "kas khost-"


# ---------------------------------------------------------------- shown


def test_a_plan_tells_what_comes_first_and_why() -> None:
    plan = plan_of(configs="ab")
    known = {("b/x86_64/s", "w"): Signs(failed=True, found=1, runs=2, seconds=1.0)}
    plan = with_turns(with_signs(plan, known))
    said = explain(plan)
    assert (
        "FIRST         WHY\n"
        "k/b/x86_64/s  failed in its last run\n"
        "  w           failed in its last run\n"
        "\nIn each cell then what no run has tried yet, and the rest by how soon it was over.\n"
    ) in said
    found = plan_to_dict(plan)
    assert found["turns"][0] == {"name": "k/b/x86_64/s", "why": "failed in its last run"}
    assert [w["name"] for w in found["cells"][1]["workloads"]] == list("uvwxyz")
    assert [t["name"] for t in found["cells"][1]["turns"]] == list("wuvxyz")
    assert "FIRST" not in explain(with_turns(plan_of()))


def test_a_long_list_is_cut() -> None:
    names = "abcdefghijkl"
    plan = plan_of(works=names)
    known = here(**{name: Signs(failed=True) for name in names})
    said = explain(with_turns(with_signs(plan, known)))
    assert said.count("failed in its last run") == 9
    assert "  and 4 more" in said
