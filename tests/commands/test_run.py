# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab run`` does around a run: its folder, and its last words on a terminal."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator import HOME
from orchestrator.commands import record
from orchestrator.commands import run as command
from orchestrator.commands.summary import print_summary
from orchestrator.host.cache import scratch
from orchestrator.host.cache.files import Cache
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.errors import LabError, UserError
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec, Plan
from orchestrator.plan.matrix import Selection
from orchestrator.results import history, runs
from orchestrator.runner.context import Places


def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def test_two_runs_in_one_second_have_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "stamp", lambda: "20260101-000000")
    made = [runs.run_folder(places(tmp_path).reports, None).name for _ in range(3)]
    assert made == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_out_must_be_new_or_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert runs.run_folder(places(tmp_path).reports, empty) == empty
    (empty / "results.json").write_text("{}")
    with pytest.raises(UserError, match="no empty folder"):
        runs.run_folder(places(tmp_path).reports, empty)
    with pytest.raises(UserError, match="no empty folder"):
        runs.run_folder(places(tmp_path).reports, empty / "results.json")


@pytest.mark.parametrize("bad", ["damaged", "newer", "unreadable"])
def test_a_bad_history_does_not_cost_the_reports(tmp_path: Path, bad: str) -> None:
    where = places(tmp_path)
    run = sample_run.good_run()
    folder = runs.run_folder(where.reports, None)
    if bad == "unreadable":
        where.history.mkdir()
    elif bad == "newer":
        history.record(where.history, run)
        with contextlib.closing(sqlite3.connect(where.history)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        where.history.write_bytes(b"no database" * 100)
    assert record.known_noise(where) == {}
    # It is told all the same, once everything else is kept.
    with pytest.raises(LabError, match="history") as caught:
        record.finish(where, run, folder, compare(run, run))
    assert caught.value.hint
    for name in ("results.json", "junit.xml", "index.html"):
        assert (folder / name).stat().st_size
    assert (where.reports / "latest").resolve() == folder


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


@pytest.mark.parametrize("others", [(), ("v6.1", "v6.6")])
def test_a_kernel_baseline_needs_one_kernel_under_test(
    folder: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    def plan(*kernels: str, baseline: str | None = "v6.12") -> Plan:
        config = ConfigSpec("default")
        builds = [Build(f"{k}/default/x86_64", KernelSpec(k, "x"), config, "x86_64")
                  for k in kernels]  # fmt: skip
        return Plan("p", tuple(builds), (), baseline=baseline)

    monkeypatch.setattr(command, "_baseline", lambda *_: (None, Selection()))
    monkeypatch.setattr(command, "execute", lambda *_: 0)
    monkeypatch.setattr(command, "make_plan", lambda *_: plan("v6.12", *others))
    with pytest.raises(UserError, match="exactly one kernel under test") as caught:
        command.run(Selection(), command.RunOptions(baseline="v6.12"))
    assert all(name in caught.value.message for name in others)
    for fine in (plan("v6.12", "cli"), plan("a", "b", baseline=None)):
        monkeypatch.setattr(command, "make_plan", lambda *_, fine=fine: fine)
        assert command.run(Selection(), command.RunOptions(baseline="v6.12")) == 0


def test_the_summary_tells_of_cells_that_were_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sample_run.good_run()
    left = replace(run.cells[1], cases=(), notes=(f"{BUDGET} before its build",))
    cut = replace(run, cells=(run.cells[0], left))
    print_summary(cut, None, tmp_path, 1.0, as_json=False)
    assert "\n1 cell not run: time budget\n" in capsys.readouterr().out
    print_summary(cut, None, tmp_path, 1.0, as_json=True)
    assert json.loads(capsys.readouterr().out)["not_run"] == [left.id]
    print_summary(run, None, tmp_path, 1.0, as_json=True)
    assert "not_run" not in json.loads(capsys.readouterr().out)


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


def test_a_run_that_is_not_over_has_the_status_of_one_that_was_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any time, its results must not read as a success."""
    from orchestrator.runner import local

    seen: list[int] = []

    def carry_out(plan: Plan, settings: object, on_change: Callable[..., None], **_: object):
        state = local.Progress()
        on_change(state)
        stored = json.loads((folder / "out" / "results.json").read_text())["run"]
        assert stored["finished"] == ""
        seen.append(stored["exit_status"])
        return state

    cleaned: list[Path] = []
    monkeypatch.setattr(scratch, "clean_leftovers", cleaned.append)
    monkeypatch.setattr(local, "carry_out", carry_out)
    options = command.RunOptions(out=folder / "out", plain=True, boot=False)
    (folder / "cache-of-the-lab").mkdir()
    where = Places(folder / "lab.yaml", folder / "reports", Cache(folder / "cache"), folder)
    assert command.execute(where, Plan("p", (), ()), options) == 3  # nothing was tried
    assert seen == [130]
    assert cleaned == []  # finding the lab's places has done that
