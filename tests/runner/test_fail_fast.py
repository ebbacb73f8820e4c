# SPDX-License-Identifier: GPL-2.0-only
"""Whole runs with --fail-fast, their guests played: what ends, what is told, what goes on later."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from orchestrator import HOME
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.ending import ended_by
from orchestrator.judge.outcome import ENDED, cell_verdict, is_complete, not_run_text
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import Ended
from orchestrator.model.kernel import ApplyFailure, BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CellRecord
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    KnownIssue,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.prefixes import TEST, with_prefixes
from orchestrator.runner import Places, RunOptions, run_plan
from orchestrator.runner.collector import CellLog
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.repeat import make_repeat
from orchestrator.runner.run import Done
from orchestrator.runner.stages import Ran, Stages

FAST = RunOptions(fail_fast=True, jobs=1)
P, F = Verdict.PASS, Verdict.FAIL


def work(name: str) -> WorkloadSpec:
    return WorkloadSpec(f"w/{name}", "w", Path("/w"), f"{name}.c")


def plan_of(
    kernels: str = "k", configs: str = "ab", works: str = "xyz", baseline: str | None = None
) -> Plan:
    shape = ShapeSpec("s", cpus=1)
    builds = tuple(
        Build(f"{k}/{c}/x86_64", KernelSpec(k, "path:x"), ConfigSpec(c), "x86_64")
        for k in kernels
        for c in configs
    )
    specs = tuple(map(work, works))
    cells = tuple(Cell(f"{b.id}/s", b, shape, specs) for b in builds)
    return Plan("p", builds, cells, baseline=baseline)


class Played:
    """Stages whose cells tell their cases as they come; ``bad`` are ``CONFIG:WORKLOAD``."""

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.ran: list[str] = []
        self.hold = threading.Barrier(1)
        self.unbuilt: set[str] = set()
        self.unfit: set[str] = set()
        self.slow_build = ""
        self.kept = False

    def prepare(self, spec: KernelSpec, context: Context) -> Kernel:
        bad = ApplyFailure(1, "mm: x", "mm/a.c", 7, "hunk 1 fails", "@@", "")
        failure = bad if spec.name in self.unfit else None
        found = F if failure else P
        context.listener(Event("kernel", spec.name, "done", "why", verdict=found, version="6.12"))
        return Kernel(KernelTree(spec, "6.12", "base", "tree", failure=failure), "slot", "path:x")

    def find(self, wanted: Build, *_: Any) -> BuildResult | None:
        return self.build(wanted) if self.kept else None

    def build(self, wanted: Build, *_: Any) -> BuildResult:
        if wanted.id == self.slow_build:
            self.hold.wait(10)
            while True:
                process.sleep(0.01)
        found = F if wanted.id in self.unbuilt else P
        return BuildResult(
            wanted, found, "a.c:1" if found is F else "", 1.0, False, image_sha256="sha"
        )

    def run(self, cell: Cell, _: Any, __: Any, context: Context) -> Ran:
        log = CellLog(cell, context)
        left = [spec for spec in cell.workloads if spec.name not in cell.done]
        try:
            with ended_by(context.ending):
                self.hold.wait(10)
                while left:
                    self._one(log, cell, left[0])
                    left.pop(0)
                    process.sleep(0)
        except Ended:
            if not log.cases:
                raise
            log.left_out(left)
        record = CellRecord(
            cell.id, cell.build.kernel.name, cell.build.config.name, "x86_64", cell.shape.name,
            "tcg", cell_verdict(log.cases), 1.0, log.in_order(),
        )  # fmt: skip
        return Ran(record, cell)

    def _one(self, log: CellLog, cell: Cell, spec: WorkloadSpec) -> None:
        place = f"{cell.build.config.name}:{spec.name.partition('/')[2]}"
        names = (place, f"{cell.build.kernel.name}/{place}")
        if any(f"{name}!" in self.bad for name in names):  # it hangs until somebody ends it
            while True:
                process.sleep(0.01)
        self.ran.append(f"{cell.id}:{spec.name}")
        found = F if any(name in self.bad for name in names) else P
        log.case(spec.name, "c", found, "off by one" if found is F else "")

    def host(self, cell: Cell, kernel: Kernel, context: Context) -> Ran:
        return self.run(cell, None, kernel, context)

    @property
    def stages(self) -> Stages:
        return Stages(lambda *_: None, self.prepare, self.find, self.build, self.run, self.host)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def told(done: Done) -> dict[str, str]:
    """What the stored run says of each case, and of each cell without one."""
    stored = json.loads((done.folder / "results.json").read_text())
    cases = {c["id"]: c["verdict"] for cell in stored["cells"] for c in cell["cases"]}
    bare = {c["id"]: f"{c['verdict']}: {c['notes'][-1]}" for c in stored["cells"] if not c["cases"]}
    return {name.replace("/x86_64/s", ""): found for name, found in (cases | bare).items()}


def test_a_run_ends_at_its_first_failure(places: Places) -> None:
    played = Played("a:y", "b:x")
    done = run_plan(plan_of(), places, FAST, stages=played.stages)
    assert done.status == 1
    assert told(done) == {
        "k/a:w/x:c": "pass", "k/a:w/y:c": "fail", "k/a:w/z:not-run": "skip",
        "k/b": f"skip: {ENDED}",
    }  # fmt: skip
    assert not is_complete(done.result)
    assert not_run_text(done.result.cells) == (
        "1 workload and 1 cell not run: ended at the first failure"
    )
    suites = etree.parse(str(done.folder / "junit.xml"))
    skipped = [c.get("name") for c in suites.iter("testcase") if c.find("skipped") is not None]
    assert {"complete", "not-run"} <= {str(name).rpartition(":")[2] for name in skipped}
    page = (done.folder / "index.html").read_text()
    assert "1 workload and 1 cell not run: ended at the first failure" in page


def test_it_goes_on_with_what_did_not_run(places: Places) -> None:
    played = Played("a:y", "b:x")
    first = run_plan(plan_of(), places, FAST, stages=played.stages)
    played.ran.clear()
    go_on = replace(FAST, resume=first.folder)
    second = run_plan(plan_of(), places, go_on, stages=played.stages)
    assert played.ran == ["k/a/x86_64/s:w/z", "k/b/x86_64/s:w/x"]
    assert second.status == 1
    assert told(second) == {
        "k/a:w/x:c": "pass", "k/a:w/y:c": "fail", "k/a:w/z:c": "pass",
        "k/b:w/x:c": "fail", "k/b:w/y:not-run": "skip", "k/b:w/z:not-run": "skip",
    }  # fmt: skip
    played.ran.clear()
    third = run_plan(plan_of(), places, RunOptions(resume=first.folder), stages=played.stages)
    assert played.ran == ["k/b/x86_64/s:w/y", "k/b/x86_64/s:w/z"]
    assert (third.status, is_complete(third.result)) == (1, True)
    assert sorted(told(third).values()) == ["fail"] * 2 + ["pass"] * 4
    again = run_plan(plan_of(), places, RunOptions(resume=first.folder), stages=played.stages)
    assert told(again) == told(third)


def test_what_is_known_of_a_cut_cell_outlives_a_rest_that_fails(places: Places) -> None:
    played = Played("a:y")
    first = run_plan(plan_of(configs="a"), places, FAST, stages=played.stages)
    played.unbuilt = {"k/a/x86_64"}
    again = run_plan(plan_of(configs="a"), places, RunOptions(resume=first.folder),
                     stages=played.stages)  # fmt: skip
    assert told(again) == told(first)


def test_cells_side_by_side_are_ended_and_keep_what_they_found(places: Places) -> None:
    played = Played("a:y", "b:y!")
    played.hold, played.kept = threading.Barrier(2), True
    done = run_plan(plan_of(), places, replace(FAST, jobs=2), stages=played.stages)
    assert done.status == 1
    assert told(done) == {
        "k/a:w/x:c": "pass", "k/a:w/y:c": "fail", "k/a:w/z:not-run": "skip",
        "k/b:w/x:c": "pass", "k/b:w/y:not-run": "skip", "k/b:w/z:not-run": "skip",
    }  # fmt: skip
    cut = next(cell for cell in done.result.cells if cell.config == "b")
    assert cut.verdict is Verdict.SKIP


def test_a_build_that_is_under_way_is_ended(places: Places) -> None:
    played = Played("a:x")
    played.hold = threading.Barrier(2)
    played.slow_build = "k/b/x86_64"
    done = run_plan(plan_of(), places, replace(FAST, jobs=16), stages=played.stages)
    assert (done.status, done.result.problems) == (1, ())
    assert [build.id for build in done.result.builds] == ["k/a/x86_64"]
    assert told(done)["k/b"] == f"skip: {ENDED}"


def test_a_build_or_a_series_may_be_the_first_failure(places: Places) -> None:
    played = Played()
    played.unbuilt = {"k/a/x86_64"}
    done = run_plan(plan_of(), places, FAST, stages=played.stages)
    assert (done.status, played.ran) == (1, [])
    assert told(done) == {"k/a": "fail: not booted: its build failed", "k/b": f"skip: {ENDED}"}
    played = Played()
    played.unfit = {"k"}
    done = run_plan(plan_of("kl", "a"), places, FAST, stages=played.stages)
    assert (done.status, played.ran) == (1, [])
    assert told(done) == {"l/a": f"skip: {ENDED}"}


def test_a_cell_on_the_host_ends_the_guests_and_is_ended_by_them(places: Places) -> None:
    plan = plan_of(configs="a")
    kernel = plan.builds[0].kernel
    place = Build("k/host/x86_64", kernel, HOST_CONFIG, "x86_64")
    host = Cell("k/host/x86_64/-", place, HOST_SHAPE, tuple(map(work, "xy")))
    plan = replace(plan, cells=(host, *plan.cells))
    done = run_plan(plan, places, FAST, stages=Played("host:x", "a:x!").stages)
    assert done.status == 1
    assert told(done)["k/host/x86_64/-:w/y:not-run"] == "skip"
    assert "fail" not in [found for name, found in told(done).items() if name.startswith("k/a")]
    done = run_plan(plan, places, FAST, stages=Played("host:y!", "a:x").stages)
    assert told(done)["k/host/x86_64/-:w/x:c"] == "pass"
    assert told(done)["k/host/x86_64/-:w/y:not-run"] == "skip"
    assert told(done)["k/a:w/x:c"] == "fail"


def test_a_known_issue_ends_nothing(places: Places) -> None:
    known = KnownIssue("a race", title="off by", workload="w/y", case="c")
    plan = replace(plan_of(), known_issues=(known,))
    done = run_plan(plan, places, FAST, stages=Played("a:y", "b:z").stages)
    assert not_run_text(done.result.cells) == ""
    assert done.status == 1
    assert done.result.summary.failed == 1


def test_what_the_baseline_has_too_ends_nothing(places: Places) -> None:
    plan = plan_of("kb", "a", baseline="b")
    done = run_plan(plan, places, FAST, stages=Played("a:x").stages)
    assert (done.status, not_run_text(done.result.cells)) == (0, "")
    played = Played("a:x", "k/a:y")
    done = run_plan(plan, places, FAST, stages=played.stages)
    assert done.status == 1
    assert played.ran[-1] == "b/a/x86_64/s:w/y", "it ends once the baseline is known to pass"
    assert told(done)["b/a:w/z:not-run"] == "skip"


def test_a_run_that_ended_is_never_green(places: Places) -> None:
    """Also where a comparison calls what ended it no regression."""
    earlier = run_plan(plan_of(), places, stages=Played().stages)
    assert earlier.status == 0
    done = run_plan(plan_of(), places, replace(FAST, fail_on="any"), stages=Played("b:z").stages)
    assert done.status == 1
    cut = run_plan(plan_of(), places, FAST, stages=Played("a:x").stages)
    assert (cut.status, cut.result.run.complete) == (1, False)


def test_a_series_patch_by_patch(places: Places) -> None:
    plan = plan_of("k", "a")
    kernel = replace(plan.builds[0].kernel, series="/s")
    build = replace(plan.builds[0], kernel=kernel)
    cells = (replace(plan.cells[0], build=build),)
    plan = with_prefixes(replace(plan, builds=(build,), cells=cells), {"k": 3}, TEST)
    names = {cell.build.kernel.name for cell in plan.cells}
    assert len(names) == 3
    done = run_plan(plan, places, FAST, stages=Played("k/a:y").stages)
    assert done.status == 1
    left = [name for name, found in told(done).items() if found == f"skip: {ENDED}"]
    assert len(left) == 2


def test_a_case_of_a_cut_run_can_be_run_again(places: Places) -> None:
    """What failed, and what was not run: both are cases with a guest of their own."""
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    plan = make_plan(
        config,
        Selection(arches=("x86_64",), workloads=("uffd-move/errno", "uffd-move/fork")),
        tuple(ARCHES),
    )
    done = run_plan(plan, places, FAST, stages=Played("default:errno").stages)
    cases = {c.case: c for cell in done.result.cells for c in cell.cases}
    assert {"c", "not-run"} <= set(cases)
    for case in (cases["c"], cases["not-run"]):
        repeat = make_repeat(config, done.result, case)
        assert [spec.name for spec in repeat.tested.cell.workloads] == [case.workload]
