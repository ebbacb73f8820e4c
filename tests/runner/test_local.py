# SPDX-License-Identifier: GPL-2.0-only
"""How a plan is carried out: order, cores, and that one failure stops nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError, Interrupted, UserError
from orchestrator.model.kernel import ApplyFailure, BuildResult, ConfigMismatch, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner import local
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues
from orchestrator.runner.doing import Doing
from orchestrator.runner.stages import Ran
from orchestrator.runner.stages import Stages as Effects
from orchestrator.runner.state import RunState

SHAPES = (ShapeSpec("small", cpus=2), ShapeSpec("wide", cpus=4))


def make_plan(
    kernels: tuple[str, ...] = ("k",),
    configs: tuple[str, ...] = ("c",),
    shapes: tuple[ShapeSpec, ...] = SHAPES[:1],
    budget: float | None = None,
) -> Plan:
    builds = tuple(
        Build(
            f"{kernel}/{config}/x86_64", KernelSpec(kernel, "path:x"), ConfigSpec(config), "x86_64"
        )
        for kernel in kernels
        for config in configs
    )
    cells = tuple(
        Cell(f"{build.id}/{shape.name}", build, shape, ()) for build in builds for shape in shapes
    )
    return Plan("p", builds, cells, time_budget=budget)


# ---------------------------------------------------------------- a plan


class Stages:
    """Stands in for the stages; each may be told to go wrong."""

    def __init__(self) -> None:
        self.kernels: dict[str, Exception | ApplyFailure] = {}
        self.builds: dict[str, Exception | Verdict] = {}
        self.cells: dict[str, Exception] = {}
        self.kept: set[str] = set()
        self.mismatches: tuple[ConfigMismatch, ...] = ()
        self.log: list[str] = []
        self.building = 0
        self.lock = threading.Lock()
        self.build_seconds = 0.0
        self.during_cell: Callable[[], None] = lambda: None

    def prepare_kernel(self, spec: KernelSpec, context: Context) -> Kernel:
        found = self.kernels.get(spec.name)
        if isinstance(found, BaseException):
            raise found
        tree = KernelTree(spec, "6.12", "base", "tree", failure=found)
        return Kernel(tree, "slot", "debian:6.12=6.12.1")

    def find_build(self, build: Build, kernel: Kernel, context: Context) -> BuildResult | None:
        if build.id not in self.kept:
            return None
        return BuildResult(build, Verdict.PASS, "", 0.0, True, mismatches=self.mismatches)

    def build_one(self, build: Build, kernel: Kernel, context: Context) -> BuildResult:
        with self.lock:
            self.building += 1
            assert self.building == 1, "kernel builds use all cores: one at a time"
            self.log.append(f"build {build.id}")
        time.sleep(self.build_seconds)
        with self.lock:
            self.building -= 1
        found = self.builds.get(build.id, Verdict.PASS)
        if isinstance(found, BaseException):
            raise found
        reason = "" if found is Verdict.PASS else "mm/a.c:1: error: no"
        return BuildResult(
            build, found, reason, 1.5, False, cpu_seconds=2.0, mismatches=self.mismatches
        )

    def run_cell(self, cell: Cell, built: BuildResult, kernel: Kernel, context: Context) -> Ran:
        with self.lock:
            self.log.append(f"cell {cell.id}")
        self.during_cell()
        if cell.id in self.cells:
            raise self.cells[cell.id]
        case = CaseResult(f"{cell.id}:w:c", "w", "c", Verdict.PASS)
        build = cell.build
        record = CellRecord(
            cell.id, build.kernel.name, build.config.name, build.arch, cell.shape.name, "tcg",
            Verdict.PASS, 1.0, (case,),
        )  # fmt: skip
        return Ran(record, cell)

    @property
    def effects(self) -> Effects:
        return Effects(
            prepare=self.prepare_kernel, find=self.find_build, build=self.build_one,
            run=self.run_cell,
        )  # fmt: skip


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    fake = Stages()
    # cancel() is for good in a process: here it is only noted.
    monkeypatch.setattr(process, "cancel", lambda: fake.log.append("cancel"))
    return fake


def context_of(folder: Path, listener: Callable[[Event], None]) -> Context:
    return Context(RunValues("r", 2), Machine(Cache(folder), folder / "run", folder), listener)


@pytest.fixture
def carry(tmp_path: Path, stages: Stages) -> Callable[..., RunState]:
    def work(plan: Plan, **more: object) -> RunState:
        events = more.pop("events", None)
        listener = events.append if isinstance(events, list) else lambda _: None
        context = context_of(tmp_path, listener)
        on_change = more.pop("on_change", lambda _: None)
        return local.carry_out(  # type: ignore[arg-type]
            plan, context, on_change, cores=2, stages=stages.effects, **more
        )

    return work


def verdicts(progress: RunState) -> dict[str, str]:
    return {cell.id: cell.verdict.value for cell in progress.cells.values()}


def test_all_goes_well(carry: Callable[..., RunState], stages: Stages) -> None:
    plan = make_plan(configs=("a", "b"), shapes=SHAPES)
    seen: list[tuple[int, int, int]] = []
    events: list[Event] = []

    def on_change(state: RunState) -> None:
        seen.append((len(state.kernels), len(state.builds), len(state.cells)))

    progress = carry(plan, on_change=on_change, events=events)
    assert verdicts(progress) == {cell.id: "pass" for cell in plan.cells}
    assert {build.verdict for build in progress.builds.values()} == {Verdict.PASS}
    assert progress.builds["k/a/x86_64"].cpu_seconds == 2.0
    assert progress.kernels["k"].source == "debian:6.12=6.12.1"
    assert progress.problems == []
    assert not progress.interrupted
    assert seen[-1] == (1, 2, 4)
    assert len(seen) == 7  # each kernel, build and cell is stored when it is there
    done = [event.id for event in events if event.stage == "done"]
    assert sorted(done) == sorted([b.id for b in plan.builds] + [c.id for c in plan.cells])


def test_cells_go_before_the_next_build(carry: Callable[..., RunState], stages: Stages) -> None:
    carry(make_plan(configs=("a", "b", "c")))
    assert stages.log == [
        "build k/a/x86_64", "cell k/a/x86_64/small", "build k/b/x86_64", "cell k/b/x86_64/small",
        "build k/c/x86_64", "cell k/c/x86_64/small",
    ]  # fmt: skip


def test_what_was_built_before_runs_first(carry: Callable[..., RunState], stages: Stages) -> None:
    stages.kept = {"k/b/x86_64"}
    progress = carry(make_plan(configs=("a", "b")))
    assert stages.log[0] == "cell k/b/x86_64/small"
    assert "build k/b/x86_64" not in stages.log
    assert progress.builds["k/b/x86_64"].cached
    assert len(progress.cells) == 2


def test_builds_alone(carry: Callable[..., RunState], stages: Stages) -> None:
    progress = carry(make_plan(configs=("a", "b")), boot=False)
    assert len(progress.builds) == 2
    assert progress.cells == {}


def test_a_symbol_that_did_not_take_fails_a_build_that_nobody_boots(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    stages.mismatches = (
        ConfigMismatch("DEBUG_VM", "y", "n", "base.config:2", "needs DEBUG_KERNEL"),
        ConfigMismatch("HZ", "250", "100", "base.config:9"),
    )
    for number in range(2):  # built, and found in the cache
        stages.kept = {"k/c/x86_64"} if number else set()
        built = carry(make_plan(), boot=False).builds["k/c/x86_64"]
        assert built.verdict is Verdict.FAIL
        assert built.reason == (
            "CONFIG_DEBUG_VM is n, asked for y (base.config:2): needs DEBUG_KERNEL; "
            "CONFIG_HZ is 100, asked for 250 (base.config:9)"
        )
    booted = carry(make_plan())
    assert booted.builds["k/c/x86_64"].verdict is Verdict.PASS  # its case "config" tells
    assert len(booted.cells) == 1


def test_a_series_that_does_not_apply_stops_no_other(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    stages.kernels["bad"] = ApplyFailure(2, "mm: x", "mm/a.c", 7, "hunk 1 fails", "@@", "")
    progress = carry(make_plan(kernels=("bad", "good")))
    assert list(progress.kernels) == ["bad", "good"]
    assert progress.kernels["bad"].failure
    assert stages.log == ["build good/c/x86_64", "cell good/c/x86_64/small"]
    assert progress.problems == []  # the kernel is to blame, not the host


@pytest.mark.parametrize(
    ("error", "usage", "said"),
    [
        (UserError("no such series", "check the path"), True, "no such series (check the path)"),
        (HostError("no network"), False, "no network"),
        (RuntimeError("oops"), False, "unexpected RuntimeError: oops"),
        (OSError(28, "No space left on device"), False, "No space left on device"),
    ],
)
def test_a_source_that_cannot_be_had(
    carry: Callable[..., RunState], stages: Stages, error: Exception, usage: bool, said: str
) -> None:
    stages.kernels["bad"] = error
    events: list[Event] = []
    progress = carry(make_plan(kernels=("bad", "good")), events=events)
    assert list(progress.kernels) == ["good"]
    assert verdicts(progress) == {"good/c/x86_64/small": "pass"}
    assert progress.usage is usage
    (problem,) = progress.problems
    assert problem.startswith("kernel bad: ")
    assert said in problem
    assert [e.verdict for e in events if e.id == "bad"] == [Verdict.ERROR]


def test_a_build_that_fails_boots_nothing_and_stops_nothing(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    stages.builds["k/a/x86_64"] = Verdict.FAIL
    progress = carry(make_plan(configs=("a", "b"), shapes=SHAPES))
    assert verdicts(progress) == {
        "k/a/x86_64/small": "fail", "k/a/x86_64/wide": "fail",
        "k/b/x86_64/small": "pass", "k/b/x86_64/wide": "pass",
    }  # fmt: skip
    record = progress.builds["k/a/x86_64"]
    assert (record.verdict, record.reason) == (Verdict.FAIL, "mm/a.c:1: error: no")
    unbooted = progress.cells["k/a/x86_64/small"]
    assert unbooted.cases == ()
    assert unbooted.notes == ("not booted: its build failed",)
    assert progress.problems == []


def test_a_symbol_that_stopped_its_build_is_a_case_of_its_cells(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    stages.builds["k/a/x86_64"] = Verdict.FAIL
    stages.mismatches = (ConfigMismatch("KSMM", "y", "n", "mine.config:2", "no such symbol"),)
    events: list[Event] = []
    progress = carry(make_plan(configs=("a", "b"), shapes=SHAPES), events=events)
    assert verdicts(progress) == {
        "k/a/x86_64/small": "fail", "k/a/x86_64/wide": "fail",
        "k/b/x86_64/small": "pass", "k/b/x86_64/wide": "pass",
    }  # fmt: skip
    unbooted = progress.cells["k/a/x86_64/small"]
    (case,) = unbooted.cases
    assert case.id == "k/a/x86_64/small:config:config"
    assert case.reason == "CONFIG_KSMM is n, asked for y (mine.config:2): no such symbol"
    assert case.rerun == "lab rerun r k/a/x86_64/small:config:config"
    assert unbooted.notes == ("not booted: its build failed",)
    assert [e.verdict for e in events if e.id == case.id] == [Verdict.FAIL]


@pytest.mark.parametrize("error", [HostError("disk full", "free some"), ValueError("a bug")])
def test_the_host_failing_at_a_build(
    carry: Callable[..., RunState], stages: Stages, error: Exception
) -> None:
    stages.builds["k/a/x86_64"] = error
    progress = carry(make_plan(configs=("a", "b")))
    assert progress.builds["k/a/x86_64"].verdict is Verdict.ERROR
    assert str(error.args[0]) in progress.builds["k/a/x86_64"].reason
    assert verdicts(progress) == {"k/a/x86_64/small": "error", "k/b/x86_64/small": "pass"}
    (problem,) = progress.problems
    assert problem.startswith("build k/a/x86_64: ")
    assert ("a bug of the lab" in problem) is isinstance(error, ValueError)


@pytest.mark.parametrize("error", [HostError("no QEMU", "install it"), KeyError("x")])
def test_the_host_failing_at_a_cell(
    carry: Callable[..., RunState], stages: Stages, error: Exception
) -> None:
    stages.cells["k/a/x86_64/small"] = error
    progress = carry(make_plan(configs=("a", "b")))
    assert verdicts(progress) == {"k/a/x86_64/small": "error", "k/b/x86_64/small": "pass"}
    assert progress.cells["k/a/x86_64/small"].notes
    assert progress.problems[0].startswith("cell k/a/x86_64/small: ")


def test_results_that_cannot_be_stored_end_no_run(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    def on_change(state: RunState) -> None:
        raise HostError("cannot write the results", "free some space")

    progress = carry(make_plan(configs=("a", "b")), on_change=on_change)
    assert len(progress.cells) == 2
    assert progress.problems == ["cannot write the results (free some space)"]


def test_a_listener_that_raises_ends_no_run(
    carry: Callable[..., RunState], stages: Stages, tmp_path: Path
) -> None:
    def listener(event: Event) -> None:
        raise ValueError("broken renderer")

    progress = local.carry_out(
        make_plan(configs=("a", "b")), context_of(tmp_path, listener), lambda _: None, cores=2,
        stages=stages.effects,
    )  # fmt: skip
    assert verdicts(progress) == {"k/a/x86_64/small": "pass", "k/b/x86_64/small": "pass"}
    assert progress.problems == []


# ---------------------------------------------------------------- interrupted, and out of time


@pytest.fixture
def python_sigint() -> Iterator[None]:
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("python_sigint")
def test_interrupted_by_a_signal(carry: Callable[..., RunState], stages: Stages) -> None:
    def during() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        raise Interrupted("interrupted")  # as every wait does once the lab is being stopped

    stages.during_cell = during
    progress = carry(make_plan(configs=("a", "b", "c")))
    assert progress.interrupted
    assert progress.problems == []
    assert stages.log == ["build k/a/x86_64", "cell k/a/x86_64/small", "cancel"]
    assert list(progress.builds) == ["k/a/x86_64"]  # what there is stays
    assert progress.cells == {}


def test_interrupted_while_fetching(carry: Callable[..., RunState], stages: Stages) -> None:
    stages.kernels["two"] = Interrupted("interrupted")
    progress = carry(make_plan(kernels=("one", "two", "three")))
    assert progress.interrupted
    assert list(progress.kernels) == ["one"]
    assert stages.log == ["cancel"]  # nothing is built or booted any more


def test_what_nobody_foresaw_is_a_problem_and_no_end(
    carry: Callable[..., RunState], stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of the lab in one cell must leave neither the schedule waiting nor the others out."""
    whole = Doing.keep_cell

    def keep(doing: Doing, record: CellRecord) -> None:
        if record.id == "k/a/x86_64/small":
            raise RuntimeError("a bug")
        whole(doing, record)

    monkeypatch.setattr(Doing, "keep_cell", keep)
    state = carry(make_plan(configs=("a", "b")))
    assert verdicts(state) == {"k/b/x86_64/small": "pass"}
    assert len(state.problems) == 1
    assert "unexpected RuntimeError: a bug" in state.problems[0]
    assert not state.interrupted


