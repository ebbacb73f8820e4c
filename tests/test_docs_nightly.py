# SPDX-License-Identifier: GPL-2.0-only
"""docs/nightly.md as written: the scripts run against a lab that only says how it was called."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import HOME
from orchestrator.judge.outcome import BUDGET
from orchestrator.model.codec import plain
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord

TEXT = (HOME / "docs" / "nightly.md").read_text(encoding="utf-8")

# Notes its arguments, writes a result where it was told to, and ends as it was told to.
STUB = """#!/bin/sh
echo "$*" >>calls
folder=reports/latest
while [ $# -gt 0 ]; do
    if [ "$1" = --out ]; then folder=$2; fi
    shift
done
mkdir -p "$folder"
echo "$STUB_RESULT" >"$folder/results.json"
echo "a line of the run"
case "$STUB_RESULT" in *budget*) echo "1 cell not run: time budget" ;; esac
exit "${STUB_STATUS:-0}"
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def jobs() -> tuple[dict[str, Any], dict[str, Any]]:
    gitlab, github = (yaml.safe_load(text) for text in blocks("yaml"))
    return gitlab["nightly"], github["jobs"]["lab"]


def jenkins_script() -> str:
    (text,) = blocks("groovy")
    found = re.search(r"script: '''(.*?)'''", text, re.S)
    assert found is not None
    return found[1]


def github_script() -> str:
    (step,) = [s["run"] for s in jobs()[1]["steps"] if "lab run" in s.get("run", "")]
    return str(step)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    stub = folder / ".venv" / "bin" / "lab"
    stub.parent.mkdir(parents=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    return folder


DONE = CellRecord(
    "k/c/a/s", "k", "c", "a", "s", "tcg", Verdict.PASS, 1.0,
    (CaseResult("k/c/a/s:f/w:c", "f/w", "c", Verdict.PASS),), notes=("a time budget of its own",),
)  # fmt: skip
CUT = replace(DONE, cases=(), verdict=Verdict.SKIP, notes=(f"{BUDGET} before its build",))


def sh(lab: Path, script: str, status: int, *cells: CellRecord) -> subprocess.CompletedProcess[str]:
    """Run a script as CI does: the shell stops at the first command that fails."""
    result = json.dumps({"cells": [plain(cell) for cell in cells or (DONE,)]})
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=lab,
        env={
            **os.environ,
            "LAB": str(lab),
            "HOME": str(lab.parent),
            "STUB_STATUS": str(status),
            "STUB_RESULT": result,
        }
        | {"XDG_STATE_HOME": str(lab.parent / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


def baselines(lab: Path) -> list[str]:
    return re.findall(r"--baseline (\S+)", (lab / "calls").read_text())


@pytest.mark.parametrize("name", ["cron", "gitlab", "github", "jenkins"])
def test_only_a_clean_night_becomes_the_baseline(name: str, lab: Path) -> None:
    script = {
        "cron": blocks("sh")[0],
        "gitlab": "\n".join(jobs()[0]["script"]),
        "github": github_script(),
        "jenkins": jenkins_script(),
    }[name]
    # One that its time budget cut is not kept, however clean.
    assert sh(lab, script, 0, DONE, CUT).returncode == 0
    for status in (1, 0, 1, 3, 0):
        assert sh(lab, script, status).returncode == status
    assert sh(lab, script, 0, DONE, CUT).returncode == 0
    got = baselines(lab)
    kept = str(lab.parent / "state" / "lab-nightly") if name == "cron" else ".lab-good"
    assert got == ["none", "none", "none", kept, kept, kept, kept]
    where = lab.parent / "state" / "lab-nightly" if name == "cron" else lab / ".lab-good"
    assert "budget was" not in (where / "results.json").read_text()


def test_cron_mails_nothing_after_a_clean_night(lab: Path) -> None:
    script = blocks("sh")[0]
    clean = sh(lab, script, 0)
    assert (clean.stdout, clean.stderr) == ("", "")
    cut = sh(lab, script, 0, CUT)
    assert (cut.stdout, cut.stderr) == ("1 cell not run: time budget\n", "")
    red = sh(lab, script, 1)
    assert "a line of the run" in red.stdout
    assert "exit status 1" in red.stdout


def test_cron_without_a_lab_is_the_hosts_failure(lab: Path) -> None:
    shutil.rmtree(lab / ".venv")
    assert sh(lab, blocks("sh")[0], 0).returncode == 127
    script = blocks("sh")[0].replace("${LAB:-/srv/lab}", "/nonexistent")
    assert sh(lab, script, 0).returncode == 3


def test_a_container_is_not_given_the_hosts_path(tmp_path: Path) -> None:
    """``github.workspace`` is the runner's; the variable is what a container has it mounted as."""
    for text in (*blocks("yaml"), (HOME / "docs/ci/pull-request.yml").read_text()):
        assert "github.workspace" not in text
    github = jobs()[1]
    first = github["steps"][0]["run"].partition("\n")[0]
    told = tmp_path / "env"
    env = {"GITHUB_WORKSPACE": "/__w/a/a", "GITHUB_ENV": str(told), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-e", "-c", first], env=env, check=True)
    assert told.read_text() == "LAB_CACHE=/__w/a/a/.lab-cache\n"


def test_what_is_run_is_what_is_kept() -> None:
    gitlab, github = jobs()
    assert gitlab["artifacts"]["reports"]["junit"] == "reports/nightly/junit.xml"
    assert gitlab["artifacts"]["when"] == "always"
    for script in ("\n".join(gitlab["script"]), github_script(), jenkins_script()):
        assert "--out reports/nightly" in script
        assert " --plain " in script
    (jenkins,) = blocks("groovy")
    assert "testResults: 'reports/nightly/junit.xml'" in jenkins
    upload = [s for s in github["steps"] if "upload-artifact" in s.get("uses", "")]
    assert upload[0]["with"]["path"] == "reports/nightly/"


def test_jobs_outlast_the_time_budget() -> None:
    text = (HOME / "lab.yaml").read_text(encoding="utf-8")
    budget = yaml.safe_load(text)["profiles"]["nightly"]["time_budget"]
    hours = int(budget.removesuffix("h"))
    gitlab, github = jobs()
    assert int(gitlab["timeout"].removesuffix("h")) > hours
    assert f"timeout(time: {gitlab['timeout'].removesuffix('h')}, unit: 'HOURS')" in TEXT
    assert github["timeout-minutes"] < 360
