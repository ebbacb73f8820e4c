# SPDX-License-Identifier: GPL-2.0-only
"""docs/ci/pull-request.yml: its commands are commands, and its scripts do what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from plan_files import make_kernel_tree

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.commands.options import selection_of
from orchestrator.model.arch import ARCHES
from orchestrator.plan.find import LAB_FILE
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import make_plan

WORKFLOW = HOME / "docs" / "ci" / "pull-request.yml"


def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["lab"]
    return found


def scripts() -> Iterator[str]:
    """What each step runs, with a value for what GitHub fills in."""
    for step in job()["steps"]:
        if "run" in step:
            yield re.sub(r"\$\{\{ matrix\.arch \}\}", "x86_64", step["run"])


def script(words: str) -> str:
    (found,) = (text for text in scripts() if words in text)
    return found


def commands() -> Iterator[list[str]]:
    for text in scripts():
        for line in re.findall(r"lab/\.venv/bin/lab (.*)", text.replace("\\\n", " ")):
            line = line.partition(" >>")[0].replace("$COMMITS", "2")
            line = line.replace("$PROFILE", job()["env"]["PROFILE"])
            yield shlex.split(line)


def test_its_commands_and_options_are_there() -> None:
    found = list(commands())
    assert [words[0] for words in found] == ["run", "report"]
    for name, *words in found:
        cli.commands[name].make_context(name, words)


def test_a_pull_request_is_a_series_on_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the job has it: a clone that holds the series and its base, and no more."""
    origin = tmp_path / "origin"
    make_kernel_tree(origin)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q", origin], check=True)
    for n in range(4):
        (origin / "file").write_text(f"{n}\n")
        subprocess.run([*git, "-C", origin, "add", "."], check=True)
        subprocess.run([*git, "-C", origin, "commit", "-q", "-m", f"mm: {n}"], check=True)
    clone = ["clone", "-q", "--depth=3", f"file://{origin}", tmp_path / "linux"]
    subprocess.run([*git, *clone], check=True)
    monkeypatch.chdir(tmp_path)
    (words,) = (words for words in commands() if words[0] == "run")
    options = cli.commands["run"].make_context("run", words[1:]).params
    from orchestrator.commands.base import against_base
    from orchestrator.kernel.series.load import load_series

    selection = against_base(selection_of(options), options["base"], None)
    plan = make_plan(load_config(HOME / LAB_FILE, tuple(ARCHES)), selection, tuple(ARCHES))
    assert {build.kernel.name for build in plan.builds} == {"cli", "base"}
    ours = {cell.build.config.name for cell in plan.cells}
    assert ours == {"host", "kunit", "kunit-kasan", "selftests"}  # what mm's own CI runs
    assert plan.baseline == "base"
    assert selection.series == f"git:{tmp_path}/linux#HEAD~2..HEAD"
    assert [patch.subject for patch in load_series(selection.series).patches] == ["mm: 2", "mm: 3"]


STUB = """#!/bin/sh
echo "$*" >>calls
case "$1" in
run) [ "$STUB_STATUS" = 2 ] || { mkdir -p reports; echo "{}" >reports/results.json; } ;;
report) echo "## the summary" ;;
esac
[ "$1" != run ] || exit "$STUB_STATUS"
"""


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_the_job_ends_as_the_run_does_and_has_a_summary(status: int, tmp_path: Path) -> None:
    lab = tmp_path / "lab" / ".venv" / "bin" / "lab"
    lab.parent.mkdir(parents=True)
    lab.write_text(STUB)
    lab.chmod(0o755)
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    env = os.environ | dict(zip(names, ("https://github.com", "me/linux", "7"), strict=True))
    env |= {"STUB_STATUS": str(status), "COMMITS": "2", "PROFILE": "mm-ci",
            "GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output"}  # fmt: skip

    def sh(text: str) -> int:
        return subprocess.run(["sh", "-e", "-c", text], cwd=tmp_path, env=env).returncode

    assert sh(script("depth=")) == 0
    assert (tmp_path / "output").read_text() == "depth=3\n"
    assert sh(script("lab run")) == status
    assert sh(script("lab report")) == 0
    told = "The run did not begin: its step says why." if status == 2 else "## the summary"
    assert (tmp_path / "summary.md").read_text() == f"{told}\n"
    if status != 2:
        assert (
            "--url https://github.com/me/linux/actions/runs/7" in (tmp_path / "calls").read_text()
        )


def test_what_fails_is_kept_and_nothing_can_be_written() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request" in workflow[True]  # YAML 1.1 reads `on` as true, GitHub does not
    steps = job()["steps"]
    uploads = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert [step["with"]["path"] for step in uploads] == ["reports/junit.xml", "reports/"]
    assert all(step["if"] == "always()" for step in uploads)
    (summary,) = [step for step in steps if step.get("name") == "Summary"]
    assert summary["if"] == "always()"
    assert job()["strategy"]["matrix"]["arch"] == list(ARCHES)
    assert job()["timeout-minutes"] < 360
