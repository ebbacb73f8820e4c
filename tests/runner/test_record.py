# SPDX-License-Identifier: GPL-2.0-only
"""What a run leaves, whatever has become of the history."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import damage
import pytest
import sample_mutants
import sample_run

from orchestrator.host.cache.files import Cache
from orchestrator.judge.compare import compare
from orchestrator.model.errors import LabError
from orchestrator.results import history, mutants, runs
from orchestrator.runner import record
from orchestrator.runner.context import Places


@pytest.mark.parametrize("bad", ["newer", "unreadable"])
def test_a_bad_history_does_not_cost_the_reports(tmp_path: Path, bad: str) -> None:
    where = Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)
    run = sample_run.good_run()
    folder = runs.run_folder(where.reports, None)
    if bad == "unreadable":
        where.history.mkdir()
    else:
        history.record(where.history, run)
        with contextlib.closing(sqlite3.connect(where.history)) as connection:
            connection.execute("PRAGMA user_version = 99")
    assert record.known_noise(where) == {}
    # It is told all the same, once everything else is kept.
    with pytest.raises(LabError, match="history") as caught:
        record.finish(where, run, folder, compare(run, run))
    assert caught.value.hint
    for name in ("results.json", "junit.xml", "index.html"):
        assert (folder / name).stat().st_size
    assert (where.reports / "latest").resolve() == folder


def test_a_history_that_is_damaged_while_a_run_goes_on_costs_nothing(tmp_path: Path) -> None:
    where = Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)
    earlier, run = sample_run.broken_run(), sample_run.good_run()
    assert record.finish(where, earlier, where.reports / earlier.run.id, None) == ""
    damage.replace(where.history)
    broken = where.history.read_bytes()
    told = record.finish(where, run, where.reports / run.run.id, None)
    (aside,) = where.reports.glob("history.sqlite.damaged-*")
    assert told == (
        f"the history {where.history} was damaged (file is not a database): it is kept as "
        f"{aside.name}, and made anew from 2 stored runs"
    )
    assert aside.read_bytes() == broken
    assert [one.id for one in history.runs(where.history)] == [earlier.run.id, run.run.id]


def test_a_series_and_its_mutants_are_told_of_each_other_whichever_came_first(
    tmp_path: Path,
) -> None:
    where = Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)
    run = sample_run.good_run()
    run = replace(run, kernels=tuple(replace(one, tree="0123") for one in run.kernels))
    first, second = (runs.run_folder(where.reports, None) for _ in range(2))
    record.finish(where, run, first, None)
    campaign = sample_mutants.campaign()
    folder = where.reports / mutants.FOLDER / campaign.name
    folder.mkdir(parents=True)
    mutants.save(campaign, folder)
    told = "3 of 4 mutants in a random sample were caught"
    assert told not in (first / "index.html").read_text()
    record.write_mutants(campaign, folder, where)
    assert told in (first / "index.html").read_text()
    # And a run that comes after the campaign.
    record.finish(where, replace(run, run=replace(run.run, id="later")), second, None)
    assert told in (second / "index.html").read_text()
    assert 'name="mutants.caught" value="3"' in (second / "junit.xml").read_text()


def test_a_campaign_is_kept_where_a_run_cannot_be_told(tmp_path: Path) -> None:
    where = Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)
    damaged = where.reports / "20260101-000000"
    damaged.mkdir(parents=True)
    (damaged / "results.json").write_text("{")
    folder = where.reports / mutants.FOLDER / "c"
    folder.mkdir(parents=True)
    record.write_mutants(sample_mutants.campaign(), folder, where)
    assert (folder / "index.html").stat().st_size
