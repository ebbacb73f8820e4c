# SPDX-License-Identifier: GPL-2.0-only
"""The tasks of a plan: what waits for what, what each needs, who goes first."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

from orchestrator.model.names import HOST_PLACE
from orchestrator.model.signs import Turn
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    HostTest,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.graph import EVERY, Graph, Needs, graph_of

SMALL = ShapeSpec("small", cpus=2, memory_mib=1024)


def plan_of(kernels: str = "k", configs: str = "c", count: int = 1) -> Plan:
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in configs
    )
    shapes = [replace(SMALL, name=f"small{number}") for number in range(count)]
    cells = (Cell(f"{b.id}/{shape.name}", b, shape, ()) for b in builds for shape in shapes)
    return Plan("p", builds, tuple(cells))


def before(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {task.id: task.after for task in graph.tasks}


def test_each_task_waits_for_what_it_is_made_of() -> None:
    graph = graph_of(plan_of("k", "ab"))
    assert before(graph) == {
        "k": (),
        "k/a/x86_64": ("k",),
        "k/b/x86_64": ("k",),
        "k/a/x86_64/small0": ("k/a/x86_64",),
        "k/b/x86_64/small0": ("k/b/x86_64",),
    }
    names = [task.id for task in graph.tasks]
    for task in graph.tasks:  # a graph without a circle, in an order in which it can be carried out
        assert all(names.index(other) < names.index(task.id) for other in task.after)
    assert pickle.loads(pickle.dumps(graph)) == graph


def test_what_a_task_needs() -> None:
    plan = plan_of()
    cell = replace(plan.cells[0], fresh_guests=True)
    graph = graph_of(replace(plan, cells=(cell,)), kvm=True)
    needs = {task.id: task.needs for task in graph.tasks}
    assert needs["k"] == Needs(here=True)
    assert needs["k/c/x86_64"].cpus == EVERY
    assert not needs["k/c/x86_64"].kvm
    assert needs["k/c/x86_64"].disk_mib > 1000
    guest = needs["k/c/x86_64/small0"]
    assert (guest.cpus, guest.arch, guest.kvm) == (2, "x86_64", True)
    assert guest.memory_mib > SMALL.memory_mib
    assert guest.disk_mib > SMALL.memory_mib  # its snapshot
    shared = graph_of(plan).by_id["k/c/x86_64/small0"].needs
    assert shared.disk_mib < SMALL.memory_mib


def test_a_cell_on_the_host_waits_for_its_kernel_alone_and_holds_no_cores() -> None:
    build = Build(f"k/{HOST_PLACE}/x86_64", KernelSpec("k", "path:x"), HOST_CONFIG, "x86_64")
    test = WorkloadSpec("h/a", "h", Path("/h"), "a", host=HostTest("tools", "a", memory_mib=512))
    cell = Cell(f"{build.id}/-", build, HOST_SHAPE, (test,))
    task = graph_of(Plan("p", (), (cell,))).by_id[cell.id]
    assert task.after == ("k",)
    assert task.needs == Needs(None, 512, 0, "x86_64")


def test_cells_go_by_their_turns_and_before_what_is_to_be_built() -> None:
    plan = plan_of("k", "ab")
    turns = tuple(map(Turn, ("k/b/x86_64/small0", "k/a/x86_64/small0")))
    graph = graph_of(replace(plan, turns=turns))
    ranked = sorted(graph.tasks, key=lambda task: task.rank)
    assert [task.id for task in ranked if task.after] == [
        "k/b/x86_64/small0", "k/a/x86_64/small0", "k/b/x86_64", "k/a/x86_64",
    ]  # fmt: skip


def test_in_turn_the_parts_of_a_series_are_built_before_the_whole_and_run_after_all() -> None:
    plan = plan_of("k", "ab")
    parts = [
        replace(
            b, id=f"k@1/{b.config.name}/x86_64", kernel=replace(b.kernel, name="k@1", prefix_of="k")
        )
        for b in plan.builds
    ]
    builds = (parts[0], plan.builds[0], parts[1], plan.builds[1])
    cells = (Cell("k@1/a/x86_64/small0", parts[0], SMALL, ()), *plan.cells)
    turns = tuple(map(Turn, ("k/b/x86_64/small0", "k/a/x86_64/small0", "k@1/a/x86_64/small0")))
    graph = graph_of(replace(plan, builds=builds, cells=cells, turns=turns))
    assert [spec.name for spec in graph.kernels] == ["k", "k@1"]
    assert [build.id for build in graph.builds] == [
        "k@1/b/x86_64", "k/b/x86_64", "k@1/a/x86_64", "k/a/x86_64",
    ]  # fmt: skip
    last = max(graph.tasks, key=lambda task: task.rank)
    assert last.id == "k@1/a/x86_64/small0"
