# SPDX-License-Identifier: GPL-2.0-only
"""A developer's own defaults: where they are, and what they may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.model.errors import UserError
from orchestrator.plan.personal import personal_file, read_personal


def read(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return read_personal(path)


def test_where_it_is() -> None:
    assert personal_file({"HOME": "/h"}) == Path("/h/.config/lab.yaml")
    assert personal_file({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/lab.yaml")
    assert personal_file({"HOME": "/h", "LAB_CONFIG": "/x/y"}) == Path("/x/y")
    assert personal_file({"HOME": "/h", "LAB_CONFIG": "none"}) is None
    assert personal_file({"HOME": "/h", "CI": "true"}) is None
    assert personal_file({"HOME": "/h", "CI": "true", "LAB_CONFIG": "/x"}) == Path("/x")


@pytest.mark.parametrize("text", ["", "\n", "# arch: x86_64\n", "---\n"])
def test_a_file_without_a_word_has_no_defaults(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert (found.of("run"), found.cache) == ({}, "")


def test_a_commands_own_come_first(tmp_path: Path) -> None:
    text = (
        "arch: [x86_64, arm64]\nsource: path:.\njobs: 4\nplain: true\ncache: /big\n"
        "build-mismatched: false\ncommands:\n  shell: {arch: arm64, kernel: v6.12}\n"
    )
    found = read(tmp_path, text)
    general = {"source": ("path:.",), "jobs": ("4",), "plain": ()}
    assert found.of("run") == general | {"arch": ("x86_64", "arm64")}
    del general["source"]
    assert found.of("shell") == general | {"arch": ("arm64",), "kernel": ("v6.12",)}
    assert found.cache == "/big"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("arch: x86_64\nsourse: .\n", ":2: sourse: unknown key; did you mean 'source'?"),
        ("jobs: many\n", ":1: jobs: expected a whole number, found the text 'many'"),
        ("jobs: 0\n", ":1: jobs: expected at least 1"),
        ("arch: []\n", ":1: arch: expected a name or a list of names"),
        ("plain: maybe\n", ":1: plain: expected true or false"),
        ("\nsource: .\nkernel: v6.12\n", ":3: kernel: source and kernel both say"),
        ("commands:\n  rum: {}\n", ":2: commands.rum: unknown key; did you mean 'run'?"),
        ("commands: {run: {cache: /x}}\n", "commands.run.cache: unknown key"),
        ("- a\n", "expected a mapping from option to value"),
        ("a: [\n", "YAML syntax"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert f"{tmp_path}/mine.yaml" in error.value.message
    assert told in error.value.message
    assert "--no-personal" in (error.value.hint or "")


def test_keys_are_options() -> None:
    schema = json.loads((HOME / "orchestrator/plan/personal.schema.json").read_text())
    options = {o for c in cli.commands.values() for p in c.params for o in p.opts}
    general = set(schema["properties"]) - {"cache", "commands"}
    assert general == set(schema["$defs"]["options"]["properties"])
    assert {f"--{name}" for name in general} <= options
    for name in schema["properties"]["commands"]["properties"]:
        taken = {o for p in cli.commands[name].params for o in p.opts}
        assert "--no-personal" in taken, name
        assert taken & {f"--{each}" for each in general}, name
    page = (HOME / "docs/commands.md").read_text().partition("## Personal defaults")[2]
    for name in (*general, "cache", "commands"):
        assert f"`{name}`" in page.partition("\n## ")[0], name
