# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab run`` does around a run: its folder, and its last words on a terminal."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_run

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.commands.options import run_options_of, selection_of
from orchestrator.commands.summary import print_end, print_summary
from orchestrator.judge.outcome import BUDGET, ENDED, build_case, cases_of
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import ConfigMismatch, PatchState
from orchestrator.model.names import NOT_RUN, CaseId, Verdict
from orchestrator.model.results import BuildRecord, CaseResult, KernelRecord
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import make_plan
from orchestrator.report import junit
from orchestrator.runner.run import Done


def test_the_summary_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = sample_run.broken_run()
    bad = replace(result, problems=("the compiler said \x1b]0;owned\x07",))
    print_summary(bad, None, tmp_path, 1.0, as_json=False)
    shown = capsys.readouterr().out
    assert "owned" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("shown", ["plain", "json", "quiet"])
def test_a_reader_that_goes_away_hides_no_failure(
    shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print_end(Done(sample_run.broken_run(), None, tmp_path, 1.0), shown, notify=False)
        stream.flush()  # as the command's end does, whose status a broken pipe would make 0


def test_the_summary_begins_with_what_was_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "2 patches on 6.12.48: userfaultfd: count the pages a move takes"
    print_summary(sample_run.good_run(), None, tmp_path, 1.0, as_json=False)
    assert capsys.readouterr().out.strip().splitlines()[0] == f"tested: {said}"
    print_summary(sample_run.good_run(), None, tmp_path, 1.0, as_json=True)
    assert json.loads(capsys.readouterr().out)["tested"] == [said]


def test_the_summary_tells_of_cells_that_were_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample_run.good_run()
    left = replace(run.cells[1], cases=(), notes=(f"{BUDGET} before its build",))
    cut = replace(run, cells=(run.cells[0], left))
    print_summary(cut, None, tmp_path, 1.0, as_json=False)
    said = f"\n1 cell not run: time budget; `lab run --resume {run.run.id}` goes on\n"
    assert said in capsys.readouterr().out
    print_summary(cut, None, tmp_path, 1.0, as_json=True)
    assert json.loads(capsys.readouterr().out)["not_run"] == [left.id]
    print_summary(run, None, tmp_path, 1.0, as_json=True)
    assert "not_run" not in json.loads(capsys.readouterr().out)


def test_the_summary_tells_what_an_ended_run_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample_run.good_run()
    first, second = run.cells
    told = CaseResult(f"{first.id}:w/a:{NOT_RUN}", "w/a", NOT_RUN, Verdict.SKIP, ENDED)
    cut = replace(first, cases=(*first.cases, told))
    ended = replace(run, cells=(cut, replace(second, cases=(), notes=(ENDED,))))
    print_summary(ended, None, tmp_path, 1.0, as_json=False)
    said = "1 workload and 1 cell not run: ended at the first failure"
    assert f"\n{said}; `lab run --resume {run.run.id}` goes on\n" in capsys.readouterr().out
    print_summary(ended, None, tmp_path, 1.0, as_json=True)
    assert json.loads(capsys.readouterr().out)["not_run"] == [second.id, f"{first.id}:w/a"]


def parsed(command: str, *kernels: str) -> list[str]:
    """Have the real command line read a command; give the ids of the builds that it plans."""
    words = shlex.split(command)
    assert words[0] == "lab"
    asked = cli.commands[words[1]].make_context(words[1], words[2:]).params
    if words[1] == "rerun":
        return [str(CaseId.parse(asked["words"][1]).cell.build)]
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    named = tuple(replace(config.kernels[0], name=name) for name in kernels if name != "cli")
    config = replace(config, kernels=(*config.kernels, *named))
    plan = make_plan(config, selection_of(asked), tuple(ARCHES))
    return [build.id for build in plan.builds]


@pytest.mark.parametrize(
    ("kernel", "source", "series"),
    [
        ("v6.12", "debian:6.12=6.12.117-1", ""),
        ("cli", "debian:6.12=6.12.117-1", "{}/my patches/v3.mbx"),
        ("cli", "path:{}/linux; touch x", ""),
        ("cli", "git:{}/linux#0123abcd", "git:{}/linux#v6.12..v3"),
        ("base", "debian:6.1=6.1.150-1", ""),
    ],
)
def test_the_command_behind_a_failed_build_is_one(
    kernel: str, source: str, series: str, tmp_path: Path
) -> None:
    for name in ("linux", "linux; touch x", "my patches/v3.mbx"):
        (tmp_path / name).mkdir(parents=True)
    source, series = source.format(tmp_path), series.format(tmp_path)
    run = sample_run.broken_run()
    patch = (PatchState(1, "mm: x", "A", "0" * 64, True),) if series else ()
    record = KernelRecord(kernel, source, "6.12.117", patch, series_origin=series)
    build = BuildRecord(
        f"{kernel}/no-thp/arm64", kernel, "no-thp", "arm64", Verdict.FAIL, "mm/a.c:1: no", 1.0,
        False, "",
    )  # fmt: skip
    run = replace(run, kernels=(record,), builds=(build,), cells=())
    (again,) = [c.case.rerun for c in cases_of(run) if c.case.workload == "build"]
    expected = kernel if kernel == "v6.12" else "cli"
    assert parsed(again) == [f"{expected}/no-thp/arm64"]
    assert f"repeat with: {again}" in junit.render(run).replace("&apos;", "'").replace(
        "&quot;", '"'
    )
    if series:
        applied = [c.case.rerun for c in cases_of(run) if c.case.workload == "series"]
        assert parsed(applied[0])[0].startswith("cli/")
        bent = replace(run, kernels=(replace(record, apply="fuzz"),))
        (again,) = [c.case.rerun for c in cases_of(bent) if c.case.workload == "series"]
        assert shlex.split(again)[-4:] == ["--apply", "fuzz", "-p", "smoke"]
        assert parsed(again)[0].startswith("cli/")
    # It was compiled although a symbol did not take, and is to be once more.
    missed = replace(build, mismatches=(ConfigMismatch("A", "y", "n", "mine.config:1"),))
    again = build_case(run, missed).rerun
    assert again.endswith(" --build-mismatched")
    assert parsed(again) == [f"{expected}/no-thp/arm64"]
    by_clang = build_case(run, replace(build, toolchain="clang-16")).rerun
    assert by_clang.endswith(" --toolchain clang-16")
    assert parsed(by_clang) == [f"{expected}/no-thp/arm64"]
    stopped = replace(missed, reason="not compiled: CONFIG_A is n")
    assert not build_case(run, stopped).rerun.endswith(" --build-mismatched")


def test_the_command_behind_every_case_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sample_run.broken_run()
    (tmp_path / "patches/broken").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    lab_yaml = dict.fromkeys(kernel.name for kernel in run.kernels)
    commands = [placed.case.rerun for placed in cases_of(run)]
    assert all(parsed(command, *lab_yaml) for command in commands if command)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--series", "/etc/passwd"), "lab: /etc/passwd holds no diff"),
        (("--series", "/nowhere.mbx"), "/nowhere.mbx does not exist"),
        (("--source", "path:/nowhere"), "/nowhere does not exist"),
        (("--source", "path:/etc"), "lab: /etc has no Makefile"),
        (("--source", "git:/etc#HEAD"), "lab: /etc"),
        (("--source", "tar:/etc/passwd"), "lab: /etc/passwd"),
    ],
)
@pytest.mark.usefixtures("kept_programs")
def test_wrong_input_leaves_no_run(
    lab: Callable[..., Any], stored: Path, words: tuple[str, str], said: str
) -> None:
    reports = stored / "reports"
    before = sorted(path.name for path in reports.iterdir())
    latest = (reports / "latest").resolve()
    done = lab("run", *words, "--arch", "amd64", "--workload", "ledger/leak", "--plain")
    assert done.status == 2, done
    assert said in done.err
    assert ("nothing was built, and no run was made" in done.err) is said.startswith("lab: ")
    assert "kernel cli: " not in done.err
    assert "kernel cli ERROR" not in done.out  # it is told once
    assert sorted(path.name for path in reports.iterdir()) == before
    assert (reports / "latest").resolve() == latest


