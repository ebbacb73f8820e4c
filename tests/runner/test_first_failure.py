# SPDX-License-Identifier: GPL-2.0-only
"""Which failure ends a run with --fail-fast: one that nobody foresaw and no baseline has."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.results import CaseResult, CellRecord, RunInfo, RunResult, Summary
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    Expectation,
    KernelSpec,
    KnownIssue,
    Plan,
    ShapeSpec,
)
from orchestrator.runner.context import Event
from orchestrator.runner.first_failure import FirstFailure

P, F, E, S = Verdict.PASS, Verdict.FAIL, Verdict.ERROR, Verdict.SKIP


def plan_of(*kernels: str, baseline: str | None = None) -> Plan:
    builds = [
        Build(f"{k}/c/x86_64", KernelSpec(k, "path:x"), ConfigSpec("c"), "x86_64") for k in kernels
    ]
    cells = tuple(Cell(f"{b.id}/s", b, ShapeSpec("s"), ()) for b in builds)
    return Plan("p", tuple(builds), cells, baseline=baseline)


def case(name: str, found: Verdict, reason: str = "", kernel: str = "k") -> Event:
    place, workload = f"{kernel}/c/x86_64/s", name.partition(":")[0]
    result = CaseResult(f"{place}:{name}", workload, name.partition(":")[2], found, reason)
    return Event("case", result.id, "done", reason, verdict=found, case=result)


def over(kernel: str, found: Verdict = P) -> Event:
    return Event("cell", f"{kernel}/c/x86_64/s", "done", verdict=found)


def listening(plan: Plan, *events: Event, regressions: bool = True) -> FirstFailure:
    first = FirstFailure(plan, lambda _: None, regressions=regressions)
    for event in events:
        first(event)
    return first


def test_the_first_failure_ends_the_run_and_later_ones_are_not_it() -> None:
    seen: list[str] = []
    first = FirstFailure(plan_of("k"), lambda event: seen.append(event.id), regressions=False)
    for event in (case("f/a:x", P), case("f/b:x", E), case("f/b:y", S)):
        first(event)
    assert not first.ending.is_set(), "what the host did is no failure of the kernel's"
    first(case("f/c:x", F))
    first(case("f/d:x", F))
    assert first.ending.is_set()
    assert first.case == "k/c/x86_64/s:f/c:x"
    assert len(seen) == 5, "who listens beside it hears all of them"


def test_a_series_or_a_build_that_fails_is_a_failure() -> None:
    plan = plan_of("k")
    series = listening(plan, Event("kernel", "k", "done", "patch 1", verdict=F))
    assert series.case == "k/-/-/-:series:apply"
    build = listening(plan, Event("build", "k/c/x86_64", "done", "a.c:1", verdict=F))
    assert build.case == "k/c/x86_64/-:build:build"
    assert not listening(plan, Event("trials", "k/c/x86_64/s:f/a", "done", verdict=F)).case


def test_what_lab_yaml_foresees_does_not_count() -> None:
    plan = replace(
        plan_of("k"),
        known_issues=(
            KnownIssue("a race", title="off by", workload="f/a", case="x", kernels=("= 6.12",)),
        ),
        expectations=(Expectation("k", "c", "f/b:*", "planted"),),
    )
    # As it is told: a kernel that could be made has no verdict.
    version = Event("kernel", "k", "done", "x (6.12.1)", version="6.12.1")
    foreseen = (version, case("f/a:x", F, "off by 1"), case("f/b:x", F, "planted"))
    assert not listening(plan, *foreseen).case
    assert listening(plan, *foreseen, case("f/a:x", F, "other")).case
    other = replace(version, version="6.13")
    assert listening(plan, other, case("f/a:x", F, "off by 1")).case


def test_beside_a_baseline_a_failure_waits_for_it() -> None:
    plan = plan_of("k", "base", baseline="base")
    failed = case("f/a:x", F)
    assert not listening(plan, failed, over("k", F)).case
    assert not listening(plan, failed, case("f/a:x", F, kernel="base"), over("base", F)).case
    assert listening(plan, failed, case("f/a:x", P, kernel="base")).case.startswith("k/")
    # What the baseline has no such case of is new; it is known once its cell is over.
    assert not listening(plan, failed, case("f/a:y", P, kernel="base")).case
    assert listening(plan, failed, over("base")).case == "k/c/x86_64/s:f/a:x"
    assert listening(plan, over("base"), failed).case
    assert listening(plan, case("f/a:x", P, kernel="base"), failed).case
    assert not listening(plan, case("f/a:x", F, kernel="base"), failed).case
    assert not listening(plan, case("f/a:x", F, kernel="base")).case


def test_builds_are_compared_too() -> None:
    plan = plan_of("k", "base", baseline="base")
    bad = Event("build", "k/c/x86_64", "done", "a.c:1", verdict=F)
    assert not listening(plan, bad).case
    assert not listening(plan, bad, replace(bad, id="base/c/x86_64")).case
    assert listening(plan, bad, replace(bad, id="base/c/x86_64", verdict=P)).case


def test_where_every_failure_counts_none_waits() -> None:
    plan = plan_of("k", "base", baseline="base")
    assert listening(plan, case("f/a:x", F), regressions=False).case
    assert listening(plan, case("f/a:x", F, kernel="base"), regressions=False).case


def test_what_the_part_before_knows_of_the_baseline_is_known() -> None:
    plan = plan_of("k", "base", baseline="base")
    known = CaseResult("base/c/x86_64/s:f/a:x", "f/a", "x", F)
    for part, first, second in ((known, False, True), (replace(known, verdict=P), True, True)):
        for name, ends in (("f/a:x", first), ("f/b:x", second)):
            found = FirstFailure(
                plan, lambda _: None, None, earlier("base", part), regressions=True
            )
            found(case(name, F))
            assert bool(found.case) is ends, name
    told = CaseResult("base/c/x86_64/s:f/b:not-run", "f/b", NOT_RUN, S)
    cut = FirstFailure(plan, lambda _: None, None, earlier("base", known, told), regressions=True)
    cut(case("f/b:x", F))
    assert not cut.case, "the rest of the baseline is still to come"
    cut(over("base"))
    assert cut.case


def earlier(kernel: str, *cases: CaseResult) -> RunResult:
    cell = CellRecord(f"{kernel}/c/x86_64/s", kernel, "c", "x86_64", "s", "tcg", F, 1.0, cases)
    info = RunInfo("r", "", "now", "lab run", 1, "1", "p")
    return RunResult(info, (), (), (cell,), Summary(0, 0, 0, 0))


def test_an_earlier_run_is_a_baseline_too() -> None:
    plan = plan_of("k")
    before = earlier(
        "other",
        CaseResult("other/c/x86_64/s:f/a:x", "f/a", "x", F),
        CaseResult("other/c/x86_64/s:f/b:x", "f/b", "x", P),
        CaseResult("other/c/x86_64/s:f/c:x", "f/c", "x", S, known="a race"),
    )
    for name, ends in (("f/a:x", False), ("f/b:x", True), ("f/c:x", False), ("f/d:x", True)):
        first = FirstFailure(plan, lambda _: None, before, regressions=True)
        first(case(name, F))
        assert bool(first.case) is ends, name
