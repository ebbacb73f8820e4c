# SPDX-License-Identifier: GPL-2.0-only
"""How far a cell is, and how long it will still take: from records, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.commands.tally import Durations, Far, Tally
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, Plan, ShapeSpec
from orchestrator.model.spec import WorkloadSpec as Spec
from orchestrator.runner.context import Event

CELL = "k/c/x86_64/small"
NAMES = [f"f/w{n}" for n in range(10)]


def plan(**more: object) -> Plan:
    build = Build("k/c/x86_64", KernelSpec("k", "path:x"), ConfigSpec("c"), "x86_64")
    specs = tuple(Spec(name, "f", Path("f"), "w.c", **more) for name in NAMES)  # type: ignore[arg-type]
    return Plan("p", (build,), (Cell(CELL, build, ShapeSpec("small"), specs),))


KNOWN: Durations = {("c/x86_64/small", name): 2.0 for name in NAMES}


def case(name: str, verdict: Verdict = Verdict.PASS, foreseen: str = "") -> Event:
    return Event("case", f"{CELL}:{name}:a", "done", verdict=verdict, foreseen=foreseen)


def after(tally: Tally, done: int, each: float = 2.0) -> Far:
    """The cell once so many workloads are done, each of which took so long."""
    tally.hear(Event("cell", CELL, "run", NAMES[0]), 100.0)
    for n in range(done):
        tally.hear(case(NAMES[n]), 100.0 + each * (n + 1))
    far = tally.far(CELL, 100.0 + each * done)
    assert far is not None
    return far


def test_workloads_are_counted_once_and_the_labs_own_cases_not() -> None:
    tally = Tally(plan(), {})
    for event in (
        case("boot"),
        case("f/w0"),
        case("f/w0", Verdict.FAIL),
        case("f/w1", Verdict.ERROR),
        case("f/w2", Verdict.FAIL, "known issue"),
        case("f/w3", Verdict.SKIP),
    ):
        tally.hear(event, 1.0)
    assert tally.far(CELL, 2.0) == Far(4, 10, 2, unknown=6)
    assert tally.far("k/c/x86_64", 2.0) is None


def test_time_left_is_that_of_earlier_runs_at_the_pace_of_this_one() -> None:
    assert after(Tally(plan(), KNOWN), 5).left == pytest.approx(10.0)
    assert after(Tally(plan(), KNOWN), 5, each=6.0).left == pytest.approx(30.0)


def test_time_left_goes_down_between_events() -> None:
    tally = Tally(plan(), KNOWN)
    after(tally, 5)
    far = tally.far(CELL, 114.0)
    assert far is not None
    assert far.left == pytest.approx(6.0)
    late = tally.far(CELL, 999.0)
    assert late is not None
    assert late.left == 0.0


def test_nothing_is_told_that_is_not_known() -> None:
    assert after(Tally(plan(), {}), 5).left is None
    assert after(Tally(plan(), KNOWN), 2).left is None  # no pace yet
    other = {("c/arm64/small", name): 2.0 for name in NAMES}
    assert after(Tally(plan(), other), 5).left is None


def test_a_workload_without_a_record_makes_it_a_least() -> None:
    known = {place: took for place, took in KNOWN.items() if place[1] != "f/w9"}
    far = after(Tally(plan(), known), 5)
    assert (far.left, far.unknown) == (pytest.approx(8.0), 1)
    assert far.text() == "5/10 workloads, over 8 s left"
    assert after(Tally(plan(), known), 9).left is None


def test_loops_that_share_a_budget_have_no_known_time() -> None:
    looping = replace(plan(budget=1.0), spend_budget=True)
    assert after(Tally(looping, KNOWN), 5).left is None
    assert after(Tally(plan(budget=1.0), KNOWN), 5).left == pytest.approx(10.0)


def test_words() -> None:
    assert Far(12, 74, 3, 39.7).text() == "12/74 workloads, 3 failed, ~40 s left"
    assert Far(12, 74, 3, 39.7).text(short=True) == "12/74, 3 failed, ~40 s"
    assert Far(0, 74).text() == "0/74 workloads"
    assert Far(74, 74, left=0.0).text() == "74/74 workloads"
