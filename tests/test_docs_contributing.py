# SPDX-License-Identifier: GPL-2.0-only
"""What CONTRIBUTING.md tells people to type works as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import run_lab

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.kernel.build import kconfig
from orchestrator.plan.manifest import read_workloads
from orchestrator.plan.problems import Problems

LIBRARY = HOME / "guest-tests" / "lib"
TEXT = (HOME / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The fenced block of a language that contains some text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    found = [text for text in blocks if containing in text]
    assert len(found) == 1, (language, containing)
    return str(found[0])


@pytest.fixture
def family(tmp_path: Path) -> Path:
    folder = tmp_path / "guest-tests" / "fresh"
    folder.mkdir(parents=True)
    (folder / "zero.c").write_text(block("c", "ktap_run"))
    (folder / "zero.py").write_text(block("python", "ktap.run"))
    (folder / "manifest.yaml").write_text(block("yaml", "family:"))
    return folder


def test_python_workload_runs(family: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(family / "zero.py")],
        env={**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1..1" in done.stdout.splitlines()
    assert "ok 1 reads-zero" in done.stdout.splitlines()


def test_c_workload_compiles_without_a_warning_and_runs(
    family: Path, compiled: Callable[..., dict[str, Path]]
) -> None:
    flags = ["-std=gnu11", "-O0", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{LIBRARY}"]
    argv = ["gcc", *flags, "-c", "-o", str(family / "zero.o"), str(family / "zero.c")]
    program = compiled(family / "zero.c")["fresh/zero"]
    subprocess.run(argv, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    assert "ok 1 reads-zero" in done.stdout.splitlines()


def test_workload_is_short(family: Path) -> None:
    code = [line for line in (family / "zero.c").read_text().splitlines() if line.strip(" \t{}")]
    assert len(code) <= 10


def test_manifest_is_valid(family: Path) -> None:
    problems = Problems()
    workloads, _ = read_workloads((("guest-tests", family.parent),), problems)
    problems.raise_if_any(family / "manifest.yaml")
    assert [w.name for w in workloads] == ["fresh/zero", "fresh/zero-python"]


def test_fragment_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "hugetlb.config"
    path.write_text(block("kconfig", "CONFIG_HUGETLBFS"))
    assert [r.symbol for r in kconfig.read_fragment(path, "6.12")] == ["HUGETLBFS"]
    named = re.search(r"fragments: \[(.*)\]", block("yaml", "configs:"))
    assert named is not None
    *known, last = named[1].split(", ")
    assert last == "hugetlb"
    for name in known:
        assert (HOME / "kernel-configs" / f"{name}.config").is_file(), name


def test_paths_it_names_exist() -> None:
    made_up = ("guest-tests/fresh/", "kernel-configs/hugetlb", "kernel-configs/NAME")
    for path in re.findall(
        r"`((?:orchestrator|guest-tests|kernel-configs|tests|docs)/[^`]*)`", TEXT
    ):
        if not path.startswith(made_up):
            assert (HOME / path).exists(), path
    for path in re.findall(r"\]\(([^):]+)\)", TEXT):
        assert (HOME / path).exists(), path


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/nightly.md", "patches/README.md"])
def test_commands_are_known_to_the_command_line(page: str) -> None:
    text = (HOME / page).read_text(encoding="utf-8").replace("${status}", "")
    commands = re.findall(r"\.venv/bin/lab ([^\n`>|]+)", text)
    assert commands
    for line in commands:
        name, *words = shlex.split(line.replace('"$baseline"', "latest").split(" && ")[0])
        command = cli.commands.get(name)
        assert command is not None, f"{page}: lab {name}"
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for word in words:
            if word.startswith("-"):
                assert word in options, f"{page}: lab {line}"


def test_nightly_series_example_is_planned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "plan --json -p nightly --source debian:6.12 --series patches/move-stats"
    monkeypatch.chdir(HOME)
    done = run_lab(monkeypatch, capsys, *words.split(), "--baseline", "v6.12")
    assert done.status == 0
    cells = [cell["id"] for cell in json.loads(done.out)["cells"]]
    assert {cell.partition("/")[0] for cell in cells} == {"cli", "v6.12"}
