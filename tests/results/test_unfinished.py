# SPDX-License-Identifier: GPL-2.0-only
"""Runs without an end: going on, or cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.model.spec import Plan
from orchestrator.results import store
from orchestrator.results.runs import SHAPE, cell_folder
from orchestrator.results.unfinished import LOG, hold, unfinished


def cut(reports: Path, name: str = "r1", command: str = "lab run -p smoke") -> RunResult:
    """Store a run as a lab leaves it that was killed in its second cell."""
    run = sample_run.good_run()
    info = replace(run.run, id=name, finished="", command=command)
    run = replace(run, run=info, cells=run.cells[:1])
    store.save(run, reports / name)
    for cell in sample_run.good_run().cells:
        folder = reports / name / cell_folder(cell.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHAPE).write_text("{}")
    (reports / name / LOG).write_text("")
    return run


def test_what_was_done_and_how_to_go_on(tmp_path: Path) -> None:
    run = cut(tmp_path)
    store.save(sample_run.good_run(), tmp_path / "over")
    (found,) = unfinished(tmp_path)
    planned = len(sample_run.good_run().cells)
    assert (found.run.run, found.going_on, found.cells) == (run.run, False, 1)
    assert found.told == (f"r1 was cut: 1 of {planned} cells done; `lab run --resume r1` goes on")


def test_only_a_run_can_be_resumed(tmp_path: Path) -> None:
    cut(tmp_path, command="lab rerun latest x")
    (found,) = unfinished(tmp_path)
    assert "--resume" not in found.told


def test_one_that_goes_on_is_not_cut(tmp_path: Path) -> None:
    cut(tmp_path)
    with (tmp_path / "r1" / LOG).open("a") as log:
        hold(log.fileno())
        (found,) = unfinished(tmp_path)
        assert found.going_on
        assert found.told.startswith("r1 goes on: 1 of ")
    assert not unfinished(tmp_path)[0].going_on


@pytest.mark.parametrize("text", ["", '{"finished": ""', '{"run": {"finished": ""}}'])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, text: str) -> None:
    cut(tmp_path)
    (tmp_path / "r1" / "results.json").write_text(text)
    assert unfinished(tmp_path) == ()
    assert unfinished(tmp_path / "nowhere") == ()


def test_one_that_goes_on_is_not_resumed(tmp_path: Path) -> None:
    from orchestrator.host.cache.files import Cache
    from orchestrator.runner.context import Places
    from orchestrator.runner.run import RunOptions, opened

    cut(tmp_path)
    places = Places(tmp_path / "lab.yaml", tmp_path, Cache(tmp_path / "cache"), tmp_path)
    options = RunOptions(resume=tmp_path / "r1")
    plan = Plan("p", (), ())
    with opened(plan, places, options, ""), pytest.raises(UserError, match="r1 goes on"):  # noqa: SIM117
        with opened(plan, places, options, ""):
            pass


def test_a_run_holds_its_log(tmp_path: Path) -> None:
    from orchestrator.runner.record import log_to

    cut(tmp_path)
    with log_to(tmp_path / "r1" / LOG):
        assert unfinished(tmp_path)[0].going_on
    assert not unfinished(tmp_path)[0].going_on
