# SPDX-License-Identifier: GPL-2.0-only
"""Cases that regressed are tried again within a run, with guests that are played."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import Hit
from orchestrator.model.judging import Decision, ErrorRates, Judging, Retried
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner import Baseline, Done, Places, RunOptions, retry, run_plan
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.stages import Ran, Stages

PASS, FAIL, ERROR = Verdict.PASS, Verdict.FAIL, Verdict.ERROR
RACY = WorkloadSpec("f/racy", "f", Path("/f"), "x.py", deterministic=False)
STEADY = WorkloadSpec("f/steady", "f", Path("/f"), "x.py")


class World:
    """What each kernel's trials come to; the first of each is the run's own."""

    def __init__(self) -> None:
        self.script: dict[str, list[Verdict]] = {}
        self.tried: list[str] = []
        self.booted: list[str] = []
        self.error: Exception | None = None
        self.hits: tuple[Hit, ...] = ()

    def verdict(self, kernel: str, workload: str) -> Verdict:
        script = self.script.get(f"{kernel} {workload}", [PASS])
        return script.pop(0) if len(script) > 1 else script[0]

    def case(self, cell: Cell, spec: WorkloadSpec) -> CaseResult:
        found = self.verdict(cell.build.kernel.name, spec.name)
        hits = self.hits if found is FAIL else ()
        return CaseResult(f"{cell.id}:{spec.name}:c", spec.name, "c", found, "why", hits=hits)

    @contextlib.contextmanager
    def again(self, cell: Cell, built: BuildResult, context: Context) -> Iterator[Any]:
        if self.error:
            raise self.error
        self.booted.append(cell.id)

        def once(spec: WorkloadSpec, at: Context) -> tuple[CaseResult, ...]:
            self.tried.append(f"{cell.build.kernel.name} {spec.name}")
            at.folder.mkdir(parents=True, exist_ok=True)
            (at.folder / cell.build.kernel.name).write_text("console")
            return (self.case(cell, spec),)

        yield once

    def stages(self) -> Stages:
        def prepare(spec: KernelSpec, _: Context) -> Kernel:
            return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", "debian:6.12=6.12.1")

        def build(wanted: Build, _: Kernel, __: Context) -> BuildResult:
            return BuildResult(wanted, PASS, "", 1.0, False, image_sha256="sha")

        def run(cell: Cell, *_: Any) -> Ran:
            cases = tuple(self.case(cell, spec) for spec in cell.workloads)
            kernel = cell.build.kernel.name
            record = CellRecord(
                cell.id, kernel, "c", "x86_64", "small", "tcg",
                FAIL if any(c.verdict is FAIL for c in cases) else PASS, 1.0, cases,
            )  # fmt: skip
            return Ran(record, cell)

        return Stages(lambda *_: None, prepare, lambda *_: None, build, run, again=self.again)


def plan_of(*kernels: str, workloads: tuple[WorkloadSpec, ...] = (RACY,), **more: Any) -> Plan:
    config, shape = ConfigSpec("c"), ShapeSpec("small")
    builds = tuple(
        Build(f"{name}/c/x86_64", KernelSpec(name, "path:x", None if name == "old" else "s"),
              config, "x86_64")
        for name in kernels
    )  # fmt: skip
    cells = tuple(Cell(f"{build.id}/small", build, shape, workloads) for build in builds)
    return Plan("p", builds, cells, **more)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def go(world: World, places: Places, plan: Plan | None = None, **options: Any) -> Done:
    plan = plan or plan_of("old", "new", baseline="old")
    return run_plan(plan, places, RunOptions(**options), stages=world.stages())


def outcome(done: Done) -> Retried | None:
    cell = next(cell for cell in done.result.cells if cell.kernel == "new")
    return cell.cases[0].retried


def test_a_flake_on_both_sides_is_no_regression(world: World, places: Places) -> None:
    world.script = {
        "new f/racy": [FAIL, *[PASS, PASS, FAIL] * 50],
        "old f/racy": [PASS, *[FAIL, PASS, PASS] * 50],
    }
    done = go(world, places)
    found = outcome(done)
    assert found is not None
    assert found.decision is Decision.FLAKY
    assert done.status == 0
    assert done.comparison is not None
    assert done.comparison.cases[0].change.value == "flaky"
    assert world.booted == ["old/c/x86_64/small", "new/c/x86_64/small"], "one boot each"
    assert world.tried[:4] == ["old f/racy", "new f/racy"] * 2, "they alternate"
    assert len(world.tried) == 2 * found.trials


def test_what_fails_with_the_series_alone_is_one(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL]}
    events: list[Event] = []
    plan = plan_of("old", "new", baseline="old")
    done = run_plan(plan, places, listener=events.append, stages=world.stages())
    assert outcome(done) == Retried(Decision.REGRESSION, 4, 4, 0, 4, "old")
    assert done.status == 1
    told = [event for event in events if event.kind == "trials"]
    assert told[1].id == "new/c/x86_64/small:f/racy"
    assert told[1].text == "1 of up to 100"
    assert told[-1].text.startswith("regression: fails 4 of 4 with the series, 0 of 4 without")
    assert sum(event.kind == "case" for event in events) == 0, "nobody counts a trial's cases"


def test_a_deterministic_failure_costs_nothing(world: World, places: Places) -> None:
    world.script = {"new f/steady": [FAIL]}
    done = go(world, places, plan_of("old", "new", baseline="old", workloads=(STEADY,)))
    assert outcome(done) == Retried(Decision.REGRESSION, 1, 1, 0, 1, "old", steady=True)
    assert (world.booted, world.tried) == ([], [])
    assert done.status == 1


def test_lab_yaml_and_the_options_say_how_often(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL, FAIL, PASS]}
    plan = plan_of("old", "new", baseline="old", judging=Judging(ErrorRates(), 3))
    found = outcome(go(world, places, plan))
    assert found is not None
    assert (found.decision, found.trials) == (Decision.UNDECIDED, 3)
    world.script = {"new f/racy": [FAIL, FAIL, PASS]}
    found = outcome(go(world, places, plan, retries=2))
    assert found is not None
    assert found.trials == 2
    world.script = {"new f/racy": [FAIL]}
    done = go(world, places, plan, retries=0)
    assert outcome(done) is None
    assert done.status == 1


def test_without_a_baseline_nothing_is_tried_again(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL]}
    assert outcome(go(world, places, plan_of("new"))) is None
    assert world.booted == []


def test_the_time_budget_is_kept(
    world: World, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.script = {"new f/racy": [FAIL]}
    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: 1e12))
    done = go(world, places, plan_of("old", "new", baseline="old", time_budget=3600.0))
    found = outcome(done)
    assert found is not None
    assert (found.decision, found.trials) == (Decision.UNDECIDED, 0)
    assert found.note == "the time for it was spent"
    assert world.tried == []
    assert done.status == 1


def test_against_a_stored_run_only_this_kernel_can_be_tried(world: World, places: Places) -> None:
    before = go(world, places, plan_of("new")).result
    world.script = {"new f/racy": [FAIL, FAIL, PASS]}
    done = run_plan(
        plan_of("new"), places, baseline=Baseline(before, before.run.id), stages=world.stages()
    )
    found = outcome(done)
    assert found == Retried(Decision.UNDECIDED, 1, 2)
    assert world.tried == ["new f/racy"] * 2
    assert done.status == 1, "nothing is known of the baseline"
    assert done.comparison is not None
    assert "flaky here, on the baseline not known" in done.comparison.regressed[0].reason


def test_where_no_guest_can_be_had_the_run_stands_as_it_is(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL]}
    world.error = HostError("no memory for another guest")
    done = go(world, places)
    found = outcome(done)
    assert found is not None
    assert found.note == "no memory for another guest"
    assert done.status == 1
    assert not done.result.problems


def test_trials_that_tell_nothing_end(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL, ERROR]}
    found = outcome(go(world, places))
    assert found is not None
    assert found.note == "3 trials told nothing: why"
    assert len(world.tried) == 6


def test_ctrl_c_leaves_the_runs_results(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL]}
    world.error = KeyboardInterrupt()  # type: ignore[assignment]
    done = go(world, places)
    found = outcome(done)
    assert done.status == 130
    assert found is not None
    assert found.note == "interrupted"


def test_what_failed_in_a_trial_leaves_its_logs(world: World, places: Places) -> None:
    world.script = {"new f/racy": [FAIL, PASS, FAIL]}
    done = go(world, places, retries=2)
    kept = sorted(
        path.relative_to(done.folder / "trials") for path in done.folder.glob("trials/*/*")
    )
    assert [str(path) for path in kept] == ["2/new", "2/old"]


def test_a_cause_that_is_decided_is_not_tried_in_its_other_cases(
    world: World, places: Places
) -> None:
    """Here both show the same report, and the deterministic one needs no trial."""
    world.script = {"new f/racy": [FAIL], "new f/steady": [FAIL]}
    world.hits = (Hit("WARNING in f", "warning", "0123456789abcdef", 1, ""),)
    plan = plan_of("old", "new", baseline="old", workloads=(RACY, STEADY))
    done = go(world, places, plan)
    racy, steady = done.result.cells[1].cases
    assert (world.booted, world.tried) == ([], [])
    assert steady.retried is not None
    assert steady.retried.decision is Decision.REGRESSION
    assert racy.retried is not None
    assert racy.retried.note == f"what it fails for is decided by {steady.id}"
    assert done.status == 1


def test_what_is_clear_comes_first_and_then_one_after_another(world: World, places: Places) -> None:
    other = replace(RACY, name="f/other")
    flake = [FAIL, PASS, PASS, PASS]
    world.script = {"new f/racy": [FAIL, *flake * 50], "old f/racy": [PASS, *flake * 50]}
    world.script |= {"new f/other": [FAIL, *flake * 50], "old f/other": [PASS, *flake * 50]}
    plan = plan_of("old", "new", baseline="old", workloads=(RACY, other))
    go(world, places, plan, retries=9)
    tried = [name for name in world.tried if name.startswith("new")]
    assert tried[:12] == ["new f/racy", "new f/other"] * 6
    assert tried[12:] == ["new f/racy"] * 3 + ["new f/other"] * 3
