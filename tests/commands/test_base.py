# SPDX-License-Identifier: GPL-2.0-only
"""``--base REF``, and the commands that need nothing of the folder that they are given in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_kernel import commit_all, write_kernel

from orchestrator.commands.base import against_base
from orchestrator.model.errors import UserError
from orchestrator.plan.matrix import Selection


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    tree = write_kernel(tmp_path / "linux")
    commit_all(tree, "first")
    (tree / "mm/new.c").write_text("int fresh;\n")
    commit_all(tree, "second")
    return tree


def test_the_commit_of_the_trees_own_becomes_the_baseline(
    lab: Callable[..., Any], folder: Path, repo: Path
) -> None:
    done = lab("plan", "--source", str(repo), "--base", "HEAD~1", "--arch", "x86_64", "--json")
    assert done.status == 0, done.err
    plan = json.loads(done.out)
    kernels = list(dict.fromkeys((b["kernel"], b["source"]) for b in plan["builds"]))
    assert kernels == [("cli", f"path:{repo}"), ("base", f"git:{repo}#HEAD~1")]
    assert plan["baseline"] == "base"
    names = [[w["name"] for w in cell["workloads"]] for cell in plan["cells"]]
    assert names[: len(names) // 2] == names[len(names) // 2 :]


def test_in_a_tree_that_tree_is_tested_with_a_lab_yaml_or_without(
    lab: Callable[..., Any], folder: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo / "mm")
    words = ("plan", "--base", "main~1", "--arch", "x86_64", "--json")
    alone = json.loads(lab(*words).out)["builds"]
    (repo / "lab.yaml").write_text((folder / "lab.yaml").read_text())
    beside = json.loads(lab(*words).out)["builds"]
    for builds in (alone, beside):
        assert {b["source"] for b in builds} == {f"path:{repo}", f"git:{repo}#main~1"}


@pytest.mark.parametrize("command", ["run", "plan", "build"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--base", "nowhere"), "has no commit 'nowhere'"),
        (("--base", "--upload-pack=x"), "has no commit"),
        (("--base", "main", "--baseline", "stable"), "both say what to compare with"),
    ],
)
def test_a_wrong_ref_is_one_sentence_and_no_run(
    lab: Callable[..., Any], folder: Path, repo: Path, command: str,
    words: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    done = lab(command, "--source", str(repo), *words)
    assert done.status == 2
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (folder / "reports").exists()


def test_what_is_no_git_tree_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = write_kernel(tmp_path / "plain")
    for selection, told in (
        (Selection(), "is in no kernel tree"),
        (Selection(source=f"path:{plain}"), "is not a git repository"),
        (Selection(source="debian:6.12"), "is no git tree on this machine"),
        (Selection(source="git:https://example.org/linux.git#v6.12"), "is no git tree"),
        (Selection(kernels=("v6.12",)), "--kernel names a kernel of lab.yaml"),
    ):
        with pytest.raises(UserError, match=told):
            against_base(selection, "v6.12", None)


def test_a_range_of_one_repository_and_odd_names(repo: Path) -> None:
    source = f"git:{repo}#main"
    assert against_base(Selection(source=source), "main~1", None).base == f"git:{repo}#main~1"
    assert against_base(Selection(source=source), None, "stable") == Selection(source=source)


def test_an_empty_folder_lists_and_plans(
    lab: Callable[..., Any], folder: Path, repo: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert lab("list").status == 0
    done = lab("plan", "--source", str(repo))
    assert done.status == 0
    assert f"path:{repo}" in done.out
    assert lab("plan").status == 2
    assert not list((tmp_path / "empty").iterdir())
