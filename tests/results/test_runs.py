# SPDX-License-Identifier: GPL-2.0-only
"""The folders of runs: each its own, whoever makes one at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import UserError
from orchestrator.results import runs


def test_two_runs_in_one_second_have_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "stamp", lambda: "20260101-000000")
    made = [runs.run_folder(tmp_path / "reports", None).name for _ in range(3)]
    assert made == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_out_must_be_new_or_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert runs.run_folder(tmp_path / "reports", empty) == empty
    (empty / "results.json").write_text("{}")
    with pytest.raises(UserError, match="no empty folder"):
        runs.run_folder(tmp_path / "reports", empty)
    with pytest.raises(UserError, match="no empty folder"):
        runs.run_folder(tmp_path / "reports", empty / "results.json")
