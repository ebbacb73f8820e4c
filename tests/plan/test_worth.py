# SPDX-License-Identifier: GPL-2.0-only
"""Which cells come first where time may not do for all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.results import CellPast
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
)
from orchestrator.plan.worth import most_valuable_first

SHAPES = (ShapeSpec("s"), ShapeSpec("t"))
MONDAY, TUESDAY = "2024-01-01T21:30:00Z", "2024-01-02T21:30:00Z"


def plan_of(kernels: str = "k", configs: str = "abc") -> Plan:
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in configs
    )
    cells = tuple(Cell(f"{b.id}/{s.name}", b, s, ()) for b in builds for s in SHAPES)
    return Plan("p", builds, cells)


def order(past: dict[str, CellPast], plan: Plan | None = None) -> str:
    """The cells in short, ``as at bs`` for ``k/a/x86_64/s`` and so on."""
    plan = most_valuable_first(plan or plan_of(), past)
    return " ".join(c.id.split("/")[1] + c.id.split("/")[3] for c in plan.cells)


def past(**known: CellPast) -> dict[str, CellPast]:
    return {f"k/{name[0]}/x86_64/{name[1]}": value for name, value in known.items()}


def test_without_a_history_it_is_the_plans_order() -> None:
    assert order({}) == "as at bs bt cs ct"
    assert most_valuable_first(plan_of("kl"), {}) == plan_of("kl")


def test_what_failed_last_time_comes_first() -> None:
    every = {name: CellPast(False, TUESDAY, 0, 60.0) for name in ("as", "at", "bs", "bt", "cs")}
    told = past(**{**every, "bt": CellPast(True, TUESDAY, 1, 60.0)}, ct=CellPast(True, MONDAY))
    assert order(told) == "ct bt as at bs cs"
    builds = [build.id for build in most_valuable_first(plan_of(), told).builds]
    assert builds == ["k/c/x86_64", "k/b/x86_64", "k/a/x86_64"]


def test_then_what_was_not_run_for_longest() -> None:
    new, old = CellPast(False, TUESDAY, 0, 60.0), CellPast(False, MONDAY, 0, 60.0)
    assert order({**past(**{"as": new, "at": old, "bs": new, "cs": old, "ct": new})}) == (
        "bt at cs as bs ct"  # bt never ran
    )


def test_then_what_found_most_for_its_time() -> None:
    def found(count: int, seconds: float) -> CellPast:
        return CellPast(False, TUESDAY, count, seconds)

    told = past(**{"as": found(0, 9.0), "at": found(2, 600.0), "bs": found(1, 100.0),
                   "bt": found(0, 900.0), "cs": found(9, 90.0), "ct": found(1, 0.0)})  # fmt: skip
    assert order(told) == "cs bs at as bt ct"


def test_a_build_that_failed_since_is_its_cells_failure() -> None:
    told = past(**{name: CellPast(False, MONDAY, 0, 60.0) for name in ("as", "at", "bs", "bt")})
    told |= past(cs=CellPast(False, MONDAY, 0, 60.0), ct=CellPast(False, TUESDAY, 0, 60.0))
    told["k/b/x86_64"] = CellPast(True, TUESDAY, 1)
    told["k/c/x86_64"] = CellPast(True, "2023-12-31T21:30:00Z", 1)  # mended by now
    assert order(told) == "bs bt as at cs ct"


def test_a_baselines_cell_comes_with_its_twin() -> None:
    told = {"k/c/x86_64/s": CellPast(True, TUESDAY, 1, 1.0)}
    cells = [cell.id for cell in most_valuable_first(plan_of("kl"), told).cells]
    assert cells[:2] == ["k/c/x86_64/s", "l/c/x86_64/s"]


def test_a_cell_on_the_host_has_no_build() -> None:
    here = Build("k/host/x86_64", KernelSpec("k", "path:x"), HOST_CONFIG, "x86_64")
    plan = plan_of()
    plan = Plan("p", plan.builds, (Cell("k/host/x86_64/-", here, HOST_SHAPE, ()), *plan.cells))
    ordered = most_valuable_first(plan, past(bs=CellPast(True, MONDAY)))
    assert [cell.id for cell in ordered.cells][:2] == ["k/b/x86_64/s", "k/host/x86_64/-"]
    assert set(ordered.builds) == set(plan.builds)


CELLS = [cell.id for cell in plan_of("kl").cells]
PASTS = st.builds(
    CellPast, st.booleans(), st.sampled_from(["", MONDAY, TUESDAY]), st.integers(0, 3),
    st.floats(0, 100),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(CELLS), PASTS))
def test_nothing_is_lost(known: dict[str, CellPast]) -> None:
    plan = plan_of("kl")
    ordered = most_valuable_first(plan, known)
    assert sorted(c.id for c in ordered.cells) == sorted(CELLS)
    assert set(ordered.builds) == set(plan.builds)
