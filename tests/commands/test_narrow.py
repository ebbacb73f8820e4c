# SPDX-License-Identifier: GPL-2.0-only
"""``lab narrow``, with guests that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rerun_world import CASE, World, make_world

from orchestrator.model.names import Verdict
from orchestrator.model.spec import Cell
from orchestrator.results.runs import stored_shape
from orchestrator.runner import searching, trials
from orchestrator.runner.stages import Stages


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One in which the case fails as long as its guest has two CPUs."""
    played = make_world(folder, monkeypatch, searching, 1)
    usual = played.run_cell

    def run_cell(cell: Cell, *rest: Any) -> Any:
        played.script["cli"] = [Verdict.FAIL if cell.shape.cpus == 2 else Verdict.PASS]
        return usual(cell, *rest)

    for engine in (searching, trials):
        monkeypatch.setattr(engine, "Stages", lambda: Stages(compile=lambda *_: None, run=run_cell))
    return played


def test_the_last_line_is_the_statement_and_a_table_stands_before_it(
    world: World, lab: Callable[..., Any]
) -> None:
    done = lab("narrow", "r1", CASE, "--plain", "--axis", "shape")
    assert done.status == 0, done
    lines = done.out.splitlines()
    assert lines[-1] == (
        f"{CASE}: needs two CPUs; the amount of memory does not matter (fails 1 of 1 as it was)"
    )
    table = lines[lines.index("tried:") + 1 : -1]
    assert [" ".join(line.split()) for line in table] == [
        "as it was fails 1 of 1",
        "one CPU fails 0 of 1",
        "512 MiB of memory fails 1 of 1",
        "2048 MiB of memory fails 1 of 1",
    ]
    assert world.booted == ["cli"] * 4


def test_as_json_the_answer_is_an_event(world: World, lab: Callable[..., Any]) -> None:
    done = lab("narrow", "r1", CASE, "--json", "--axis", "shape")
    events = [json.loads(line) for line in done.out.splitlines()]
    (event,) = [one for one in events if one["event"] == "narrow"]
    assert event["answer"].startswith(f"{CASE}: needs two CPUs; ")
    assert (event["needed"], event["free"]) == (["1-cpu"], ["half-memory", "twice-memory"])
    assert (event["complete"], event["either"], event["cannot"], event["rarer"]) == (
        True, [], [], [],
    )  # fmt: skip
    assert event["tried"][1] == {
        "changes": ["1-cpu"], "told": "one CPU", "failed": 0, "trials": 1,
        "effect": "does not fail", "why": "",
    }  # fmt: skip
    assert "tried:" not in done.out


def test_one_line_where_it_is_to_be_quiet(world: World, lab: Callable[..., Any]) -> None:
    done = lab("narrow", "r1", CASE, "--quiet", "--axis", "shape")
    assert done.out.startswith(f"searched: {CASE}: needs two CPUs; ")
    assert len(done.out.splitlines()) == 1


def test_a_budget_that_is_spent_and_one_that_goes_on(world: World, lab: Callable[..., Any]) -> None:
    done = lab("narrow", "r1", CASE, "--plain", "--axis", "shape", "--trials", "2")
    assert done.status == 1
    assert "not finished after 2 trials: needs two CPUs" in done.out
    again = lab("narrow", "--plain", "--axis", "shape", "--resume", "latest")
    assert again.status == 0, again
    assert again.out.splitlines()[-1].startswith(f"{CASE}: needs two CPUs; ")
    assert len(world.booted) == 4
    assert lab("narrow", "r1", CASE, "--axis", "shape", "--resume", "latest").status == 0
    none = lab("narrow", "--resume", "r1")
    assert (none.status, "r1 is no search that could go on" in none.err) == (2, True)


def test_words_that_are_wrong(world: World, lab: Callable[..., Any]) -> None:
    assert lab("narrow", "r1", CASE, "--axis", "colour").status == 2
    assert lab("narrow", "r1", "nobody").status == 2
    assert lab("narrow", "r1", CASE, "--resume", "nobody").status == 2


def test_a_case_of_a_changed_guest_is_repeated_in_that_guest(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    assert lab("narrow", "r1", CASE, "--plain", "--axis", "shape").status == 0
    (made,) = [one.name for one in (folder / "reports").iterdir() if one.name.startswith("20")]
    case = "cli/default/x86_64/small@half-memory:fam/one:counters"
    done = lab("rerun", made, case, "--plain", "--no-base")
    assert done.status == 1, done
    assert done.out.splitlines()[-1] == f"{case}: fails again"
    shape = stored_shape(folder / "reports/latest", case.partition(":")[0])
    assert shape is not None
    assert (shape.name, shape.memory_mib) == ("small@half-memory", 512)
    # The guest as it was is repeated as ever, and a name that nothing was tried by is told.
    assert lab("rerun", made, CASE, "--plain", "--no-base").status == 1
    notes = folder / "reports" / made / "narrow.json"
    notes.write_text(json.dumps(json.loads(notes.read_text()) | {"tried": []}))
    lost = lab("rerun", made, case, "--plain", "--no-base")
    assert lost.status == 2
    assert "no change that" in lost.err
