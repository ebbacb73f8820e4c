# SPDX-License-Identifier: GPL-2.0-only
"""Which workloads a mutant is tried with, the likeliest to fail first."""

from __future__ import annotations

from pathlib import Path

from orchestrator.judge.coverage_map import Reach
from orchestrator.model.coverage import Function
from orchestrator.model.spec import WorkloadSpec
from orchestrator.runner.mutant_order import Order, racing

FILE = "mm/userfaultfd.c"
SECONDS = {"f/a": 3.0, "f/b": 1.0, "f/c": 2.0}


def spec(name: str, *, deterministic: bool = True) -> WorkloadSpec:
    return WorkloadSpec(f"f/{name}", "f", Path("f"), f"{name}.c", deterministic=deterministic)


def reach(name: str, *functions: str, arch: str = "x86_64") -> Reach:
    ran = tuple(Function(one, at, at) for at, one in enumerate(functions, 1))
    return Reach(f"f/{name}", arch, "6.12", {FILE: ran})


def names(order: Order, function: str) -> list[str]:
    return [one.name.removeprefix("f/") for one in order.of(function)]


def test_without_a_map_the_quick_ones_come_first_and_races_last() -> None:
    specs = (spec("a"), spec("race", deterministic=False), spec("b"), spec("new"), spec("c"))
    order = Order(specs, (), "x86_64", SECONDS)
    assert not order.mapped
    assert names(order, "move") == ["b", "c", "a", "new", "race"]
    assert racing(specs) == ("f/race",)


def test_only_what_was_counted_and_did_not_run_it_is_left_out() -> None:
    reaches = (reach("a", "move", "other"), reach("b", "other"), reach("c", "move"))
    order = Order(map(spec, ("a", "b", "c", "new")), reaches, "x86_64", SECONDS)
    assert order.mapped
    # c runs nothing besides; of the new one nothing is known.
    assert names(order, "move") == ["c", "a", "new"]
    # Those that run it are not asked for.
    assert names(Order(map(spec, "b"), reaches, "x86_64", {}), "move") == []
    # Nobody was seen to run it: it may be inlined, or be the series' own.
    assert names(order, "unknown") == ["b", "c", "a", "new"]


def test_what_was_counted_on_this_architecture_is_better() -> None:
    reaches = (reach("a", "move"), reach("b", "move", arch="arm64"))
    assert names(Order(map(spec, "ab"), reaches, "x86_64", {}), "move") == ["a", "b"]
    assert names(Order(map(spec, "ab"), reaches, "arm64", {}), "move") == ["b", "a"]
    elsewhere = Order(map(spec, "ab"), (reach("b", "move", arch="arm64"),), "x86_64", {})
    assert names(elsewhere, "move") == ["b", "a"]


def test_what_catches_comes_first_and_a_race_never_before_the_others() -> None:
    specs = (spec("a"), spec("b"), spec("race", deterministic=False))
    order = Order(specs, (), "x86_64", SECONDS)
    order.caught("move", "f/a")
    order.caught("move", "f/race")
    order.caught("move", "f/race")
    assert names(order, "move") == ["a", "b", "race"]
    assert names(order, "other") == ["b", "a", "race"]
