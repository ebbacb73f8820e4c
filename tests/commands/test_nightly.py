# SPDX-License-Identifier: GPL-2.0-only
"""A night from the command line, its stages played; and who is told of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mail_server import mail_server

from orchestrator.commands.arguments import cli
from orchestrator.commands.nightly import LOCK
from orchestrator.host.only_one import only_one
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.spec import Build, Cell, KernelSpec
from orchestrator.results import runs
from orchestrator.runner import run as runner
from orchestrator.runner.context import Context, Kernel
from orchestrator.runner.stages import Ran, Stages

MATRIX = """\
version: 1
default_profile: nightly
kernels:
  k: {source: "debian:6.12"}
configs:
  one: {fragments: [base]}
  two: {fragments: [base, thp]}
shapes:
  small: {cpus: 1}
profiles:
  nightly:
    time_budget: 8h
    matrix:
      - {configs: [one, two], arches: [x86_64], shapes: [small], workloads: [uffd-move/swap]}
  short:
    matrix:
      - {configs: [two], arches: [x86_64], shapes: [small], workloads: [uffd-move/swap]}
"""
ONE, TWO = "k/one/x86_64/small", "k/two/x86_64/small"


@dataclass
class Played:
    """Stages that are played: ``fail`` holds the configs whose case fails; what ran, in order."""

    folder: Path
    fail: set[str] = field(default_factory=set)
    ran: list[str] = field(default_factory=list)

    def stages(self) -> Stages:
        return Stages(lambda *_: None, self._prepare, lambda *_: None, self._build, self._run)

    def _prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", "debian:6.12=6.12.1")

    def _build(self, wanted: Build, *_: Any) -> BuildResult:
        return BuildResult(wanted, Verdict.PASS, "", 1.0, False, image_sha256="sha")

    def _run(self, cell: Cell, *_: Any) -> Ran:
        self.ran.append(cell.build.config.name)
        found = Verdict.FAIL if cell.build.config.name in self.fail else Verdict.PASS
        name = "uffd-move/swap"
        case = CaseResult(f"{cell.id}:{name}:c", name, "c", found, "the books are wrong", 1.0)
        record = CellRecord(
            cell.id, "k", cell.build.config.name, "x86_64", "small", "tcg", found, 1.0, (case,)
        )
        return Ran(record, cell)


@pytest.fixture
def night(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.delenv("CI", raising=False)
    played = Played(folder)
    monkeypatch.setattr(runner, "Stages", played.stages)
    monkeypatch.setattr(runner, "check_compilers", lambda _: None)
    monkeypatch.setattr(runner, "leave_capsules", lambda _, run, *__: run)
    settings(folder, "")
    return played


def settings(folder: Path, text: str) -> None:
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    (folder / "lab.yaml").write_text(MATRIX + (f"nightly:\n{lines}" if lines else ""))


def latest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "reports/latest/results.json").read_text())["run"]
    return found


Lab = Callable[..., Any]


def test_a_red_night_is_red_until_it_is_mended(night: Played, lab: Lab) -> None:
    first = lab("nightly", "--quiet")
    assert (first.status, first.out, first.err) == (0, "", "")
    clean = latest(night.folder)
    assert (clean["complete"], clean["baseline"], clean["profile"]) == (True, "", "nightly")
    night.fail = {"two"}
    for _ in range(2):
        red = lab("nightly", "-q")
        assert red.status == 1
        assert red.err == ""
        assert red.out.startswith("lab nightly: FAIL: ")
        assert "\nFAIL: " in red.out
        assert f"  report    {night.folder}/reports/2" in red.out
        assert "the books are wrong" in red.out
        assert latest(night.folder)["baseline"] == clean["id"]
    night.fail = set()
    assert lab("nightly", "-q").out == ""
    assert latest(night.folder)["baseline"] == clean["id"]
    assert lab("nightly", "-q").status == 0
    assert latest(night.folder)["baseline"] != clean["id"]


def test_what_failed_last_comes_first(night: Played, lab: Lab) -> None:
    night.fail = {"two"}
    assert lab("nightly", "-q").status == 1
    assert night.ran == ["one", "two"]
    night.ran.clear()
    assert lab("nightly", "-q").status == 1
    assert night.ran == ["two", "one"]
    (night.folder / "reports" / "history.sqlite").write_text("no database")
    night.ran.clear()
    assert "was damaged" in lab("nightly", "-q").err
    assert night.ran == ["two", "one"]  # made anew of the stored runs, it knows as much
    (night.folder / "reports" / "history.sqlite").unlink()
    night.ran.clear()
    lab("nightly", "-q")
    assert night.ran == ["one", "two"]


def test_a_night_that_was_cut_is_told_and_is_no_baseline(night: Played, lab: Lab) -> None:
    settings(night.folder, "time_budget: 0.000000001")
    cut = lab("nightly", "-q", "--time-budget", "0.001s")
    assert cut.status == 3  # nothing was run at all
    assert "cells not run: time budget" in cut.out
    assert not latest(night.folder)["complete"]
    assert BUDGET in (night.folder / "reports/latest/results.json").read_text()
    assert lab("nightly", "-q").status in (0, 3)


def test_a_night_at_the_same_time_ends_with_3_and_says_who(night: Played, lab: Lab) -> None:
    with only_one(night.folder / "reports" / LOCK, "another night", "process 42 of ann"):
        second = lab("nightly", "-q")
    assert second.status == 3
    assert second.err.startswith("lab: another night is at work: process 42 of ann\n")
    assert night.ran == []
    assert lab("nightly", "-q").status == 0


def test_the_lock_says_who_has_it(night: Played, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run = night._run

    def look(*arguments: Any) -> Ran:
        seen.append((night.folder / "reports" / LOCK).read_text())
        return run(*arguments)

    monkeypatch.setattr(night, "_run", look)
    lab("nightly", "-q")
    assert seen[0].startswith("process ")
    assert ", since 20" in seen[0]


def test_the_run_is_one_that_lab_run_can_repeat(night: Played, lab: Lab) -> None:
    done = lab(
        "nightly", "--plain", "--arch", "x86_64", "--config", "two", "--workload", "uffd-move/swap"
    )
    assert done.status == 0
    assert "no clean and complete run of profile nightly yet" in done.err
    assert night.ran == ["two"]
    assert lab("nightly", "--series", "-").status == 2
    words = shlex.split(latest(night.folder)["command"])
    assert words[:4] == ["lab", "run", "-p", "nightly"]
    asked = cli.commands["run"].make_context("run", words[2:]).params
    assert (asked["configs"], asked["arches"], asked["baseline"], asked["workloads"]) == (
        ("two",), ("x86_64",), "last-clean", ("uffd-move/swap",),
    )  # fmt: skip
    # An option comes before lab.yaml.
    settings(night.folder, "profile: short")
    lab("nightly", "-q")
    assert latest(night.folder)["profile"] == "short"
    lab("nightly", "-q", "-p", "nightly", "--baseline", "none")
    assert (latest(night.folder)["profile"], latest(night.folder)["baseline"]) == ("nightly", "")


def test_lab_run_takes_the_last_clean_one(night: Played, lab: Lab) -> None:
    assert "every failure counts" in lab("run", "-p", "nightly", "--baseline", "last-clean").err
    clean = latest(night.folder)["id"]
    night.fail = {"one"}
    assert lab("run", "-p", "nightly", "--plain", "--baseline", "last-clean").status == 1
    assert latest(night.folder)["baseline"] == clean
    told = lab("run", "-p", "nightly", "--json", "--baseline", "last-clean").out.splitlines()[-1]
    assert json.loads(told)["complete"] is True


def test_a_baseline_that_is_kept_elsewhere(night: Played, lab: Lab, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    words = ("nightly", "-q", "--keep-baseline", str(kept), "--out")
    assert lab(*words, str(tmp_path / "one")).status == 0
    assert (kept / "results.json").is_file()
    before = (kept / "results.json").read_bytes()
    night.fail = {"two"}
    assert lab(*words, str(tmp_path / "two")).status == 1
    assert json.loads((tmp_path / "two/results.json").read_text())["run"]["baseline"] == str(kept)
    assert (kept / "results.json").read_bytes() == before
    assert [entry.name for entry in kept.iterdir()] == ["results.json"]
    (tmp_path / "file").touch()
    night.fail = set()
    settings(night.folder, f"keep_baseline: {tmp_path / 'file/x'}")
    failed = lab("nightly", "-q")
    assert failed.status == 3
    assert "cannot keep the baseline" in failed.err


def test_old_runs_go_and_the_baseline_stays(
    night: Played, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = iter(range(100))
    monkeypatch.setattr(runs, "stamp", lambda: f"20260101-0000{next(number):02}")
    assert lab("nightly", "-q").status == 0
    night.fail = {"one"}
    for _ in range(4):
        assert lab("nightly", "-q", "--keep-reports", "2").status == 1
    names = [run.name[-2:] for run in runs.list_runs(night.folder / "reports")]
    assert len(names) == 3
    assert names[0] == "00"


def test_updates_come_first_and_a_failing_one_loses_no_night(night: Played, lab: Lab) -> None:
    settings(night.folder, "update: [touch 'up to date', 'false']")
    done = lab("nightly", "--plain")
    assert (night.folder / "up to date").exists()
    assert done.out.startswith("update: touch 'up to date'\nupdate: false\n")
    assert done.status == 3
    assert "lab: the update failed, the sources are as they were: false ended" in done.err
    assert latest(night.folder)["exit_status"] == 0
    quiet = lab("nightly", "-q")
    assert quiet.out.startswith("lab nightly: pass: 4 cases in 2 cells; the update failed, ")
    assert "\nTrouble: the update failed" in quiet.out


# ---------------------------------------------------------------- who is told


def mail_of(port: int, *more: str) -> str:
    return "\n".join(["mail:", "  server: 127.0.0.1", f"  port: {port}", "  from: lab@example.org",
                      "  to: [you@example.org]", *more])  # fmt: skip


def test_a_red_night_is_mailed_and_a_clean_one_is_not(night: Played, lab: Lab) -> None:
    with mail_server() as server:
        settings(night.folder, mail_of(server.port, 'url: "https://ci.example.org/{run}/"'))
        assert lab("nightly", "-q").status == 0
        assert server.mails == []
        night.fail = {"two"}
        red = lab("nightly", "-q")
        assert (red.status, red.out, red.err) == (1, "", "")  # cron has nothing to mail too
        (message,) = server.messages
        assert message["To"] == "you@example.org"
        assert message["Subject"].startswith("lab nightly: FAIL: ")
        name = latest(night.folder)["id"]
        assert f"  report    https://ci.example.org/{name}/\n" in message.get_content()
        night.fail = set()
        assert lab("nightly", "-q", "--always").status == 0
        assert server.messages[1]["Subject"] == "lab nightly: pass: 4 cases in 2 cells"
        plain = lab("nightly", "--plain", "--always")
        assert plain.out.endswith("\nsummary: sent to you@example.org\n")


def test_mail_that_does_not_go_is_told_and_loses_nothing(night: Played, lab: Lab) -> None:
    with mail_server(rcpt="550 no such user") as server:
        settings(night.folder, mail_of(server.port))
        night.fail = {"one"}
        red = lab("nightly", "-q")
        assert red.status == 1
        assert red.err == (
            f"lab: cannot send mail by 127.0.0.1, port {server.port}: 550 no such user\n"
        )
        assert red.out.startswith("lab nightly: FAIL: ")  # so cron mails it
        night.fail = set()
        assert lab("nightly", "-q", "--always").status == 3


def test_a_night_without_a_run_is_mailed_too(night: Played, lab: Lab) -> None:
    with mail_server() as server:
        settings(night.folder, mail_of(server.port))
        none = lab("nightly", "-q", "--config", "three")
        assert none.status == 2
        (message,) = server.messages
    assert message["Subject"].startswith("lab nightly: ERROR: no run: ")
    assert "three" in message.get_content()


def test_a_bug_of_the_lab_is_mailed_too(
    night: Played, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(runner, "run_plan", broken)
    with mail_server() as server:
        settings(folder, mail_of(server.port))
        with pytest.raises(ZeroDivisionError):
            cli.main(["nightly", "-q"], standalone_mode=False)
        assert "unexpected ZeroDivisionError: by zero" in server.messages[0].get_content()


def test_a_command_of_ones_own(night: Played, lab: Lab) -> None:
    (night.folder / "tell").write_text('#!/bin/sh\n{ echo "$1|$2|$3"; cat; } >>told\n')
    (night.folder / "tell").chmod(0o755)
    settings(night.folder, 'command: ./tell {subject} {status} "{run} {x} {url}"')
    night.fail = {"two"}
    assert lab("nightly", "-q").status == 1
    told = (night.folder / "told").read_text().splitlines()
    subject, status, rest = told[0].split("|")
    name = latest(night.folder)["id"]
    assert subject.startswith("lab nightly: FAIL: ")
    assert (status, rest) == ("1", f"{name} {{x}} {night.folder}/reports/{name}/index.html")
    assert told[1].startswith("Tested: ")
    settings(night.folder, "command: no-such-program")
    missing = lab("nightly", "-q")
    assert missing.status == 1
    assert "lab: the program 'no-such-program' is not installed" in missing.err


def test_a_test_of_the_summary_runs_nothing(night: Played, lab: Lab) -> None:
    nobody = lab("nightly", "--test-summary")
    assert (nobody.status, nobody.out) == (2, "")
    assert "neither mail: nor command:" in nobody.err
    with mail_server() as server:
        settings(night.folder, mail_of(server.port))
        assert lab("nightly", "--test-summary").out == "sent to you@example.org\n"
        assert server.messages[0]["Subject"] == "lab nightly: a test"
    assert lab("nightly", "--test-summary").status == 3
    settings(night.folder, mail_of(1, "  user: me", "  password_file: none"))
    wrong = lab("nightly", "-q")
    assert wrong.status == 2
    assert "cannot read the password in" in wrong.err
    assert night.ran == []


def test_nobodys_own_defaults_are_in_it(
    night: Played, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("config: two\n")
    monkeypatch.setenv("LAB_CONFIG", str(tmp_path / "mine.yaml"))
    assert lab("nightly", "-q").err == ""
    assert sorted(night.ran) == ["one", "two"]
