# SPDX-License-Identifier: GPL-2.0-only
"""Manifests: what is read, and what is told about one that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_files import MANIFEST, change, load, problems, values

from orchestrator.plan.lab_yaml import (
    ConfigError,
)
from orchestrator.plan.problems import Problem
from orchestrator.plan.schema import MANIFEST_SCHEMA, load_schema


def test_manifest_defaults_are_replaced_and_not_merged(lab: Path) -> None:
    basic, race = load(lab).workloads
    assert basic.name == "move/basic"
    assert basic.args == ("basic", "64")
    assert basic.description == "Moving pages"
    assert (basic.program, basic.needs, basic.timeout) == ("move.c", ("swap",), 120.0)
    assert basic.messages.allows == ("^harmless",)
    assert basic.where == "guest-tests/move/manifest.yaml:11"
    assert (race.program, race.needs, race.timeout) == ("race.py", ("root", "CONFIG_MEMCG"), 5.0)
    assert (race.messages.allows, race.messages.forbids) == (("^harmless",), ("x+",))
    assert not race.deterministic


WRONG_MANIFEST = [
    ("family: move", "family: mover", 1, "family", "expected 'move', the name of the folder"),
    ("needs: [swap]", "needs: [swop]", 5, "needs[0]", "swap, thp, ksm, numa, hugepages, root"),
    ("timeout: 2m", "timeout: 0", 6, "timeout", "such as 90s or 5m"),
    ("program: move.c", "program: mvoe.c", 7, "program", "did you mean 'move.c'?"),
    ("program: move.c", "program: ../x.c", 7, "program", "a .c, .py or .sh file"),
    ("program: move.c\n", "", 10, "workloads[0].program", "is missing"),
    ('"^harmless"', '"(["', 9, "messages.allows[0]", "bad regular expression '(['"),
    ('"^harmless"', '"x*"', 9, "messages.allows[0]", "'x*' matches everything, an empty line too"),
    ('"^harmless"', '"[[a]"', 9, "messages.allows[0]", "bad regular expression '[[a]'"),
    ("name: race", "name: basic", 16, "workloads[1].name", "'basic' is on line 11 already"),
    ("counters: [RssAnon]", "counter: [RssAnon]", 14, "workloads[0].counter", "'counters'?"),
    ("equals-walk", "equal", 15, "invariants[0]", "counter-equals-walk, move-conserves"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "message"), WRONG_MANIFEST)
def test_a_slip_in_a_manifest(
    lab: Path, old: str, new: str, line: int, key: str, message: str
) -> None:
    change(lab.parent / "guest-tests/move/manifest.yaml", old, new)
    told = problems(lab)
    assert len(told) == 1, told
    where, _, rest = told[0].partition(": ")
    assert where == f"guest-tests/move/manifest.yaml:{line}"
    assert key in rest.partition(": ")[0]
    assert message in rest


def test_a_program_without_a_manifest_is_told_and_brings_no_other_message(lab: Path) -> None:
    (lab.parent / "guest-tests/move/manifest.yaml").unlink()
    (told,) = problems(lab)
    assert told.startswith("guest-tests/move/manifest.yaml: cannot be read")


def test_missing_workload_folder(lab: Path) -> None:
    shutil.rmtree(lab.parent / "guest-tests")
    assert problems(lab) == [
        "lab.yaml:1: workload_folders: no folder 'guest-tests' beside lab.yaml"
    ]


def test_a_family_in_two_folders(lab: Path) -> None:
    shutil.copytree(lab.parent / "guest-tests", lab.parent / "more")
    change(lab, "version: 1", "version: 1\nworkload_folders: [guest-tests, more]")
    assert problems(lab) == ["more/move/manifest.yaml: family 'move' is in guest-tests too"]


def test_the_labs_own_folders_are_no_families(lab: Path) -> None:
    """Unless somebody means so: then they have a manifest."""
    assert {workload.family for workload in load(lab).workloads} == {"move"}
    agent = lab.parent / "guest-tests/agent"
    shutil.copytree(lab.parent / "guest-tests/move", agent, dirs_exist_ok=True)
    change(agent / "manifest.yaml", "family: move", "family: agent")
    assert {workload.family for workload in load(lab).workloads} == {"agent", "move"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(load_schema(MANIFEST_SCHEMA)["properties"])), value=values)
def test_any_value_in_a_manifest(lab: Path, key: str, value: object) -> None:
    data = yaml.safe_load(MANIFEST)
    if key == "workloads":
        data[key] = [value, {**data[key][0], "name": "second", "messages": value, "args": value}]
    else:
        data[key] = value
    path = lab.parent / "guest-tests/move/manifest.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    found: tuple[Problem, ...] = ()
    try:
        load(lab)
    except ConfigError as error:
        found = error.problems
    assert all(str(problem).isprintable() for problem in found), found
