# SPDX-License-Identifier: GPL-2.0-only
"""Searches beside the run that they are about, and what the history has of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sample_run import good_run

from orchestrator.model.results import RunResult
from orchestrator.model.searched import BISECT, Searched, SearchStep
from orchestrator.results import history, searches, store
from orchestrator.results.digests import digest_of, figures_of

FOUND = Searched(
    BISECT, "patch 1 of 2 brought it: mm: one", True,
    (SearchStep("patch 1 of 2: mm: one", "cli/default/x86_64/small", 3, 4, guilty=True),),
    "patch 1 of 2", (1,), 0.993, "cli/default/x86_64/small:ledger/swap:counters", "r1",
)  # fmt: skip


def search(name: str = "s1", found: Searched = FOUND) -> RunResult:
    run = good_run()
    return replace(run, searched=found, run=replace(run.run, id=name))


def test_a_run_knows_the_searches_for_its_cases_and_its_results_stay(tmp_path: Path) -> None:
    store.save(good_run(), tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    assert store.load(tmp_path).searches == ()
    searches.keep(tmp_path, search(found=replace(FOUND, sure=False)))
    searches.keep(tmp_path, search("s2"))
    searches.keep(tmp_path, search())  # it went on, and is sure by now
    found = store.load(tmp_path).searches
    assert found == (replace(FOUND, run="s2"), replace(FOUND, run="s1"))
    assert (tmp_path / "results.json").read_bytes() == before
    store.save(store.load(tmp_path), tmp_path)
    assert "searches" not in (tmp_path / "results.json").read_text()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2, "searches": []}', '{"schema": 1}', "\xff"]
)
def test_a_file_that_is_not_ours_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / searches.FILE).write_text(text)
    assert searches.read(tmp_path) == ()


def test_a_run_that_is_no_search_tells_nothing(tmp_path: Path) -> None:
    searches.keep(tmp_path, good_run())
    assert not list(tmp_path.iterdir())


def test_the_history_has_the_search_and_not_its_trials(tmp_path: Path) -> None:
    db = tmp_path / "history.sqlite"
    history.record(db, search())
    history.record(db, search())
    (run,) = history.runs(db)
    assert run.searched == "patch 1 of 2 brought it (99.3%)"
    assert history.query(db) == ()
    history.record(db, good_run())
    told = ["patch 1 of 2 brought it (99.3%)", ""]
    assert sorted(run.searched for run in history.runs(db)) == sorted(told)
    assert {case.run for case in history.query(db)} == {good_run().run.id}


def test_it_is_no_night_and_measures_nothing() -> None:
    assert digest_of(search()).searched == "patch 1 of 2 brought it (99.3%)"
    assert figures_of(good_run())
    assert figures_of(search()) == {}