def test_a_surprise_at_a_cell_that_is_left_out_ends_no_run(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    """Such a cell is recorded in the main thread, which must not stop with it."""
    stages.builds["k/a/x86_64"] = Verdict.FAIL
    bugs = [ValueError("a bug")]

    def on_change(state: RunState) -> None:
        if bugs and "k/a/x86_64/small" in state.cells:
            raise bugs.pop()

    state = carry(make_plan(configs=("a", "b")), on_change=on_change)
    assert verdicts(state)["k/b/x86_64/small"] == "pass"
    assert any("unexpected ValueError: a bug" in problem for problem in state.problems)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exit_in_a_thread_stops_the_run(carry: Callable[..., RunState], stages: Stages) -> None:
    stages.builds["k/a/x86_64"] = SystemExit(1)  # type: ignore[assignment]
    state = carry(make_plan(configs=("a", "b")))
    assert state.interrupted
    assert stages.log[-1] == "cancel"


def test_builds_and_cells_are_told_in_the_plans_order(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    plan = make_plan(configs=("a", "b", "c"))
    stages.kept = {"k/c/x86_64", "k/b/x86_64"}
    result = carry(plan).result(plan, RunInfo("r", "", "", "", 0, "0", "p"))
    assert [build.id for build in result.builds] == [build.id for build in plan.builds]
    assert [cell.id for cell in result.cells] == [cell.id for cell in plan.cells]


def test_time_budget(carry: Callable[..., RunState], stages: Stages) -> None:
    stages.build_seconds = 0.3
    plan = make_plan(configs=("a", "b", "c"), budget=0.5)
    progress = carry(plan)
    assert verdicts(progress) == {
        "k/a/x86_64/small": "pass", "k/b/x86_64/small": "skip", "k/c/x86_64/small": "skip",
    }  # fmt: skip
    assert progress.cells["k/b/x86_64/small"].notes == ("the time budget was spent",)
    assert progress.cells["k/c/x86_64/small"].notes == (
        "the time budget was spent before its build",
    )
    assert list(progress.builds) == ["k/a/x86_64", "k/b/x86_64"]
    assert not progress.interrupted


# ---------------------------------------------------------------- resumed


def test_finished_cells_of_an_earlier_run_are_kept(
    carry: Callable[..., RunState], stages: Stages
) -> None:
    plan = make_plan(configs=("a", "b"), shapes=SHAPES)
    earlier = carry(plan)
    stages.log.clear()
    cells = dict(earlier.cells)
    del cells["k/b/x86_64/wide"]
    cells["k/b/x86_64/small"] = replace(cells["k/b/x86_64/small"], boot_seconds=9.0)
    builds: tuple[BuildRecord, ...] = tuple(earlier.builds.values())
    info = RunInfo("r", "", "", "", 130, "0", "p")
    done = RunResult(info, (), builds, tuple(cells.values()), Summary(0, 0, 0, 0))
    progress = carry(plan, done=done)
    assert stages.log == ["build k/b/x86_64", "cell k/b/x86_64/wide"]
    assert len(progress.cells) == 4
    assert len(progress.builds) == 2
    # Nor does what goes wrong now touch what was found then.
    stages.builds["k/b/x86_64"] = HostError("disk full")
    again = carry(plan, done=done)
    assert verdicts(again) == {
        "k/a/x86_64/small": "pass", "k/a/x86_64/wide": "pass",
        "k/b/x86_64/small": "pass", "k/b/x86_64/wide": "error",
    }  # fmt: skip
    assert again.cells["k/b/x86_64/small"].boot_seconds == 9.0


def test_a_budget_to_be_spent_goes_to_the_loops(
    carry: Callable[..., RunState], stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(configs=("a", "b"), budget=1000.0)
    spec = WorkloadSpec("race/w", "race", Path(), "w.c", budget=5.0)
    plan = replace(plan, cells=tuple(replace(cell, workloads=(spec,)) for cell in plan.cells))
    seen: list[float] = []
    whole = stages.run_cell

    def run_cell(cell: Cell, *more: Any) -> Ran:
        seen.append(cell.workloads[0].budget)
        return whole(cell, *more)

    monkeypatch.setattr(stages, "run_cell", run_cell)
    carry(plan)
    assert seen == [5.0, 5.0]
    seen.clear()
    carry(replace(plan, spend_budget=True))
    assert len(seen) == 2
    # The first leaves half of it to the second, which then has what the first did not take.
    assert 5.0 <= seen[0] < 500.0
    assert 500.0 < seen[1] <= 950.0
