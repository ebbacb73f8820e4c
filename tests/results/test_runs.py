# SPDX-License-Identifier: GPL-2.0-only
"""The folders of runs: each its own, whoever makes one at the same time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.results import runs, store


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


# ---------------------------------------------------------------- names of runs


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Four runs, the newest below a name of its user's and one that was not the latest to begin."""
    folder = tmp_path / "reports"
    for name, began, run in (
        ("20240105-1", "2024-01-05T01:00:00Z", sample_run.broken_run()),
        ("20240105-2", "2024-01-05T02:00:00Z", sample_run.good_run()),
        ("mine", "2024-01-05T03:00:00Z", sample_run.good_run()),
        ("20240105-4", "2024-01-05T04:00:00Z", sample_run.good_run()),
    ):
        save(folder / name, run, began)
    runs.update_latest(folder, folder / "mine")
    return folder


def save(folder: Path, run: RunResult, began: str) -> None:
    info = replace(run.run, id=folder.name, started=began)
    store.save(replace(run, run=info), folder)


def test_runs_by_their_age(reports: Path) -> None:
    named = {name: runs.find_run(reports, name).name for name in ("latest", "@1", "@2", "@3")}
    assert named == {"latest": "mine", "@1": "mine", "@2": "20240105-2", "@3": "20240105-1"}
    for name in ("@4", "@0", "@99"):
        with pytest.raises(UserError, match="there is no run @") as caught:
            runs.find_run(reports, name)
        assert "@1 is the latest" in caught.value.hint
    for name in ("@", "@x", "@1x", "@-1"):
        with pytest.raises(UserError, match="no run"):
            runs.find_run(reports, name)


def test_the_latest_elsewhere_is_the_first_all_the_same(reports: Path, tmp_path: Path) -> None:
    save(tmp_path / "out", sample_run.good_run(), "2024-01-05T03:30:00Z")
    runs.update_latest(reports, tmp_path / "out")
    assert [run.name for run in runs.newest_first(reports)] == [
        "out", "mine", "20240105-2", "20240105-1",
    ]  # fmt: skip


def test_the_last_that_failed(reports: Path) -> None:
    assert runs.find_run(reports, "last-failed").name == "20240105-1"
    (reports / "20240105-1" / "results.json").write_text("{}")
    with pytest.raises(UserError, match="has a case that failed"):
        runs.find_run(reports, "last-failed")


def test_the_last_that_was_clean_and_complete(reports: Path) -> None:
    with pytest.raises(UserError, match="is clean and complete") as caught:
        runs.find_run(reports, "last-clean")
    assert "exit status 0" in caught.value.hint
    for name, status, complete in (("1", 1, True), ("2", 0, True), ("4", 0, False)):
        run = store.load(reports / f"20240105-{name}")
        info = replace(run.run, exit_status=status, complete=complete)
        store.save(replace(run, run=info), reports / f"20240105-{name}")
    assert runs.find_run(reports, "last-clean").name == "20240105-2"
    (reports / "20240105-2" / "results.json").write_text('{"run": []}')
    assert not runs.is_clean(reports / "20240105-2")


def test_a_run_by_a_part_or_a_glob(reports: Path) -> None:
    assert runs.find_run(reports, "4").name == "20240105-4"
    assert runs.find_run(reports, "m*").name == "mine"
    assert runs.find_run(reports, "min").name == "mine"
    with pytest.raises(UserError) as caught:
        runs.find_run(reports, "2024*")
    assert caught.value.message.splitlines() == [
        "'2024*' fits 3 runs:", "     20240105-4", "     20240105-2", "     20240105-1",
    ]  # fmt: skip
    with pytest.raises(UserError) as caught:
        runs.find_run(reports, "20240106-4")
    assert "did you mean '20240105-4'" in caught.value.hint
    for typed, meant in (("lates", "latest"), ("last-faild", "last-failed")):
        with pytest.raises(UserError) as caught:
            runs.find_run(reports, typed)
        assert f"did you mean '{meant}'" in caught.value.hint
    with pytest.raises(UserError) as caught:
        runs.find_run(reports, "q")
    assert caught.value.hint.startswith("the newest are: ")
    assert "latest" not in caught.value.hint
