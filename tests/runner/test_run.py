# SPDX-License-Identifier: GPL-2.0-only
"""A whole run from Python, with stages that are played: what is stored meanwhile, and after."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import orchestrator.runner
from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    LabConfig,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.matrix import Selection
from orchestrator.runner import Places, RunOptions, record, run_plan
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.run import check_baseline, choose_baseline, last_clean
from orchestrator.runner.stages import Ran, Stages


def plan_of(*kernels: str, baseline: str | None = None) -> Plan:
    config, shape = ConfigSpec("c"), ShapeSpec("small")
    builds = tuple(
        Build(f"{name}/c/x86_64", KernelSpec(name, "path:x"), config, "x86_64") for name in kernels
    )
    cells = tuple(Cell(f"{build.id}/small", build, shape, ()) for build in builds)
    return Plan("p", builds, cells, baseline=baseline)


def played(*fail: str) -> Stages:
    """Stages of which every kernel passes but those named."""

    def prepare(spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", "debian:6.12=6.12.1")

    def build(wanted: Build, _: Kernel, __: Context) -> BuildResult:
        return BuildResult(wanted, Verdict.PASS, "", 1.0, False, image_sha256="sha")

    def run(cell: Cell, *_: Any) -> Ran:
        kernel = cell.build.kernel.name
        found = Verdict.FAIL if kernel in fail else Verdict.PASS
        case = CaseResult(f"{cell.id}:w/a:c", "w/a", "c", found, "why")
        record = CellRecord(
            cell.id, kernel, "c", "x86_64", "small", "tcg", found, 1.0, (case,)
        )  # fmt: skip
        return Ran(record, cell)

    return Stages(lambda *_: None, prepare, lambda *_: None, build, run)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def stored(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_a_run_is_stored_reported_and_the_latest(places: Places) -> None:
    events: list[Event] = []
    done = run_plan(
        plan_of("k"), places, RunOptions(command="x y", seed=7), listener=events.append,
        stages=played(),
    )  # fmt: skip
    assert done.status == 0
    assert done.folder.parent == places.reports
    assert (places.reports / "latest").resolve() == done.folder
    run = stored(done.folder)["run"]
    assert (run["exit_status"], run["command"], bool(run["finished"])) == (0, "x y", True)
    assert {path.name for path in done.folder.iterdir()} >= {"junit.xml", "index.html", "lab.log"}
    assert {event.kind for event in events} >= {"build", "cell"}


def test_a_failing_kernel_is_a_result_and_no_exception(places: Places) -> None:
    done = run_plan(plan_of("k"), places, stages=played("k"))
    assert done.status == 1
    assert done.result.summary.failed == 1


def test_what_a_killed_run_leaves_is_no_success(places: Places, tmp_path: Path) -> None:
    """Killed at any time, its results must not read as one."""
    seen: list[tuple[str, int]] = []
    stages = played()

    def look(*words: Any) -> BuildResult:
        run = stored(tmp_path / "out")["run"]
        seen.append((run["finished"], run["exit_status"]))
        return stages.build(*words)

    out = RunOptions(out=tmp_path / "out")
    done = run_plan(plan_of("k"), places, out, stages=replace(stages, build=look))
    assert done.status == 0
    assert seen == [("", 130)]


def test_a_run_in_which_nothing_was_tried_is_no_success(places: Places) -> None:
    assert run_plan(Plan("p", (), ()), places, RunOptions(boot=False)).status == 3


def unusable(*names: str, error: type[Exception] = UserError) -> Stages:
    """Stages that cannot have the source of the kernels named."""
    good = played()

    def prepare(spec: KernelSpec, context: Context) -> Kernel:
        if spec.name in names:
            raise error(f"{spec.name} holds no diff", "give a patch")
        return good.prepare(spec, context)

    return replace(good, prepare=prepare)


def test_wrong_input_makes_no_run(places: Places, tmp_path: Path) -> None:
    before = run_plan(plan_of("k"), places, stages=played()).folder
    kept = sorted(path.name for path in places.reports.iterdir())
    said = r"kernel bad: bad holds no diff \(give a patch\)"
    for out in (None, tmp_path / "out"):
        with pytest.raises(UserError, match=said):
            run_plan(plan_of("bad"), places, RunOptions(out=out), stages=unusable("bad"))
    assert sorted(path.name for path in places.reports.iterdir()) == kept
    assert (places.reports / "latest").resolve() == before
    assert list((tmp_path / "out").iterdir()) == []  # empty, as it may have been before
    with pytest.raises(UserError, match="worse holds no diff"):
        run_plan(plan_of("bad", "worse"), places, stages=unusable("bad", "worse"))


def test_what_was_built_beside_wrong_input_is_a_run(places: Places) -> None:
    done = run_plan(plan_of("bad", "k"), places, stages=unusable("bad"))
    assert done.status == 2
    assert (places.reports / "latest").resolve() == done.folder


def test_without_the_kernel_of_the_command_line_its_base_is_not_built(places: Places) -> None:
    plan = plan_of("cli", "k", baseline="k")
    with pytest.raises(UserError, match="cli holds no diff"):
        run_plan(plan, places, stages=unusable("cli"))


def test_the_hosts_trouble_with_a_source_stays_a_run(places: Places) -> None:
    done = run_plan(plan_of("bad"), places, stages=unusable("bad", error=HostError))
    assert done.status == 3
    assert done.folder.is_dir()


def test_a_fragment_that_cannot_be_read_is_told_first(places: Places, tmp_path: Path) -> None:
    wrong = tmp_path / "mine.config"
    wrong.write_text("CONFIG_A=y\nUSERFAULTFD=y\n")
    plan = plan_of("k")
    config = ConfigSpec("c", (wrong,))
    plan = replace(plan, builds=tuple(replace(b, config=config) for b in plan.builds))
    with pytest.raises(UserError, match=r"mine\.config:2: not a Kconfig line"):
        run_plan(plan, places, stages=played())
    assert not places.reports.exists()


def test_an_unfinished_run_goes_on_in_its_folder(places: Places) -> None:
    first = run_plan(plan_of("k"), places, stages=played())

    def never(*_: Any) -> Any:
        raise AssertionError("done before")

    stages = replace(played(), build=never, run=never, find=never)
    again = run_plan(plan_of("k"), places, RunOptions(resume=first.folder), stages=stages)
    assert (again.folder, again.status) == (first.folder, 0)
    assert again.result.run.id == first.result.run.id


def test_a_resumed_run_keeps_what_was_asked_for_and_when(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RunOptions(command="lab run --arch x86_64")
    monkeypatch.setattr(record, "now", lambda: "2026-11-30T16:50:35Z")
    first = run_plan(plan_of("k"), places, asked, stages=played())
    monkeypatch.setattr(record, "now", lambda: "2026-11-30T18:35:32Z")
    again = RunOptions(resume=first.folder, command=f"lab run --resume {first.folder.name}")
    for _ in range(2):
        told = run_plan(plan_of("k"), places, again, stages=played())
        assert told.result.run.command == asked.command
        assert told.result.run.started == "2026-11-30T16:50:35Z"
        assert told.result.run.finished == "2026-11-30T18:35:32Z"


def test_what_another_plan_has_not_is_not_lost(places: Places) -> None:
    first = run_plan(plan_of("k"), places, RunOptions(command="lab run k"), stages=played())
    kept = (first.folder / "results.json").read_bytes()
    with pytest.raises(UserError, match="which is not asked for now") as wrong:
        run_plan(plan_of("other"), places, RunOptions(resume=first.folder), stages=played())
    assert "nothing was changed; it was started as `lab run k`" in wrong.value.hint
    assert (first.folder / "results.json").read_bytes() == kept


def test_each_run_of_a_process_has_its_own_log(places: Places) -> None:
    def prepare(spec: KernelSpec, context: Context) -> Kernel:
        logging.getLogger("lab.test").info("this is %s", context.values.name)
        return played().prepare(spec, context)

    stages = replace(played(), prepare=prepare)
    one, two = (run_plan(plan_of("k"), places, stages=stages).folder for _ in range(2))
    for mine, other in ((one, two), (two, one)):
        text = (mine / "lab.log").read_text()
        assert f"this is {mine.name}\n" in text
        assert f"this is {other.name}\n" not in text


def test_a_listener_that_raises_fails_nothing(places: Places) -> None:
    def listener(event: Event) -> None:
        raise ValueError("broken renderer")

    done = run_plan(plan_of("k"), places, listener=listener, stages=played())
    assert done.status == 0
    assert "broken renderer" in (done.folder / "lab.log").read_text()


def test_the_baseline_of_a_plan_is_compared_with(places: Places) -> None:
    plan = plan_of("base", "new", baseline="base")
    done = run_plan(plan, places, stages=played("new"))
    assert done.comparison is not None
    assert [item.key for item in done.comparison.regressed] == ["c/x86_64/small:w/a:c"]
    assert done.status == 1
    assert run_plan(plan, places, stages=played("new", "base")).status == 0  # nothing regressed
    both = RunOptions(fail_on="any")
    assert run_plan(plan, places, both, stages=played("new", "base")).status == 1


@pytest.mark.parametrize("others", [(), ("v6.1", "v6.6")])
def test_a_kernel_baseline_needs_one_kernel_under_test(others: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="exactly one kernel under test") as caught:
        check_baseline(plan_of("v6.12", *others, baseline="v6.12"))
    assert all(name in caught.value.message for name in others)
    check_baseline(plan_of("v6.12", "cli", baseline="v6.12"))
    check_baseline(plan_of("a", "b"))


def test_a_baseline_is_a_kernel_or_a_run(places: Places) -> None:
    done = run_plan(plan_of("k"), places, stages=played())
    config = LabConfig.__new__(LabConfig)
    object.__setattr__(config, "kernels", (KernelSpec("v6.12", "debian:6.12"),))
    none, selection = choose_baseline(places, config, Selection(), "last-clean")
    assert (none.run, none.name, selection.baseline) == (None, "", None)
    kernel, selection = choose_baseline(places, config, Selection(), "v6.12")
    assert (kernel.run, kernel.name, selection.baseline) == (None, "v6.12", "v6.12")
    earlier, selection = choose_baseline(places, config, Selection(), "latest")
    assert earlier.run is not None
    assert (earlier.name, selection.baseline) == (done.folder.name, None)
    with pytest.raises(UserError, match="--baseline nothing: ") as caught:
        choose_baseline(places, config, Selection(), "nothing")
    assert "v6.12" in caught.value.hint


def test_everything_that_is_offered_is_there() -> None:
    for name in orchestrator.runner.__all__:
        assert getattr(orchestrator.runner, name)
    with pytest.raises(AttributeError):
        orchestrator.runner.nothing  # noqa: B018


def test_the_last_clean_run_as_the_baseline(places: Places, tmp_path: Path) -> None:
    plan = plan_of("k")
    spec = WorkloadSpec("w/a", "w", tmp_path, "a.c")
    plan = replace(plan, cells=tuple(replace(cell, workloads=(spec,)) for cell in plan.cells))
    assert last_clean(places, plan).run is None
    clean = run_plan(plan, places, stages=played())
    assert stored(clean.folder)["run"]["complete"] is True
    red = run_plan(plan, places, stages=played("k"), baseline=last_clean(places, plan))
    assert (red.status, red.result.run.baseline) == (1, clean.folder.name)
    assert stored(red.folder)["run"]["complete"] is True
    # One night later it is red all the same.
    assert last_clean(places, plan).name == clean.folder.name
    elsewhere = run_plan(plan, places, RunOptions(out=tmp_path / "out"), stages=played())
    assert last_clean(places, plan, [elsewhere.folder]).name == str(tmp_path / "out")


def test_what_was_cut_or_only_built_is_not_complete(places: Places) -> None:
    left = replace(plan_of("k"), time_budget=1e-9)
    assert not stored(run_plan(left, places, stages=played()).folder)["run"]["complete"]
    done = run_plan(plan_of("k"), places, RunOptions(boot=False), stages=played())
    assert (done.status, stored(done.folder)["run"]["complete"]) == (0, False)
