# SPDX-License-Identifier: GPL-2.0-only
"""What a campaign of mutants came to, beside the runs of the same series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sample_mutants import campaign
from sample_run import good_run

from orchestrator.model.mutants import Campaign, MutantCount, SeriesMutants
from orchestrator.model.results import RunResult
from orchestrator.results import mutants, series_mutants, store

COUNTS = (MutantCount(3, 4), MutantCount(2, 2, patch=1), MutantCount(1, 2, patch=2))
FOUND = SeriesMutants("cli", "20261130-170000", COUNTS, sampled=True)


def run_of(tree: str = "0123") -> RunResult:
    run = good_run()
    return replace(run, kernels=tuple(replace(kernel, tree=tree) for kernel in run.kernels))


def put(reports: Path, one: Campaign) -> None:
    folder = reports / mutants.FOLDER / one.name
    folder.mkdir(parents=True)
    mutants.save(one, folder)


def test_the_newest_campaign_on_the_very_same_sources_is_known(tmp_path: Path) -> None:
    assert series_mutants.known(tmp_path, run_of()) == ()
    put(tmp_path, replace(campaign(), name="20261129-170000", tried=campaign().tried[:3]))
    put(tmp_path, campaign())
    put(tmp_path, replace(campaign(), name="20261130-180000", tree="4567"))
    put(tmp_path, replace(campaign(), name="20261130-190000", series="", asked=("f",)))
    put(tmp_path, replace(campaign(), name="20261130-200000", tried=()))
    assert series_mutants.known(tmp_path, run_of()) == (FOUND,)
    assert series_mutants.known(tmp_path, run_of("89ab")) == ()
    alone = replace(run_of(), kernels=(replace(run_of().kernels[0], series=()),))
    assert series_mutants.known(tmp_path, alone) == ()


def test_a_campaign_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    put(tmp_path, campaign())
    (tmp_path / mutants.FOLDER / "9").mkdir()
    (tmp_path / mutants.FOLDER / "9" / mutants.FILE).write_text("{")
    assert series_mutants.known(tmp_path, run_of()) == (FOUND,)


def test_a_run_knows_it_and_its_results_stay(tmp_path: Path) -> None:
    store.save(run_of(), tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    assert store.load(tmp_path).mutants == ()
    series_mutants.keep(tmp_path, (FOUND,))
    assert store.load(tmp_path).mutants == (FOUND,)
    store.save(store.load(tmp_path), tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "mutants": []}', '{"schema": 1}'])
def test_a_file_that_is_not_ours_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / series_mutants.FILE).write_text(text)
    assert series_mutants.read(tmp_path) == ()