def test_architectures_have_other_names_too(lab: Callable[..., Any], folder: Path) -> None:
    for given, meant in (("amd64", "x86_64"), ("aarch64", "arm64")):
        plan = json.loads(lab("plan", "--arch", given, "--json").out)
        assert {build["arch"] for build in plan["builds"]} == {meant}


def test_a_toolchain_of_the_command_line(lab: Callable[..., Any], folder: Path) -> None:
    plan = json.loads(lab("plan", "--toolchain", "clang-16", "--json").out)
    assert {build["toolchain"] for build in plan["builds"]} == {"clang-16"}
    assert "(by clang-16)" in lab("plan", "--toolchain", "clang-16").out
    assert lab("plan", "--toolchain", "tcc").status == 2


@pytest.mark.parametrize("command", ["run", "build"])
def test_a_missing_compiler_makes_no_run(
    command: str, lab: Callable[..., Any], folder: Path
) -> None:
    done = lab(command, "--arch", "x86_64", "--toolchain", "clang-99", "--plain")
    assert done.status == 3, done
    assert "clang-99 cannot compile x86_64 kernels: clang-99 and ld.lld-99" in done.err
    assert "clang-99 lld-99 llvm-99" in done.err
    assert not list((folder / "reports").glob("2*"))


def test_an_unknown_shape_leads_to_the_shapes(lab: Callable[..., Any], folder: Path) -> None:
    done = lab("shell", "--shape", "huge")
    assert done.status == 2
    assert "no shape 'huge'" in done.err
    assert "`lab list shapes` shows them" in done.err


