# SPDX-License-Identifier: GPL-2.0-only
"""Which old runs go, and which never do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator.results import prune, runs, store
from orchestrator.results.unfinished import LOG, hold


def keep_run(
    reports: Path, day: int, *, name: str = "", status: int = 1, baseline: str = "",
    profile: str = "night", cells: int = 2, command: str = "lab run",
) -> Path:  # fmt: skip
    folder = reports / (name or f"202401{day:02}-000000")
    run = sample_run.good_run()
    info = replace(
        run.run, id=folder.name, started=f"2024-01-{day:02}T00:00:00Z", exit_status=status,
        baseline=baseline, profile=profile, complete=status == 0, command=command,
    )  # fmt: skip
    store.save(replace(run, run=info, cells=run.cells[:cells]), folder)
    return folder


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Eight red nights, the newest of them the latest."""
    folder = tmp_path / "reports"
    for day in range(1, 9):
        keep_run(folder, day)
    runs.update_latest(folder, folder / "20240108-000000")
    return folder


def days(found: tuple[Path, ...]) -> list[str]:
    return [run.name[6:8] for run in found]


def test_the_newest_stay(reports: Path) -> None:
    assert days(prune.to_remove(reports, 3)) == ["05", "04", "03", "02", "01"]
    assert prune.to_remove(reports, 8) == ()
    assert prune.to_remove(reports / "none", 3) == ()


def test_never_the_latest_nor_one_that_is_named(reports: Path) -> None:
    runs.update_latest(reports, reports / "20240102-000000")
    keep_run(reports, 1, name="mine")
    gone = prune.to_remove(reports, 1, [reports / "20240103-000000"])
    assert days(gone) == ["07", "06", "05", "04", "01"]


def test_never_one_that_goes_on(reports: Path) -> None:
    with (reports / "20240101-000000" / LOG).open("w") as log:
        hold(log.fileno())
        assert "01" not in days(prune.to_remove(reports, 1))
    assert "01" in days(prune.to_remove(reports, 1))


@pytest.mark.parametrize("command", ["lab run", "lab run --series " + "x" * 5000])
def test_never_a_baseline_of_what_stays(reports: Path, command: str) -> None:
    keep_run(reports, 8, baseline="20240102-000000", command=command)
    keep_run(reports, 5, baseline="20240101-000000")  # this one goes itself
    assert days(prune.to_remove(reports, 2)) == ["06", "05", "04", "03", "01"]


def test_never_the_last_clean_one_of_its_kind(reports: Path) -> None:
    keep_run(reports, 1, status=0)
    keep_run(reports, 2, status=0, profile="smoke")
    keep_run(reports, 3, status=0, cells=1)  # newer than the first, and tried less
    keep_run(reports, 4, status=0, profile="smoke", cells=1)
    assert days(prune.to_remove(reports, 1)) == ["07", "06", "05"]
    keep_run(reports, 8, status=0)  # covers the nights of before
    assert days(prune.to_remove(reports, 1)) == ["07", "06", "05", "03", "01"]
    (reports / "20240102-000000" / "results.json").write_text("no JSON")
    assert "02" in days(prune.to_remove(reports, 1))


def test_they_are_removed_whole_and_what_is_freed_is_told(reports: Path, tmp_path: Path) -> None:
    old = reports / "20240101-000000"
    (old / "own").write_bytes(b"x" * 100_000)
    (tmp_path / "image").write_bytes(b"x" * 1_000_000)
    os.link(tmp_path / "image", old / "linked")
    os.link(old / "own", old / "again")
    told = prune.prune(reports, 7, dry_run=True)
    assert days(tuple(one.folder for one in told)) == ["01"]
    assert 100_000 <= told[0].size < 200_000
    assert old.is_dir()
    assert prune.prune(reports, 7) == told
    assert not old.exists()
    assert (tmp_path / "image").exists()
    assert not list(reports.glob(".*"))
    assert len(runs.list_runs(reports)) == 7


def test_what_a_killed_lab_left_half_removed_is_no_run(reports: Path) -> None:
    (reports / "20240101-000000").rename(reports / ".removed-20240101-000000")
    assert len(runs.list_runs(reports)) == 7
    prune.prune(reports, 7)
    assert not list(reports.glob(".*"))
