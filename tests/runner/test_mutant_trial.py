# SPDX-License-Identifier: GPL-2.0-only
"""What counts as a mutant's failure, and what does not."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.names import BOOT, NOT_RUN, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    KnownIssue,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner.context import Event
from orchestrator.runner.mutant_trial import Watch

BUILD = Build("k/c/x86_64", KernelSpec("k", "path:/x"), ConfigSpec("c"), "x86_64")
CELL = Cell("k/c/x86_64/s", BUILD, ShapeSpec("s"), (WorkloadSpec("f/a", "f", Path("f"), "a.c"),))
PLAN = Plan("p", (BUILD,), (CELL,))


def event(workload: str, name: str, verdict: Verdict, reason: str = "off by 64") -> Event:
    case = CaseResult(f"{CELL.id}:{workload}:{name}", workload, name, verdict, reason)
    return Event("case", case.id, "done", reason, verdict=verdict, case=case)


def watch_of(*events: Event, failing: tuple[str, ...] = (), plan: Plan = PLAN) -> Watch:
    watch = Watch(plan, "6.12", failing, lambda _: None)
    for one in events:
        watch(one)
    return watch


def test_the_first_failure_ends_it() -> None:
    watch = watch_of(event("f/a", "ok", Verdict.PASS))
    assert not watch.ending.is_set()
    watch(event("f/a", "moves", Verdict.FAIL))
    assert watch.ending.is_set()
    watch(event("f/b", "moves", Verdict.FAIL))
    assert watch.key == "c/x86_64/s:f/a:moves"
    assert watch.case is not None
    assert watch.case.reason == "off by 64"
    assert list(watch.ran) == ["f/a", "f/b"]


def test_a_guest_that_does_not_boot_is_a_failure() -> None:
    watch = watch_of(event(BOOT, "boot", Verdict.FAIL))
    assert watch.ending.is_set()
    assert not watch.ran


def test_what_fails_without_the_mutant_too_does_not_count() -> None:
    failing = ("c/x86_64/s:f/a:moves", "c/x86_64/s:f/a:host")
    watch = watch_of(
        event("f/a", "moves", Verdict.FAIL), event("f/a", "host", Verdict.ERROR), failing=failing
    )
    assert (watch.case, watch.errors, watch.ending.is_set()) == (None, [], False)


def test_what_the_lab_knows_of_does_not_count() -> None:
    issue = KnownIssue("it is known", case="moves", workload="f/a")
    plan = Plan("p", (BUILD,), (CELL,), known_issues=(issue,))
    watch = watch_of(event("f/a", "moves", Verdict.FAIL), plan=plan)
    assert watch.case is None
    watch(event("f/a", "other", Verdict.FAIL))
    assert watch.case is not None


def test_what_the_host_did_is_kept_apart() -> None:
    watch = watch_of(event("f/a", "guest", Verdict.ERROR), event("f/b", NOT_RUN, Verdict.SKIP))
    assert watch.case is None
    assert [case.case for case in watch.errors] == ["guest"]
    assert list(watch.ran) == ["f/a"]


def test_a_mutants_failures_are_not_told_as_the_runs() -> None:
    told: list[Event] = []
    watch = Watch(PLAN, "6.12", (), told.append)
    watch(event("f/a", "moves", Verdict.FAIL))
    watch(Event("cell", CELL.id, "boot", "booting"))
    watch(Event("cell", CELL.id, "done", "", verdict=Verdict.FAIL))
    assert [one.stage for one in told] == ["boot"]
