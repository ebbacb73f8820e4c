# SPDX-License-Identifier: GPL-2.0-only
"""Trials of a case leave what a run leaves: the same stages in the same order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model import kernel as kernels
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.kernel import BuildResult, ConfigMismatch, KernelTree, PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord, KernelRecord
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
)
from orchestrator.plan.capabilities import UNPROMISED
from orchestrator.runner import RunOptions, run_trials
from orchestrator.runner.context import Context, Kernel, Machine, Places, RunValues
from orchestrator.runner.repeat import same_kernel
from orchestrator.runner.stages import Ran, Stages

SPEC = KernelSpec("cli", "path:/x", series="/series", where="command line")


def repeat_of() -> Repeat:
    build = Build("cli/c/x86_64", SPEC, ConfigSpec("c"), "x86_64")
    cell = Cell(f"{build.id}/small", build, ShapeSpec("small"), ())
    case = CaseResult(f"{cell.id}:f/a:moves", "f/a", "moves", Verdict.FAIL)
    return Repeat(case, (Subject(cell),), Plan("p", (build,), (cell,)), boots=True)


class Played:
    """Stages of which the case fails, and the order in which they were called."""

    def __init__(self, folder: Path) -> None:
        self.order: list[str] = []
        self.log, self.config = folder / "make.log", folder / "dotconfig"
        self.log.write_text("CC mm/userfaultfd.o\n")
        self.config.write_text("CONFIG_A=y\n")
        self.found = Verdict.FAIL

    def compile(self, cells: Iterable[Cell], _: Cache) -> None:
        self.order.append(f"compile {len(tuple(cells))}")

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        self.order.append("prepare")
        patches = (PatchState(1, "mm: x", "A", "1", True),)
        tree = KernelTree(spec, "6.12.117", "base", "tree", patches, "digest")
        return Kernel(tree, "slot", "debian:6.12=6.12.117-1")

    def build(self, wanted: Build, _: Kernel, __: Context) -> BuildResult:
        self.order.append("build")
        return BuildResult(
            wanted, Verdict.PASS, "", 9.0, False, image_sha256="sha", log=self.log,
            kernel_config=self.config,
        )  # fmt: skip

    def run(self, cell: Cell, *_: Any) -> Ran:
        self.order.append("run")
        case = CaseResult(f"{cell.id}:f/a:moves", "f/a", "moves", self.found, "off by 64")
        record = CellRecord(
            cell.id, "cli", "c", "x86_64", "small", "tcg", self.found, 1.0, (case,)
        )  # fmt: skip
        return Ran(record, cell)

    @property
    def stages(self) -> Stages:
        return Stages(self.compile, self.prepare, lambda *_: None, self.build, self.run)


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path
    )  # fmt: skip


def test_a_case_on_the_host_is_tried_without_a_build(played: Played, places: Places) -> None:
    base = KernelSpec("base", "path:/x")
    subjects = []
    for spec in (base, SPEC):
        build = Build(f"{spec.name}/host/x86_64", spec, HOST_CONFIG, "x86_64")
        subjects.append(Subject(Cell(f"{build.id}/-", build, HOST_SHAPE, ()), spec is base))
    cells = tuple(subject.cell for subject in subjects)
    case = CaseResult(f"{cells[1].id}:host/a:program", "host/a", "program", Verdict.FAIL)
    repeat = Repeat(case, tuple(subjects), Plan("p", (), cells), boots=True)

    def host(cell: Cell, *_: Any) -> Ran:
        played.order.append(f"host {cell.build.kernel.name}")
        found = Verdict.FAIL if cell is cells[1] else Verdict.PASS
        again = replace(case, id=f"{cell.id}:host/a:program", verdict=found)
        name = cell.build.kernel.name
        return Ran(CellRecord(cell.id, name, "host", "x86_64", "-", "", found, 0.0, (again,)), cell)

    found = run_trials(
        repeat, Path("reports/r1"), places, RunOptions(command="lab rerun r1 x"),
        stages=replace(played.stages, host=host),
    )  # fmt: skip
    assert played.order == ["compile 2", "prepare", "host base", "prepare", "host cli"]
    assert found.done.status == 1
    assert found.said.endswith("the series is to blame")
    assert found.done.result.builds == ()
    assert not (found.done.folder / "capsules").exists()


def test_what_the_base_is_known_to_fail_in_does_not_speak_for_it(
    played: Played, places: Places
) -> None:
    base = KernelSpec("base", "path:/x")
    subjects = []
    for spec in (base, SPEC):
        build = Build(f"{spec.name}/host/x86_64", spec, HOST_CONFIG, "x86_64")
        subjects.append(Subject(Cell(f"{build.id}/-", build, HOST_SHAPE, ()), spec is base))
    cells = tuple(subject.cell for subject in subjects)
    case = CaseResult(f"{cells[1].id}:host/a:program", "host/a", "program", Verdict.FAIL)
    issue = KnownIssue("stale", workload="host/a", case="build", title="does not build")
    plan = Plan("p", (), cells, known_issues=(issue,))
    repeat = Repeat(case, tuple(subjects), plan, boots=True)

    def host(cell: Cell, *_: Any) -> Ran:
        name = cell.build.kernel.name
        bad = replace(case, id=f"{cell.id}:host/a:build", case="build", reason="does not build: x")
        again = replace(case, id=f"{cell.id}:host/a:program")
        found = (bad, again) if cell is cells[1] else (bad,)
        return Ran(
            CellRecord(cell.id, name, "host", "x86_64", "-", "", Verdict.FAIL, 0.0, found), cell
        )

    done = run_trials(
        repeat, Path("reports/r1"), places, RunOptions(command="lab rerun r1 x"),
        stages=replace(played.stages, host=host),
    )  # fmt: skip
    assert "fails too" not in done.said
    # The one in question is told whatever is known of it.
    known = replace(plan, known_issues=(replace(issue, case="program", title=""),))
    done = run_trials(
        replace(repeat, plan=known), Path("reports/r1"), places,
        RunOptions(command="lab rerun r1 x"), stages=replace(played.stages, host=host),
    )  # fmt: skip
    assert "fails" in done.said


def test_a_trial_leaves_what_a_run_leaves(played: Played, places: Places) -> None:
    found = run_trials(
        repeat_of(), Path("reports/r1"), places, RunOptions(command="lab rerun r1 x"),
        stages=played.stages,
    )  # fmt: skip
    assert played.order == ["compile 1", "prepare", "build", "run"]
    assert found.done.status == 1
    stored = json.loads((found.done.folder / "results.json").read_text())
    (kernel,), (build,), (cell,) = stored["kernels"], stored["builds"], stored["cells"]
    assert UNPROMISED in kernel["notes"]  # what was not promised is told
    assert (found.done.folder / build["log"]).read_text() == "CC mm/userfaultfd.o\n"
    assert (found.done.folder / build["kernel_config"]).read_text() == "CONFIG_A=y\n"
    assert f"again from r1: {found.said}" in cell["notes"]
    assert stored["run"]["command"] == "lab rerun r1 x"
    assert (places.reports / "latest").resolve() == found.done.folder


def test_a_workload_that_does_not_compile_makes_no_run(played: Played, places: Places) -> None:
    def broken(*_: Any) -> None:
        raise UserError("x.c:1: error: no")

    stages = replace(played.stages, compile=broken)
    with pytest.raises(UserError, match="no"):
        run_trials(repeat_of(), Path("r1"), places, stages=stages)
    assert played.order == []
    assert not places.reports.exists()


def test_a_series_that_cannot_be_read_any_more_makes_no_run(played: Played, places: Places) -> None:
    def gone(*_: Any) -> Kernel:
        raise UserError("/series does not exist")

    stages = replace(played.stages, prepare=gone)
    with pytest.raises(UserError, match="/series does not exist"):
        run_trials(repeat_of(), Path("r1"), places, stages=stages)
    assert list(places.reports.iterdir()) == []


def test_a_symbol_that_did_not_take_fails_again_without_a_guest(
    played: Played, places: Places
) -> None:
    missed = (ConfigMismatch("KSMM", "y", "n", "mine.config:2"),)

    def stopped(wanted: Build, *_: Any) -> BuildResult:
        return BuildResult(wanted, Verdict.FAIL, "not compiled: x", 1.0, False, mismatches=missed)

    repeat = repeat_of()
    case = replace(repeat.case, id="cli/c/x86_64/small:config:config", workload="config")
    repeat = replace(repeat, case=replace(case, case="config"))
    stages = replace(played.stages, build=stopped)
    found = run_trials(repeat, Path("r1"), places, stages=stages)
    assert found.said == "fails again"
    (cell,) = found.done.result.cells
    assert cell.cases[0].reason == "CONFIG_KSMM is n, asked for y (mine.config:2)"


@pytest.mark.parametrize("wrong", [{"resume": Path("r1")}, {"fail_on": "any"}, {"boot": False}])
def test_options_that_are_a_runs_are_refused(
    played: Played, places: Places, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="trials know no"):
        run_trials(repeat_of(), Path("r1"), places, RunOptions(**wrong), stages=played.stages)
    assert played.order == []


def test_trials_go_on_until_one_does_not_pass(played: Played, places: Places) -> None:
    played.found = Verdict.PASS
    found = run_trials(repeat_of(), Path("r1"), places, most=3, stages=played.stages)
    assert played.order == ["compile 1", "prepare", "build", "run", "run", "run"]
    assert (found.done.status, len(found.trials)) == (0, 3)


def test_what_the_host_does_is_a_problem_of_the_run(played: Played, places: Places) -> None:
    def fails(*_: Any) -> Ran:
        raise HostError("no QEMU", "install it")

    found = run_trials(
        repeat_of(), Path("r1"), places, stages=replace(played.stages, run=fails)
    )  # fmt: skip
    assert found.done.status == 3
    assert found.done.result.problems == ("no QEMU (install it)",)


def test_a_log_that_cannot_be_copied_is_told_and_keeps_what_there_is(
    played: Played, places: Places
) -> None:
    played.log.unlink()
    played.log.mkdir()
    found = run_trials(repeat_of(), Path("r1"), places, stages=played.stages)
    assert found.done.status == 3
    assert "make.log" in found.done.result.problems[0]
    assert (found.done.folder / "index.html").exists()


def test_an_image_of_other_sources_quotes_none(
    played: Played, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree was edited since: what its lines say now is not what that kernel ran."""
    repeat = repeat_of()
    record = KernelRecord("cli", "path:/x", "6.12.117", (), "digest")
    record = replace(
        record, tested=kernels.Tested("your tree differs in mm/a.c (+1 -1)", "your tree")
    )
    (subject,) = repeat.subjects
    subject = replace(subject, record=record, image_sha256="sha")
    built = played.build(subject.cell.build, None, None)  # type: ignore[arg-type]
    monkeypatch.setattr("orchestrator.runner.repeat.find_image", lambda *_: built)
    told: list[str] = []
    machine = Machine(places.cache, places.reports, places.fragments)
    context = Context(RunValues("r", 1), machine, lambda event: told.append(event.text))
    for found, exact in ((None, False), (replace(built, image_sha256="new"), False), (built, True)):
        stages = replace(played.stages, find=lambda *_, found=found: found)
        told.clear()
        kernel, kept, note = same_kernel(subject, Path("r1"), context, stages)
        assert (kernel.exact, kept) == (exact, built)
        # What the run said was tested, and not what its tree has become.
        assert (kernel.tree.tested == record.tested) is not exact
        assert (record.tested.sentence in told) is not exact
        assert ("are not what they were in r1" in note) is not exact
