# SPDX-License-Identifier: GPL-2.0-only
"""Campaigns of mutants, stored and found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_mutants import campaign

from orchestrator.model.errors import HostError, UserError
from orchestrator.results import mutants, runs


def stored(reports: Path, name: str) -> Path:
    folder = reports / mutants.FOLDER / name
    folder.mkdir(parents=True)
    mutants.save(campaign(name=name), folder)
    return folder


def test_what_is_stored_is_what_is_read(tmp_path: Path) -> None:
    assert mutants.load(stored(tmp_path, "c")) == campaign(name="c")
    assert [path.name for path in (tmp_path / mutants.FOLDER / "c").iterdir()] == [mutants.FILE]
    assert json.loads((tmp_path / "mutants/c/mutants.json").read_text())["schema"] == 1


def test_a_campaign_is_no_run(tmp_path: Path) -> None:
    stored(tmp_path, "20261130-170000")
    assert runs.list_runs(tmp_path) == ()


def test_one_is_found_by_what_somebody_types(tmp_path: Path) -> None:
    first, second = stored(tmp_path, "20261129-170000"), stored(tmp_path, "20261130-180000")
    for name, found in (
        ("latest", second), ("20261129-170000", first), ("20261129", first), ("180000", second),
        (str(first), first),
    ):  # fmt: skip
        assert mutants.find(tmp_path, name) == found
    with pytest.raises(UserError, match="fits 2 campaigns"):
        mutants.find(tmp_path, "202611")
    with pytest.raises(UserError, match="no campaign of mutants 'x'"):
        mutants.find(tmp_path, "x")
    with pytest.raises(UserError, match="no campaign of mutants 'latest'") as error:
        mutants.find(tmp_path / "none", "latest")
    assert error.value.hint == "begin one with `lab mutate`"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}', '{"schema": 2}', "\xff"])
def test_what_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / mutants.FILE).write_text(text, "latin-1")
    with pytest.raises(UserError, match=r"mutants\.json"):
        mutants.load(tmp_path)
    with pytest.raises(UserError):
        mutants.load(tmp_path / "nowhere")


def test_a_folder_that_is_gone_is_the_hosts_fault(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"):
        mutants.save(campaign(), tmp_path / "gone")
