# SPDX-License-Identifier: GPL-2.0-only
"""What a stage needs can be sent elsewhere; what means something on one machine is made there."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import KernelTree
from orchestrator.plan.find import Found
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.runner.context import Kernel, Places, RunValues
from orchestrator.runner.stages import Stages


def sent(value: object) -> object:
    return pickle.loads(pickle.dumps(value))


def test_a_runs_values_a_plan_and_a_kernel_can_be_sent() -> None:
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    plan = make_plan(config, Selection(profile="full"), tuple(ARCHES))
    assert len(plan.cells) > 10
    tree = KernelTree(plan.builds[0].kernel, "6.12.117", "base", "tree")
    for value in (RunValues("r", 4), plan, Kernel(tree, "debian-6.12", "debian:6.12"), Stages()):
        assert sent(value) == value


def test_the_command_that_repeats_a_case_is_quoted() -> None:
    assert RunValues("a b", 1).rerun == "lab rerun 'a b' {case}"


def test_places_go_by_lab_yaml_and_have_the_labs_own_fragments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    places = Places.of(tmp_path / "lab.yaml")
    assert places.reports == tmp_path / "reports"
    assert places.cache.folder == tmp_path / "cache"
    assert places.fragments == HOME / "kernel-configs"
    (tmp_path / "kernel-configs").mkdir()
    assert Places.of(tmp_path / "lab.yaml").fragments == tmp_path / "kernel-configs"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    linux = tmp_path / "linux"
    served = Places.of_found(Found(HOME / "lab.yaml", linux, linux))
    assert (served.lab_yaml, served.tree) == (HOME / "lab.yaml", tmp_path / "linux")
    assert served.fragments == HOME / "kernel-configs"
    other = Places.of_found(Found(HOME / "lab.yaml", serves=tmp_path / "other" / "linux"))
    assert other.tree is None
    for places in (served, other):
        assert places.reports.relative_to(tmp_path / "state" / "lab").parts[0].startswith("linux-")
    assert served.reports != other.reports
    monkeypatch.delenv("LAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Places.of(tmp_path / "lab.yaml").cache.folder == tmp_path / "xdg" / "lab"
