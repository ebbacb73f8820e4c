# SPDX-License-Identifier: GPL-2.0-only
"""``--each-patch`` as it is typed, and a run of it from Python with stages that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from by_patch import BOOTS, run_of
from fake_mails import change, message, save

from orchestrator import HOME
from orchestrator.commands.each_patch import by_patch
from orchestrator.host.cache.files import Cache
from orchestrator.judge.outcome import build_case
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.kernel import BuildResult, CompilerMessage, KernelTree, PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, Plan, ShapeSpec
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.prefixes import with_prefixes
from orchestrator.results import history, store
from orchestrator.runner import Places, RunOptions, run_plan
from orchestrator.runner.context import Context, Kernel
from orchestrator.runner.repeat import make_repeat
from orchestrator.runner.stages import Ran, Stages

KERNEL = KernelSpec("cli", "path:x", "/s")
PATCHES = tuple(PatchState(n, f"mm: change {n}", "A <a@b>", f"{n}" * 64, True) for n in (1, 2, 3))
WRONG = CompilerMessage("mm/a.c", 7, "'x' undeclared")


@pytest.fixture
def series(tmp_path: Path) -> str:
    folder = tmp_path / "s"
    folder.mkdir()
    for n, name in enumerate(("mm/a.c", "mm/b.c", "mm/c.c"), 1):
        save(folder, message(f"[PATCH {n}/3] mm: change {n}", diff=change(name)), f"000{n}.patch")
    return str(folder)


def planned(lab: Callable[..., Any], *words: str) -> dict[str, Any]:
    done = lab("plan", "--arch", "x86_64", "--config", "default", "--json", *words)
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.mark.parametrize(
    ("words", "cells"),
    [((), 1), (("--each-patch=build",), 1), (("--each-patch",), 3), (("--each-patch=test",), 3)],
)
def test_as_it_is_typed(
    lab: Callable[..., Any], folder: Path, series: str, words: tuple[str, ...], cells: int
) -> None:
    found = planned(lab, "--series", series, *words)
    builds = [(b["id"].partition("/")[0], b["patches"], b["prefix_of"]) for b in found["builds"]]
    parts = [("cli@patch-1", 1, "cli"), ("cli@patch-2", 2, "cli")] if words else []
    assert builds == [*parts, ("cli", None, None)]
    assert len(found["cells"]) == cells
    counts = {cell["id"].partition("/")[0]: len(cell["workloads"]) for cell in found["cells"]}
    if words == ("--each-patch",):
        assert counts["cli@patch-1"] == 0
    if words == ("--each-patch=test",):
        assert 0 < counts["cli@patch-1"] <= counts["cli"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no kernel under test has a series"),
        (("--series", "-"), "a plan does not read standard input"),
    ],
)
def test_where_there_is_no_series_to_take_apart(
    lab: Callable[..., Any], folder: Path, words: tuple[str, ...], told: str
) -> None:
    done = lab("plan", "--arch", "x86_64", "--each-patch", *words)
    assert (done.status, told in done.err) == (2, True), done.err


def test_the_series_of_a_baseline_stays_whole(series: str) -> None:
    build = Build("cli/c/x86_64", replace(KERNEL, series=series), ConfigSpec("c"), "x86_64")
    plan = Plan("p", (build,), (), baseline="cli")
    with pytest.raises(UserError, match="no kernel under test"):
        by_patch(plan, "build")
    assert len(by_patch(replace(plan, baseline=None), "build").builds) == 3
    assert by_patch(plan, None) is plan


# ---------------------------------------------------------------- a whole run


def played(builds: dict[int, Verdict], fails: tuple[str, ...] = ()) -> Stages:
    """Stages of a series of three patches: what each build comes to, where the one case fails."""

    def prepare(spec: KernelSpec, _: Context) -> Kernel:
        own = PATCHES[: spec.patches or None] if spec.series else ()
        return Kernel(KernelTree(spec, "6.12", "base", spec.name, own), "slot", "debian:6.12=1")

    def build(wanted: Build, kernel: Kernel, _: Context) -> BuildResult:
        found = builds.get(wanted.kernel.patches or 3, Verdict.PASS)
        good = found is Verdict.PASS
        return BuildResult(wanted, found, "" if good else "mm/a.c:7: error: 'x' undeclared", 1.0,
                           False, image_sha256=wanted.id if good else "",
                           errors=() if good else (WRONG,))  # fmt: skip

    def run(cell: Cell, *_: Any) -> Ran:
        kernel = cell.build.kernel.name
        found = Verdict.FAIL if kernel in fails else Verdict.PASS
        cases = (
            CaseResult(f"{cell.id}:boot:boot", "boot", "boot", Verdict.PASS),
            CaseResult(f"{cell.id}:w/a:c", "w/a", "c", found, "why" if kernel in fails else ""),
        )
        record = CellRecord(cell.id, kernel, "c", "x86_64", "small", "tcg", found, 1.0, cases)
        return Ran(record, cell)

    return Stages(lambda *_: None, prepare, lambda *_: None, build, run)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def plan_of(*kernels: KernelSpec, depth: str = "test", baseline: str | None = None) -> Plan:
    builds = tuple(Build(f"{k.name}/c/x86_64", k, ConfigSpec("c"), "x86_64") for k in kernels)
    cells = tuple(Cell(f"{b.id}/small", b, ShapeSpec("small"), ()) for b in builds)
    return with_prefixes(Plan("p", builds, cells, baseline=baseline), {"cli": 3}, depth)


def test_a_patch_that_does_not_build_fails_the_run_and_is_told_once(places: Places) -> None:
    done = run_plan(plan_of(KERNEL), places, stages=played({2: Verdict.FAIL}))
    assert done.status == 1
    assert (done.result.summary.failed, done.result.summary.errors) == (0, 0)
    stored = store.load(done.folder)
    (one,) = stored.each_patch
    assert [(f.kind, f.patch, f.mended) for f in one.findings] == [("build", 2, 3)]
    assert [b.id for b in stored.builds] == [
        "cli@patch-1/c/x86_64", "cli@patch-2/c/x86_64", "cli/c/x86_64"
    ]  # fmt: skip
    assert "does not build" in (done.folder / "index.html").read_text()
    assert 'name="each patch cli"' in (done.folder / "junit.xml").read_text()
    assert "cli@patch-2/c/x86_64/-:build:build" in history.case_ids(places.history)


def test_all_is_well(places: Places) -> None:
    done = run_plan(plan_of(KERNEL), places, stages=played({}))
    assert done.status == 0
    assert not done.result.each_patch[0].findings
    assert run_plan(plan_of(KERNEL, depth="build"), places, RunOptions(boot=False),
                    stages=played({})).status == 0  # fmt: skip


def test_beside_a_base_only_what_the_patches_bring_counts(places: Places) -> None:
    base = KernelSpec("v6.12", "path:x")
    plan = plan_of(KERNEL, base, baseline="v6.12")
    done = run_plan(plan, places, stages=played({}, ("cli@patch-2",)))
    assert done.comparison is not None
    assert done.comparison.regressed == ()
    assert done.status == 1
    (found,) = done.result.each_patch[0].findings
    assert (found.kind, found.patch, found.mended, found.base_known) == ("test", 2, 3, True)
    everywhere = ("v6.12", "cli@patch-1", "cli@patch-2", "cli")
    done = run_plan(plan, places, stages=played({}, everywhere))
    assert done.status == 0
    assert done.result.each_patch[0].findings == ()


def test_a_part_that_the_host_could_not_build_is_the_hosts(places: Places) -> None:
    def build(wanted: Build, kernel: Kernel, context: Context) -> BuildResult:
        if wanted.kernel.patches == 1:
            raise UserError("the disk is full", "free some space")
        return played({}).build(wanted, kernel, context)

    done = run_plan(plan_of(KERNEL), places, stages=replace(played({}), build=build))
    assert done.status in (2, 3)
    assert done.result.each_patch[0].broken == ()


def test_an_interrupted_run_goes_on_with_the_same_parts(places: Places) -> None:
    plan = plan_of(KERNEL)
    first = run_plan(plan, places, stages=played({}))
    stages = played({})

    def never(cell: Cell, *_: Any) -> Ran:
        raise AssertionError(cell.id)

    again = run_plan(
        plan, places, RunOptions(resume=first.folder), stages=replace(stages, run=never)
    )
    assert again.status == 0
    assert [r.passed for r in again.result.each_patch[0].rows] == [1, 1, 1]


def test_a_part_is_run_again_for_its_own_sake() -> None:
    run = run_of("+-+", {BOOTS: "+ +"})
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    again = make_repeat(config, run, build_case(run, run.builds[1]))
    kernel = again.tested.cell.build.kernel
    assert (kernel.name, kernel.patches, kernel.prefix_of) == ("cli@patch-2", 2, "")
    assert (kernel.source, kernel.series) == ("debian:6.12=1", "/s")
    assert again.base is not None
    assert again.base.cell.build.kernel.series is None
    boots = make_repeat(config, run, run.cells[0].cases[0]).tested.cell
    assert (boots.id, boots.workloads) == ("cli@patch-1/default/x86_64/small", ())
