# SPDX-License-Identifier: GPL-2.0-only
"""docs/nightly.md and docs/ci: their lines run against a lab that says how it was called."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import HOME
from orchestrator.commands.arguments import cli

TEXT = (HOME / "docs" / "nightly.md").read_text(encoding="utf-8")
CI = HOME / "docs" / "ci"

# Notes its arguments, writes a report where it was told to, and ends as it was told to.
STUB = """#!/bin/sh
echo "$*" >>calls
while [ $# -gt 0 ]; do
    if [ "$1" = --out ]; then
        ls "$2" >/dev/null 2>&1 && echo "$2 is there already" >>calls
        mkdir -p "$2" && echo x >"$2/junit.xml"
    fi
    shift
done
exit "${STUB_STATUS:-0}"
"""


def cron_line() -> str:
    found = re.search(r"^30 21 \* \* \* (.*)$", TEXT, re.M)
    assert found is not None
    return found[1]


def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CI / "nightly.gitlab-ci.yml").read_text())["nightly"]
    return found


def github() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CI / "nightly.yml").read_text())["jobs"]["lab"]
    return found


def github_line() -> str:
    (step,) = [s["run"] for s in github()["steps"] if "lab nightly" in s.get("run", "")]
    return str(step)


def jenkins_script() -> str:
    found = re.search(r"script: '''(.*?)'''", (CI / "Jenkinsfile").read_text(), re.S)
    assert found is not None
    return found[1]


def systemd_line() -> str:
    found = re.search(r"^ExecStart=%h/lab/(.*)$", (CI / "lab-nightly.service").read_text(), re.M)
    assert found is not None
    return found[1]


SCRIPTS = {
    "cron": cron_line,
    "gitlab": lambda: "\n".join(gitlab()["script"]),
    "github": github_line,
    "jenkins": jenkins_script,
    "systemd": systemd_line,
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    stub = folder / ".venv" / "bin" / "lab"
    stub.parent.mkdir(parents=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    return folder


def sh(lab: Path, script: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a script as cron and CI do: the shell stops at the first command that fails."""
    return subprocess.run(
        ["sh", "-e", "-c", script.replace("/srv/lab", str(lab))],
        cwd=lab, env={**os.environ, "STUB_STATUS": str(status)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_job_is_a_night_and_ends_as_it_did(name: str, lab: Path) -> None:
    for status in (0, 1, 2, 3, 130):
        if name not in ("cron", "systemd", "jenkins"):  # there each job has a folder of its own
            shutil.rmtree(lab / "reports", ignore_errors=True)
        done = sh(lab, SCRIPTS[name](), status)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    calls = (lab / "calls").read_text().splitlines()
    assert len(calls) == 5
    assert len(set(calls)) == 1
    words = shlex.split(calls[0])
    assert words[0] == "nightly"
    cli.commands["nightly"].make_context("nightly", words[1:])  # its options exist


def test_without_a_lab_the_job_fails(lab: Path) -> None:
    shutil.rmtree(lab / ".venv")
    assert sh(lab, cron_line()).returncode == 127
    shutil.rmtree(lab)
    lab.parent.mkdir(exist_ok=True)
    script = cron_line().replace("/srv/lab", str(lab))
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode != 0


def test_a_container_is_not_given_the_hosts_path(tmp_path: Path) -> None:
    """``github.workspace`` is the runner's; the variable is what a container has it mounted as."""
    for path in CI.glob("*.yml"):
        assert "github.workspace" not in path.read_text()
    first = github()["steps"][0]["run"].partition("\n")[0]
    told = tmp_path / "env"
    env = {"GITHUB_WORKSPACE": "/__w/a/a", "GITHUB_ENV": str(told), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-e", "-c", first], env=env, check=True)
    assert told.read_text() == "LAB_CACHE=/__w/a/a/.lab-cache\n"


def test_what_is_run_is_what_is_kept() -> None:
    job = gitlab()
    assert job["artifacts"]["reports"]["junit"] == "reports/nightly/junit.xml"
    assert job["artifacts"]["when"] == "always"
    for name in ("gitlab", "github", "jenkins"):
        script = SCRIPTS[name]()
        assert "--out reports/nightly" in script
        assert " --plain " in script
        assert "--keep-baseline .lab-good" in script
    assert ".lab-good/" in job["cache"]["paths"]
    (cache,) = [s for s in github()["steps"] if "actions/cache" in s.get("uses", "")]
    assert cache["with"]["path"] == ".lab-good"
    assert "testResults: 'reports/nightly/junit.xml'" in (CI / "Jenkinsfile").read_text()
    upload = [s for s in github()["steps"] if "upload-artifact" in s.get("uses", "")]
    assert upload[0]["with"]["path"] == "reports/nightly/"
    shown = re.search(r"Its script is one line:\n\n    (.*)\n", TEXT)
    assert shown is not None
    assert job["script"] == [shown[1]]


def test_jobs_outlast_the_time_budget() -> None:
    text = (HOME / "lab.yaml").read_text(encoding="utf-8")
    budget = yaml.safe_load(text)["profiles"]["nightly"]["time_budget"]
    hours = int(budget.removesuffix("h"))
    timeout = gitlab()["timeout"].removesuffix("h")
    assert int(timeout) > hours
    assert f"timeout(time: {timeout}, unit: 'HOURS')" in (CI / "Jenkinsfile").read_text()
    assert github()["timeout-minutes"] < 360


# ---------------------------------------------------------------- by the tools of others


def tool(name: str) -> str:
    """A checker that is no part of the lab; where it is not installed the test says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_units_are_right_by_systemd(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    (tmp_path / "lab/.venv/bin").mkdir(parents=True)
    (tmp_path / "lab/.venv/bin/lab").write_text("#!/bin/sh\n")
    (tmp_path / "lab/.venv/bin/lab").chmod(0o755)
    units = [tmp_path / f"lab-nightly.{kind}" for kind in ("service", "timer")]
    for unit in units:
        unit.write_text((CI / unit.name).read_text().replace("%h/lab", str(tmp_path / "lab")))

    def said() -> str:
        done = subprocess.run(
            [analyze, "--user", "--man=no", "verify", *units], timeout=300, check=False,
            env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True,
        )  # fmt: skip
        return f"{done.returncode}{done.stdout}{done.stderr}"

    assert said() == "0"
    units[0].write_text(units[0].read_text().replace("KillMode", "KilMode"))
    assert "Unknown key" in said()  # it looks, and says it without a status


@pytest.mark.parametrize(
    ("schema", "name", "key"),
    [
        ("vendor.gitlab-ci", "nightly.gitlab-ci.yml", "script:"),
        ("vendor.github-workflows", "nightly.yml", "runs-on:"),
        ("vendor.github-workflows", "pull-request.yml", "runs-on:"),
    ],
)
def test_ci_files_fit_their_schemas(schema: str, name: str, key: str, tmp_path: Path) -> None:
    argv = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema]

    def said(file: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, file], capture_output=True, text=True, timeout=120, check=False
        )

    done = said(CI / name)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / name
    broken.write_text((CI / name).read_text().replace(f" {key}", f" no-{key}"))
    assert "Schema validation errors" in said(broken).stdout


def test_the_workflows_pass_actionlint() -> None:
    argv = [tool("actionlint"), "-no-color", *sorted(CI.glob("*.yml"))]
    argv = [word for word in argv if "gitlab" not in str(word)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