def test_a_time_budget_may_be_a_bare_number(lab: Callable[..., Any], folder: Path) -> None:
    done = lab("run", "--time-budget", "300", "--kernel", "none-such")
    assert "no kernel 'none-such'" in done.err


@pytest.mark.parametrize(
    ("options", "retries"),
    [
        ({}, None),
        ({"retries": 7, "no_retry": False}, 7),
        ({"retries": None, "no_retry": True}, 0),
        ({"retries": 0, "no_retry": True}, 0),
    ],
)
def test_how_often_what_regressed_is_tried_again(
    options: dict[str, Any], retries: int | None
) -> None:
    told = run_options_of({"quiet": False, "as_json": False, **options})
    assert told.retries == retries


def test_no_retry_and_so_many_do_not_go_together(lab: Callable[..., Any], folder: Path) -> None:
    done = lab("run", "--no-retry", "--retries", "3")
    assert done.status == 2
    assert "--no-retry and --retries: one of them" in done.err


@pytest.mark.usefixtures("kept_programs")
def test_a_workload_that_does_not_compile_is_told_first(
    lab: Callable[..., object], folder: Path
) -> None:
    """Before anything is fetched or built, and without a run left behind."""
    tests = folder / "guest-tests"
    (tests / "bad").mkdir(parents=True)
    (tests / "lib").symlink_to(HOME / "guest-tests" / "lib")
    (tests / "bad" / "x.c").write_text("int main(void) { return nothing_here; }\n")
    (tests / "bad" / "manifest.yaml").write_text(
        "family: bad\ndescription: broken\n"
        "workloads:\n  - {name: x, program: x.c, description: does not compile}\n"
    )
    (folder / "lab.yaml").write_text(
        "version: 1\nkernels: {k: {source: 'debian:6.12'}}\n"
        "configs: {default: {fragments: [base]}}\nshapes: {small: {}}\n"
        "default_profile: p\nworkload_folders: [guest-tests]\n"
        "profiles: {p: {matrix: [{configs: [default], arches: [x86_64], shapes: [small]}]}}\n"
    )
    done = lab("run")
    assert done.status == 2, done  # type: ignore[attr-defined]
    assert "x.c:1" in done.err  # type: ignore[attr-defined]
    assert not (folder / "reports").exists()
