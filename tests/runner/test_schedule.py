# SPDX-License-Identifier: GPL-2.0-only
"""What comes next in a run: no thread, no clock, no stage; events in and instructions out."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge.outcome import BUDGET, ENDED
from orchestrator.model.names import Verdict
from orchestrator.model.signs import Turn
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner.schedule import (
    Boot,
    BuildEnded,
    CellEnded,
    CoresFreed,
    Find,
    Instruction,
    KernelEnded,
    Leave,
    Make,
    NotKept,
    Prepare,
    Schedule,
)

P, F, E = Verdict.PASS, Verdict.FAIL, Verdict.ERROR
SMALL, WIDE = ShapeSpec("small", cpus=2), ShapeSpec("wide", cpus=4)


def plan_of(
    kernels: str = "k", configs: str = "a", shapes: tuple[ShapeSpec, ...] = (SMALL,),
    budget: float | None = None,
) -> Plan:  # fmt: skip
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in configs
    )
    cells = tuple(Cell(f"{b.id}/{s.name}", b, s, ()) for b in builds for s in shapes)
    return Plan("p", builds, cells, time_budget=budget)


def told(instructions: tuple[Instruction, ...]) -> list[str]:
    """Instructions in short: ``boot k/a/x86_64/small``."""
    words = []
    for what in instructions:
        match what:
            case Prepare():
                words.append(f"prepare {what.kernel.name}")
            case Find():
                words.append(f"find {what.build.id}")
            case Make():
                words.append(f"make {what.build.id} with {what.cores}")
            case Boot():
                words.append(f"boot {what.cell.id}")
            case Leave():
                words.append(f"leave {what.cell.id}: {what.verdict.value}, {what.reason}")
    return words


def test_one_kernel_after_another_then_its_builds_then_their_cells() -> None:
    schedule = Schedule(plan_of("kl"), 4)
    assert told(schedule.begin(0.0)) == ["prepare k"]
    assert told(schedule.on(KernelEnded("k", ready=True), 1.0)) == ["prepare l"]
    ready = schedule.on(KernelEnded("l", ready=True), 2.0)
    assert told(ready) == ["find k/a/x86_64", "find l/a/x86_64"]
    assert told(schedule.on(NotKept("k/a/x86_64"), 3.0)) == []  # not while one may be kept
    assert told(schedule.on(NotKept("l/a/x86_64"), 3.0)) == ["make k/a/x86_64 with 4"]
    assert told(schedule.on(BuildEnded("k/a/x86_64", P, 60.0), 63.0)) == ["boot k/a/x86_64/small"]
    assert told(schedule.on(CellEnded("k/a/x86_64/small", 9.0), 72.0)) == ["make l/a/x86_64 with 4"]
    assert told(schedule.on(BuildEnded("l/a/x86_64", P, 5.0), 80.0)) == ["boot l/a/x86_64/small"]
    assert not schedule.finished
    assert schedule.on(CellEnded("l/a/x86_64/small", 9.0), 90.0) == ()
    assert schedule.finished


def test_a_part_of_a_series_waits_for_what_the_whole_tells() -> None:
    plan = plan_of("k", configs="ab")
    parts = [
        replace(
            b, id=f"k@1/{b.config.name}/x86_64", kernel=replace(b.kernel, name="k@1", prefix_of="k")
        )
        for b in plan.builds
    ]
    builds = (parts[0], plan.builds[0], parts[1], plan.builds[1])
    cells = tuple(Cell(f"{b.id}/small", b, SMALL, ()) for b in builds)
    schedule = Schedule(replace(plan, builds=builds, cells=cells), 2)
    assert told(schedule.begin(0.0)) == ["prepare k"]
    assert told(schedule.on(KernelEnded("k", ready=True), 1.0)) == ["prepare k@1"]
    schedule.on(KernelEnded("k@1", ready=True), 1.0)
    order = [told(schedule.on(NotKept(build.id), 2.0)) for build in builds][-1]
    while not schedule.finished:
        what, name = order[-1].split()[:2]
        ended = BuildEnded(name, P, 9.0) if what == "make" else CellEnded(name, 9.0)
        order += told(schedule.on(ended, 3.0))
    assert [" ".join(words.split()[:2]) for words in order] == [
        "make k@1/a/x86_64", "make k/a/x86_64", "boot k/a/x86_64/small",
        "make k@1/b/x86_64", "make k/b/x86_64", "boot k/b/x86_64/small",
        "boot k@1/a/x86_64/small", "boot k@1/b/x86_64/small",
    ]  # fmt: skip


def with_host(plan: Plan) -> Plan:
    """The plan, and a cell on the host for each of its kernels."""
    kernels = dict.fromkeys(build.kernel for build in plan.builds)
    builds = [Build(f"{k.name}/host/x86_64", k, HOST_CONFIG, "x86_64") for k in kernels]
    here = tuple(Cell(f"{b.id}/-", b, HOST_SHAPE, ()) for b in builds)
    return replace(plan, cells=(*here, *plan.cells))


def test_cells_on_the_host_begin_with_the_first_look_up_and_hold_no_core() -> None:
    schedule = Schedule(with_host(plan_of("kl")), 2)
    schedule.begin(0.0)
    # Not before all kernels were looked at: one that is of no use may end the run.
    assert told(schedule.on(KernelEnded("k", ready=True), 1.0)) == ["prepare l"]
    assert told(schedule.on(KernelEnded("l", ready=False), 2.0)) == [
        "boot k/host/x86_64/-", "find k/a/x86_64",
    ]  # fmt: skip
    assert told(schedule.on(NotKept("k/a/x86_64"), 3.0)) == ["make k/a/x86_64 with 2"]
    assert told(schedule.on(BuildEnded("k/a/x86_64", P, 60.0), 63.0)) == ["boot k/a/x86_64/small"]
    schedule.on(CellEnded("k/a/x86_64/small", 9.0), 72.0)
    assert not schedule.finished
    assert schedule.on(CellEnded("k/host/x86_64/-", 80.0), 83.0) == ()
    assert schedule.finished


def test_a_plan_of_the_host_alone_and_one_that_only_builds() -> None:
    only = replace(with_host(plan_of()), builds=())
    only = replace(only, cells=only.cells[:1])
    schedule = Schedule(only, 2)
    assert told(schedule.begin(0.0)) == ["prepare k"]
    assert told(schedule.on(KernelEnded("k", ready=True), 1.0)) == ["boot k/host/x86_64/-"]
    schedule.on(CellEnded("k/host/x86_64/-"), 2.0)
    assert schedule.finished
    schedule = Schedule(only, 2, boot=False)
    schedule.begin(0.0)
    assert schedule.on(KernelEnded("k", ready=True), 1.0) == ()
    assert schedule.finished
    schedule = Schedule(only, 2, done=["k/host/x86_64/-"])
    schedule.begin(0.0)
    assert schedule.on(KernelEnded("k", ready=True), 1.0) == ()


def after_finding(
    plan: Plan, cores: int, *kept: str, boot: bool = True
) -> tuple[Schedule, list[str]]:
    """A schedule whose kernels are ready and whose builds were looked up; what it said last."""
    schedule = Schedule(plan, cores, boot=boot)
    schedule.begin(0.0)
    for spec in dict.fromkeys(build.kernel for build in plan.builds):
        schedule.on(KernelEnded(spec.name, ready=True), 0.0)
    said: list[str] = []
    for build in plan.builds:
        event = BuildEnded(build.id, P) if build.id in kept else NotKept(build.id)
        said += told(schedule.on(event, 0.0))
    return schedule, said


def test_what_is_kept_runs_before_anything_is_built() -> None:
    schedule, said = after_finding(plan_of(configs="ab"), 2, "k/b/x86_64")
    assert said == ["boot k/b/x86_64/small"]
    assert told(schedule.on(CellEnded("k/b/x86_64/small"), 1.0)) == ["make k/a/x86_64 with 2"]


def test_cells_beside_a_build_where_cores_are_plenty() -> None:
    schedule, said = after_finding(plan_of(configs="ab"), 16, "k/b/x86_64")
    assert said == ["boot k/b/x86_64/small", "make k/a/x86_64 with 12"]
    assert schedule.build_cores == 12


def test_a_wide_cell_is_not_starved_by_narrow_ones() -> None:
    plan = plan_of(configs="abc", shapes=(SMALL,))
    wide = replace(plan.cells[1], shape=WIDE)
    plan = replace(plan, cells=(plan.cells[0], wide, plan.cells[2]))
    schedule, said = after_finding(plan, 4, *(build.id for build in plan.builds))
    assert said == ["boot k/a/x86_64/small"]  # two cores are free and kept for the wide one
    assert not schedule.spare(1)  # nor does anybody get one to spare
    assert told(schedule.on(CellEnded(plan.cells[0].id), 1.0)) == [f"boot {wide.id}"]


def test_wanting_more_than_all_means_all() -> None:
    plan = plan_of(shapes=(replace(SMALL, cpus=64),))
    _, said = after_finding(plan, 2, "k/a/x86_64")
    assert said == ["boot k/a/x86_64/small"]


def test_cores_to_spare_come_back() -> None:
    schedule, _ = after_finding(plan_of(), 4, "k/a/x86_64")
    assert schedule.spare(2)
    assert not schedule.spare(1)
    schedule.on(CoresFreed(2), 1.0)
    assert schedule.spare(1)


@pytest.mark.parametrize(
    ("found", "why"), [(F, "its build failed"), (E, "its build could not be made")]
)
def test_a_build_that_is_none_boots_nothing(found: Verdict, why: str) -> None:
    schedule, said = after_finding(plan_of(shapes=(SMALL, WIDE)), 4)
    assert said == ["make k/a/x86_64 with 4"]
    assert told(schedule.on(BuildEnded("k/a/x86_64", found, 3.0), 9.0)) == [
        f"leave k/a/x86_64/{shape}: {found.value}, not booted: {why}" for shape in ("small", "wide")
    ]
    assert schedule.finished


def test_a_kernel_of_no_use_takes_its_builds_and_cells_along() -> None:
    schedule = Schedule(plan_of("kl"), 2)
    schedule.begin(0.0)
    schedule.on(KernelEnded("k", ready=False), 0.0)
    assert told(schedule.on(KernelEnded("l", ready=True), 0.0)) == ["find l/a/x86_64"]


def test_no_kernel_at_all_is_the_end() -> None:
    schedule = Schedule(plan_of(), 2)
    schedule.begin(0.0)
    assert schedule.on(KernelEnded("k", ready=False), 0.0) == ()
    assert schedule.finished
    empty = Schedule(Plan("p", (), ()), 2)
    assert empty.begin(0.0) == ()
    assert empty.finished


def test_builds_alone() -> None:
    schedule, said = after_finding(plan_of(), 2, boot=False)
    assert said == ["make k/a/x86_64 with 2"]
    assert schedule.on(BuildEnded("k/a/x86_64", P, 3.0), 9.0) == ()
    assert schedule.finished


def test_what_comes_too_late_is_left() -> None:
    plan = plan_of(configs="ab", budget=10.0)
    schedule, said = after_finding(plan, 2)
    assert said == ["make k/a/x86_64 with 2"]
    assert told(schedule.on(BuildEnded("k/a/x86_64", P, 3.0), 10.5)) == [
        f"leave k/a/x86_64/small: skip, {BUDGET}",
        f"leave k/b/x86_64/small: skip, {BUDGET} before its build",
    ]
    assert schedule.finished


def test_what_an_earlier_run_finished_is_not_done_again() -> None:
    plan = plan_of(configs="ab", shapes=(SMALL, WIDE))
    done = {"k/a/x86_64", "k/a/x86_64/small", "k/a/x86_64/wide", "k/b/x86_64/small"}
    schedule = Schedule(plan, 4, done=done)
    schedule.begin(0.0)
    assert told(schedule.on(KernelEnded("k", ready=True), 0.0)) == ["find k/b/x86_64"]
    said = schedule.on(BuildEnded("k/b/x86_64", P), 0.0)
    assert told(said) == ["boot k/b/x86_64/wide"]


def test_a_budget_to_be_spent_goes_to_the_loops() -> None:
    spec = WorkloadSpec("race/w", "race", Path(), "w.c", budget=5.0)
    plan = plan_of(configs="ab", budget=1000.0)
    plan = replace(
        plan, spend_budget=True,
        cells=tuple(replace(cell, workloads=(spec,)) for cell in plan.cells),
    )  # fmt: skip
    schedule = Schedule(plan, 2)
    schedule.begin(0.0)
    schedule.on(KernelEnded("k", ready=True), 0.0)
    (first,) = schedule.on(BuildEnded("k/a/x86_64", P), 0.0)
    assert isinstance(first, Boot)
    # Half of what is left when the second build is counted at its guess, without a cell's rest.
    assert first.cell.workloads[0].budget == pytest.approx((950 - 600) / 2 - 120)
    schedule.on(BuildEnded("k/b/x86_64", P), 0.0)
    (second,) = schedule.on(CellEnded("k/a/x86_64/small", 10.0), 100.0)
    assert isinstance(second, Boot)
    assert second.cell.workloads[0].budget == pytest.approx(900 * 0.95 - 10)


@given(
    cores=st.integers(1, 12),
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    kept=st.sets(st.integers(0, 5)),
    bad=st.sets(st.integers(0, 5)),
    order=st.randoms(use_true_random=False),
)
def test_every_cell_ends_and_no_core_is_held_twice(
    cores: int, widths: list[int], kept: set[int], bad: set[int], order: object
) -> None:
    """Whatever ends when: each cell is run or left once, and never more cores than there are."""
    plan = plan_of(configs="abcdef"[: len(widths)])
    cells = [
        replace(cell, shape=replace(SMALL, cpus=width))
        for cell, width in zip(plan.cells, widths, strict=True)
    ]
    plan = replace(plan, cells=tuple(cells))
    schedule = Schedule(plan, cores)
    todo = list(schedule.begin(0.0))
    under_way: list[tuple[Instruction, int]] = []
    ended: list[str] = []
    number = {build.id: n for n, build in enumerate(plan.builds)}
    while todo or under_way:
        for what in todo:
            if isinstance(what, Leave):
                ended.append(what.cell.id)
            else:
                held = what.cores if isinstance(what, Make) else 0
                held = min(what.cell.shape.cpus, cores) if isinstance(what, Boot) else held
                under_way.append((what, held))
        assert sum(held for _, held in under_way) <= cores
        if not under_way:
            break
        what, _ = under_way.pop(order.randrange(len(under_way)))  # type: ignore[attr-defined]
        match what:
            case Prepare():
                todo = list(schedule.on(KernelEnded(what.kernel.name, ready=True), 1.0))
            case Find():
                there = number[what.build.id] in kept
                name = what.build.id
                todo = list(schedule.on(BuildEnded(name, P) if there else NotKept(name), 1.0))
            case Make():
                found = F if number[what.build.id] in bad else P
                todo = list(schedule.on(BuildEnded(what.build.id, found, 1.0), 1.0))
            case Boot():
                ended.append(what.cell.id)
                todo = list(schedule.on(CellEnded(what.cell.id, 1.0), 1.0))
    assert sorted(ended) == sorted(cell.id for cell in plan.cells)
    assert schedule.finished


def test_instructions_and_events_can_be_sent_elsewhere() -> None:
    plan = plan_of()
    for value in (
        Prepare(plan.builds[0].kernel), Find(plan.builds[0]), Make(plan.builds[0], 2),
        Boot(plan.cells[0]), Leave(plan.cells[0], P, "x"), KernelEnded("k", ready=True),
        NotKept("b"), BuildEnded("b", P, 1.0), CellEnded("c"), CoresFreed(1),
    ):  # fmt: skip
        assert pickle.loads(pickle.dumps(value)) == value


def test_cells_run_in_the_plans_order_whatever_their_builds() -> None:
    plan = plan_of(configs="ab", shapes=(SMALL, replace(SMALL, name="other")))
    one, two, three, four = plan.cells
    plan = replace(plan, cells=(three, one, four, two), builds=plan.builds[::-1])
    schedule, said = after_finding(plan, 2, *(build.id for build in plan.builds))
    assert said == [f"boot {three.id}"]
    for ended, begun in ((three, one), (one, four), (four, two)):
        assert told(schedule.on(CellEnded(ended.id), 1.0)) == [f"boot {begun.id}"]


# ---------------------------------------------------------------- ended at the first failure


def test_an_ended_run_begins_nothing_more() -> None:
    schedule = Schedule(plan_of("k", "abc"), 2)
    schedule.begin(0.0)
    schedule.on(KernelEnded("k", ready=True), 1.0)
    schedule.on(NotKept("k/a/x86_64"), 1.0)
    schedule.on(NotKept("k/b/x86_64"), 1.0)
    assert told(schedule.on(BuildEnded("k/c/x86_64", P), 1.0)) == ["boot k/c/x86_64/small"]
    schedule.end()
    assert told(schedule.on(CellEnded("k/c/x86_64/small", 9.0), 10.0)) == [
        f"leave k/a/x86_64/small: skip, {ENDED}", f"leave k/b/x86_64/small: skip, {ENDED}",
    ]  # fmt: skip
    assert schedule.finished


def test_a_build_that_is_ended_leaves_its_cells() -> None:
    schedule = Schedule(plan_of("k", "ab"), 16)
    schedule.begin(0.0)
    schedule.on(KernelEnded("k", ready=True), 1.0)
    schedule.on(BuildEnded("k/a/x86_64", P), 1.0)
    schedule.on(NotKept("k/b/x86_64"), 1.0)
    schedule.end()
    assert schedule.on(CellEnded("k/a/x86_64/small", 9.0), 10.0) == ()
    assert not schedule.spare(1)
    assert told(schedule.on(NotKept("k/b/x86_64"), 11.0)) == [
        f"leave k/b/x86_64/small: skip, {ENDED}"
    ]
    assert schedule.finished


def test_a_kernel_may_end_a_run_before_the_others_are_looked_at() -> None:
    schedule = Schedule(with_host(plan_of("kl")), 2)
    schedule.begin(0.0)
    schedule.end()
    assert sorted(told(schedule.on(KernelEnded("k", ready=False), 1.0))) == [
        f"leave l/a/x86_64/small: skip, {ENDED}", f"leave l/host/x86_64/-: skip, {ENDED}",
    ]  # fmt: skip
    assert schedule.finished


# ---------------------------------------------------------------- in turn


def test_cells_and_builds_go_in_the_plans_turns() -> None:
    plan = plan_of("k", "abc", (SMALL, WIDE))
    names = ["k/c/x86_64/wide", *(cell.id for cell in plan.cells if cell.id != "k/c/x86_64/wide")]
    schedule = Schedule(replace(plan, turns=tuple(map(Turn, names))), 2)
    schedule.begin(0.0)
    schedule.on(KernelEnded("k", ready=True), 1.0)
    for config in "ab":
        schedule.on(NotKept(f"k/{config}/x86_64"), 1.0)
    assert told(schedule.on(NotKept("k/c/x86_64"), 1.0)) == ["make k/c/x86_64 with 2"]
    assert told(schedule.on(BuildEnded("k/c/x86_64", P, 9.0), 2.0)) == ["boot k/c/x86_64/wide"]
    assert told(schedule.on(CellEnded("k/c/x86_64/wide", 9.0), 3.0)) == ["boot k/c/x86_64/small"]
    ended = schedule.on(CellEnded("k/c/x86_64/small", 9.0), 4.0)
    assert told(ended) == ["make k/a/x86_64 with 2"]
