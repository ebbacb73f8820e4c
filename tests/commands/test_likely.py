# SPDX-License-Identifier: GPL-2.0-only
"""What runs first, from the command line: with --fail-fast, resumed, planned and at night."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_run
from click.testing import CliRunner

from orchestrator import runner
from orchestrator.commands import run as command
from orchestrator.commands.arguments import cli
from orchestrator.commands.nightly import _arranged
from orchestrator.model.coverage import Coverage, FileCode, Function, Lines
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Plan
from orchestrator.results import history, store
from orchestrator.runner import coverage_map
from orchestrator.runner.context import Places

PLACE = "default/x86_64/small"


class Planned(Exception):
    """A plan was made; nothing is run."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Plan, Any]]:
    """What the runs of this test were asked for: plan and options."""
    seen: list[tuple[Plan, Any]] = []

    def run_plan(plan: Plan, _places: Any, options: Any, **_more: Any) -> Any:
        seen.append((plan, options))
        raise Planned

    monkeypatch.setattr(runner.run, "run_plan", run_plan)
    return seen


def start(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    done = CliRunner().invoke(cli, words)
    assert isinstance(done.exception, Planned), done.output


def test_a_run_of_which_nobody_knows_what_was_asked_for_is_not_resumed(
    folder: Path, lab: Callable[..., Any]
) -> None:
    run = sample_run.good_run()
    store.save(
        replace(run, run=replace(run.run, command="lab run --resume latest -x")),
        folder / "reports" / run.run.id,
    )
    done = lab("run", "--resume", run.run.id)
    assert done.status == 2
    assert "cannot be resumed again: an older lab" in done.err


def remember(folder: Path, workload: str, place: str = PLACE) -> None:
    """A run in which a workload failed."""
    run = sample_run.good_run()
    id_ = f"stable/{place}"
    case = CaseResult(f"{id_}:{workload}:c", workload, "c", Verdict.FAIL, "why", 1.0)
    cell = replace(run.cells[0], id=id_, kernel="stable", cases=(case,))
    history.record(
        folder / "reports" / "history.sqlite",
        replace(run, kernels=(), builds=(), cells=(cell,)),
    )


@pytest.mark.parametrize("word", ["-x", "--fail-fast"])
def test_fail_fast_is_a_runs_own_and_a_resumed_one_is_asked_anew(
    folder: Path, asked: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    start(monkeypatch, "run", "--arch", "x86_64", word)
    start(monkeypatch, "run", "--arch", "x86_64")
    assert [options.fail_fast for _, options in asked] == [True, False]
    monkeypatch.setattr(command, "command_of", lambda _run: ["--arch", "x86_64", word])
    monkeypatch.setattr(command.runs, "find_run", lambda *_: folder)
    start(monkeypatch, "run", "--resume", "r1")
    start(monkeypatch, "run", "--resume", "r1", word)
    assert [options.fail_fast for _, options in asked[2:]] == [False, True]


def test_a_run_begins_with_what_failed(
    folder: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(folder, "uffd-move/swap", "default/arm64/small")
    start(monkeypatch, "run", "-p", "smoke")
    plan, _ = asked[0]
    assert [turn.name.split("/")[2] for turn in plan.turns] == ["arm64", "x86_64"]
    assert [cell.build.arch for cell in plan.cells] == ["x86_64", "arm64"]


def test_beside_a_baseline_a_fast_run_knows_soon(
    folder: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.patch").write_bytes(b"nobody looks into it")
    words = ("run", "--series", "a.patch", "--baseline", "stable", "-p", "smoke")
    start(monkeypatch, *words, "-x")
    start(monkeypatch, *words)
    order = [[turn.name.split("/")[0] for turn in plan.turns] for plan, _ in asked]
    assert order == [["cli", "stable"] * 2, ["cli"] * 2 + ["stable"] * 2]


def test_a_plan_shows_it(folder: Path, lab: Callable[..., Any]) -> None:
    remember(folder, "uffd-move/swap")
    done = lab("plan", "--arch", "x86_64", "-p", "smoke")
    lines = [line.split(maxsplit=1) for line in done.out.splitlines()]
    assert ["uffd-move/swap", "failed in its last run"] in lines
    found = json.loads(lab("plan", "--arch", "x86_64", "-p", "smoke", "--json").out)
    assert found["cells"][0]["turns"][0]["name"] == "uffd-move/swap"
    (folder / "reports" / "history.sqlite").write_text(
        "no database at all, and long enough for one"
    )
    assert "FIRST" not in lab("plan", "--arch", "x86_64", "-p", "smoke").out


PATCH = """From: A <a@example.org>
Subject: [PATCH] mm/userfaultfd: x
---
diff --git a/mm/userfaultfd.c b/mm/userfaultfd.c
--- a/mm/userfaultfd.c
+++ b/mm/userfaultfd.c
@@ -10,3 +10,3 @@ int move(void)
 ten
-eleven
+ELEVEN
 twelve
"""


def test_what_is_known_to_run_what_the_series_changes_comes_early(
    folder: Path, lab: Callable[..., Any]
) -> None:
    from orchestrator.commands.workspace import find_places

    (folder / "a.patch").write_text(PATCH)
    words = ("plan", "--arch", "x86_64", "-p", "smoke", "--series", "a.patch")
    assert "FIRST" not in lab(*words).out
    code = {"mm/userfaultfd.c": FileCode(Lines((11, 30)), (Function("move", 9, 20),))}
    ran = {"uffd-move/swap": {"mm/userfaultfd.c": Lines((11,))}}
    coverage_map.remember(Coverage(code, ran), "arm64", "6.12", find_places().cache)
    lines = [line.split(maxsplit=1) for line in lab(*words).out.splitlines()]
    assert ["uffd-move/swap", "runs move, which the series touches"] in lines
    (folder / "a.patch").write_text(PATCH.replace("move(", "other("))
    assert "FIRST" in lab(*words).out  # nobody knows that function, so its lines count
    (folder / "a.patch").write_text(PATCH.replace("move(", "other(").replace("-10,3", "-40,3"))
    assert "FIRST" not in lab(*words).out


def test_a_night_keeps_its_cells_in_order_of_worth(folder: Path, lab: Callable[..., Any]) -> None:
    from orchestrator.commands.workspace import find_places, load
    from orchestrator.model.arch import ARCHES
    from orchestrator.plan.first import workload_turns
    from orchestrator.plan.matrix import Selection, make_plan

    remember(folder, "uffd-move/swap", "default/arm64/small")
    places: Places = find_places()
    plan = make_plan(load(places), Selection(profile="smoke"), tuple(ARCHES))
    night = _arranged(plan, places)
    assert night.turns == ()
    assert [cell.build.arch for cell in night.cells] == ["arm64", "x86_64"]
    assert workload_turns(night.cells[0])[0].name == "uffd-move/swap"
