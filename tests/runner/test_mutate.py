# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants, on builds and guests that are played, of sources that are real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mutant_world import ALL, MOVE, Played

from orchestrator.host.cache.files import Cache
from orchestrator.judge.mutants import exit_status, total
from orchestrator.model.arch import HOST_ARCH
from orchestrator.model.coverage import Coverage, FileCode, Function
from orchestrator.model.errors import EXIT_INTERRUPTED, HostError, Interrupted, UserError
from orchestrator.model.kernel import BuildResult, PatchHunk, PatchState
from orchestrator.model.mutants import Campaign, Outcome
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.report.mutants_text import survived_all
from orchestrator.results import mutants
from orchestrator.runner import coverage_map
from orchestrator.runner import mutate as engine
from orchestrator.runner.context import Context, Kernel, Places
from orchestrator.runner.mutant_trial import NOBODY
from orchestrator.runner.mutate import Ended, Wanted, listed, mutate, the_cell
from orchestrator.runner.stages import Ran


@pytest.fixture
def places(tmp_path: Path) -> Places:
    cache = Cache(tmp_path / "cache")
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", cache, tmp_path)


@pytest.fixture
def played(tmp_path: Path, places: Places) -> Played:
    return Played(tmp_path / "linux", places.cache)


def plan_of(played: Played, *names: str, shapes: int = 1) -> Plan:
    specs = tuple(
        WorkloadSpec(f"f/{name}", "f", Path("f"), "a.c", deterministic=not name.startswith("race"))
        for name in names or ("a",)
    )
    build = Build("k/c/x86_64", played.spec, ConfigSpec("c"), "x86_64")
    cells = tuple(
        Cell(f"{build.id}/{name}", build, ShapeSpec(name), specs) for name in "st"[:shapes]
    )
    return Plan("p", (build,), cells)


def campaign(
    played: Played, places: Places, *names: str, plan: Plan | None = None, **wanted: Any
) -> Ended:
    asked = Wanted(("move",), jobs=2, command="lab mutate --function move")
    return mutate(
        plan or plan_of(played, *names), replace(asked, **wanted), places, stages=played.stages()
    )


def outcomes(found: Campaign) -> dict[str, Outcome]:
    return {f"{one.mutant.line} {one.mutant.operator}": one.outcome for one in found.tried}


def test_what_is_caught_and_what_survives(played: Played, places: Places) -> None:
    def fails(text: str) -> tuple[str, Verdict] | None:
        return ("moves", Verdict.FAIL) if "put(what)" not in text or "-EINVAL" in text else None

    played.fails = fails
    ended = campaign(played, places)
    found = outcomes(ended.campaign)
    assert len(found) == ended.campaign.population == ended.campaign.chosen == ALL
    caught = {name for name, outcome in found.items() if outcome is Outcome.CAUGHT}
    assert caught == {"5 call-left-out", "4 errno"}
    assert set(found.values()) == {Outcome.CAUGHT, Outcome.SURVIVED}
    assert exit_status(ended.campaign) == 1
    one = next(one for one in ended.campaign.tried if one.mutant.line == 5)
    assert (one.case, one.reason, one.workloads) == ("c/x86_64/s:f/a:moves", "off", ("f/a",))
    assert one.seconds >= one.build_seconds > 0
    assert "-\tput(what);" in one.diff
    # What is stored is what was told, and the pages stand beside it.
    assert mutants.load(ended.folder) == ended.campaign
    assert ended.folder.parent == places.reports / "mutants"
    for name in ("index.html", "junit.xml", "mutants.md", "lab.log"):
        assert (ended.folder / name).stat().st_size > 0


def test_all_caught_is_the_only_success(played: Played, places: Places) -> None:
    played.fails = lambda text: ("moves", Verdict.FAIL) if text != MOVE else None
    ended = campaign(played, places)
    assert exit_status(ended.campaign) == 0
    assert total(ended.campaign).caught == ALL


def test_what_fails_without_a_mutant_catches_none(played: Played, places: Places) -> None:
    played.fails = lambda _: ("moves", Verdict.FAIL)
    ended = campaign(played, places)
    assert ended.campaign.unmutated is not None
    assert ended.campaign.unmutated.failing == ("c/x86_64/s:f/a:moves",)
    assert set(outcomes(ended.campaign).values()) == {Outcome.SURVIVED}


def test_a_kernel_that_is_the_same_is_never_booted(played: Played, places: Places) -> None:
    played.image = lambda text: MOVE if "what >= 4" in text else text
    ended = campaign(played, places)
    assert outcomes(ended.campaign)["3 relational"] is Outcome.SAME_CODE
    assert not any("what >= 4" in text for text, _ in played.ran)
    assert total(ended.campaign).judged == ALL - 1


def test_what_does_not_compile_is_counted_apart(played: Played, places: Places) -> None:
    played.image = lambda text: "error: no EINVAL" if "-EINVAL" in text else text
    ended = campaign(played, places)
    one = next(one for one in ended.campaign.tried if one.mutant.operator == "errno")
    assert (one.outcome, one.reason) == (Outcome.NOT_COMPILED, "error: no EINVAL")


def test_what_the_host_does_is_no_verdict(played: Played, places: Places) -> None:
    def fails(text: str) -> tuple[str, Verdict] | Exception | None:
        if "-EINVAL" in text:
            return HostError("no QEMU")
        return ("guest", Verdict.ERROR) if "put(what)" not in text else None

    played.fails = fails
    ended = campaign(played, places)
    lost = {
        one.mutant.operator: one.reason
        for one in ended.campaign.tried
        if one.outcome is Outcome.NOT_JUDGED
    }
    assert lost == {"errno": "no QEMU", "call-left-out": "f/a:guest: off"}
    assert exit_status(ended.campaign) == 3
    # What is gone on with tries them again, and nothing else.
    played.fails = lambda _: None
    played.ran.clear()
    again = campaign(played, places, resume=ended.folder)
    assert {text for text, _ in played.ran} == {
        MOVE, MOVE.replace("EAGAIN", "EINVAL"), MOVE.replace("\tput(what);", "\t;"),
    }  # fmt: skip
    assert exit_status(again.campaign) == 1
    assert again.folder == ended.folder


def test_a_host_that_can_judge_nothing_ends_it(played: Played, places: Places) -> None:
    played.fails = lambda text: HostError("no QEMU") if text != MOVE else None
    ended = campaign(played, places)
    assert len(ended.campaign.tried) == 3
    assert ended.campaign.cut == "3 in a row could not be judged"
    assert exit_status(ended.campaign) == 3


def test_a_sample_is_the_same_for_the_same_seed(played: Played, places: Places) -> None:
    plan = plan_of(played)

    def names(seed: int, sample: int | None) -> list[str]:
        wanted = Wanted(("move",), sample=sample, seed=seed)
        found, chosen = listed(plan, wanted, places, stages=played.stages())
        assert len(found.mutants) == ALL
        return [one.name for one in chosen]

    assert names(1, 4) == names(1, 4) == names(1, None)[:4]
    assert names(1, 4) != names(2, 4)
    assert len(set(names(1, None))) == ALL
    ended = campaign(played, places, sample=4)
    assert [one.mutant.name for one in ended.campaign.tried] == names(1, 4)
    assert (ended.campaign.sampled, ended.campaign.cut) == (True, "")
    assert len(played.built) == 1 + 4


def test_a_spent_budget_is_no_end(
    played: Played, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def takes_ten_seconds(_: str) -> None:
        now[0] += 10

    played.fails = takes_ten_seconds
    ended = campaign(played, places, budget=45.0)
    # The guest without a mutant counts too: the fourth began after 40 s, and came to its end.
    assert len(ended.campaign.tried) == 4
    assert ended.campaign.cut == "the time budget was spent"
    assert exit_status(ended.campaign) == 3
    before = len(played.ran)
    again = campaign(played, places, resume=ended.folder)
    assert len(again.campaign.tried) == ALL
    assert again.campaign.tried[: len(ended.campaign.tried)] == ended.campaign.tried
    # The guest without a mutant is run again, since workloads may be others; what was tried is not.
    assert len(played.ran) - before == 1 + ALL - len(ended.campaign.tried)
    assert played.ran[before][0] == MOVE


def test_an_interrupted_one_goes_on(
    played: Played, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a real one stops are all children of this process, and it goes on in it here.
    monkeypatch.setattr("orchestrator.host.process.cancel", lambda: None)
    played.fails = lambda _: Interrupted("now") if len(played.ran) == 4 else None
    ended = campaign(played, places)
    assert exit_status(ended.campaign) == EXIT_INTERRUPTED
    assert len(ended.campaign.tried) == 2
    played.fails = lambda _: None
    again = campaign(played, places, resume=ended.folder)
    assert len(again.campaign.tried) == ALL
    assert exit_status(again.campaign) == 1


def test_one_whose_guest_was_interrupted_has_not_survived(
    played: Played, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.host.process.cancel", lambda: None)
    # A guest that is stopped ends its run with the workloads that it did not get to.
    played.fails = lambda _: (NOT_RUN, Verdict.SKIP) if len(played.ran) == 3 else None
    ended = campaign(played, places)
    assert exit_status(ended.campaign) == EXIT_INTERRUPTED
    assert len(ended.campaign.tried) == 1


def test_another_campaign_is_not_gone_on_with(played: Played, places: Places) -> None:
    ended = campaign(played, places, sample=2)
    with pytest.raises(UserError, match="had other mutants than are asked for now"):
        campaign(played, places, sample=2, seed=7, resume=ended.folder)
    played.tree = replace(played.tree, tree=played.tree.tree[::-1])
    with pytest.raises((UserError, HostError)):
        campaign(played, places, sample=2, resume=ended.folder)
    assert mutants.load(ended.folder) == ended.campaign


def test_races_are_for_survivors(played: Played, places: Places) -> None:
    played.fails = lambda text: ("moves", Verdict.FAIL) if "put(what)" not in text else None
    ended = campaign(played, places, "race", "a")
    by_operator = {one.mutant.operator: one for one in ended.campaign.tried}
    caught, survived = by_operator["call-left-out"], by_operator["errno"]
    assert (caught.workloads, caught.raced) == (("f/a",), False)
    assert (survived.workloads, survived.raced) == (("f/a", "f/race"), True)
    assert ended.campaign.racing == ("f/race",)


def test_what_catches_is_tried_first(played: Played, places: Places) -> None:
    played.fails = lambda text: ("moves", Verdict.FAIL) if text != MOVE else None
    campaign(played, places, "a", "b", jobs=1)
    orders = [names for _, names in played.ran]
    assert orders[0] == ("f/a", "f/b")
    assert set(orders[1:]) == {("f/a", "f/b")}


def test_what_nobody_runs_survives_without_a_kernel(played: Played, places: Places) -> None:
    """What was counted says so: another workload runs it, and is not asked for."""
    for name, function in (("f/a", "step_1"), ("f/other", "move")):
        code = FileCode(frozenset({1, 2}), (Function(function, 1, 2),))
        ran = {name: {"mm/move.c": frozenset({1})}}
        coverage_map.remember(Coverage({"mm/move.c": code}, ran), "x86_64", "6.12", places.cache)
    ended = campaign(played, places)
    assert ended.campaign.mapped
    assert {one.outcome for one in ended.campaign.tried} == {Outcome.SURVIVED}
    assert {survived_all(one) for one in ended.campaign.tried} == {NOBODY}
    assert len(played.built) == 1
    assert exit_status(ended.campaign) == 1


def test_no_mutants_kernel_stays_in_the_cache(played: Played, places: Places) -> None:
    campaign(played, places)
    kept = [path.name for path in places.cache.builds.iterdir()]
    assert kept == ["1"]  # that without a mutant


def test_only_what_was_not_judged_or_caught_leaves_evidence(played: Played, places: Places) -> None:
    usual = played.run

    def leaves(cell: Cell, built: BuildResult, kernel: Kernel, context: Context) -> Ran:
        context.folder.mkdir(parents=True, exist_ok=True)
        (context.folder / "console.log").write_text(played.text(kernel.tree))
        return usual(cell, built, kernel, context)

    played.run = leaves  # type: ignore[method-assign]
    played.fails = lambda text: ("moves", Verdict.FAIL) if "put(what)" not in text else None
    ended = campaign(played, places)
    (left,) = (ended.folder / "trials").iterdir()
    assert "put(what)" not in (left / "console.log").read_text()


def test_the_lines_of_a_series(played: Played, places: Places) -> None:
    plan = plan_of(played)
    with pytest.raises(UserError, match="kernel k has no series whose lines could be mutated"):
        campaign(played, places, functions=())
    played.tree = replace(
        played.tree, patches=(PatchState(1, "mm: put", "A", "1", True),),
        hunks=(PatchHunk(1, "mm/move.c", "@@", "+\tput(what);", (5,)),),
    )  # fmt: skip
    ended = campaign(played, places, plan=plan, functions=())
    assert [(one.mutant.operator, one.mutant.patch) for one in ended.campaign.tried] == [
        ("call-left-out", 1)
    ]
    played.tree = replace(played.tree, hunks=(PatchHunk(1, "mm/move.c", "@@", "+{", (2,)),))
    with pytest.raises(UserError, match="there is nothing to plant"):
        campaign(played, places, plan=plan, functions=())


def test_a_plan_that_is_not_one_guest_is_refused(played: Played, places: Places) -> None:
    with pytest.raises(UserError, match=r"2 are asked for: k/c/x86_64/s, k/c/x86_64/t"):
        campaign(played, places, plan=plan_of(played, shapes=2))
    plan = plan_of(played)
    counts = replace(plan.cells[0].build, config=ConfigSpec("c", coverage=("mm/*.c",)))
    with pytest.raises(UserError, match="config c counts what runs"):
        campaign(played, places, plan=replace(plan, cells=(replace(plan.cells[0], build=counts),)))
    empty = plan_of(played)
    empty = replace(empty, cells=(replace(empty.cells[0], workloads=()),))
    with pytest.raises(UserError, match="tried with workloads, and none is asked for"):
        campaign(played, places, plan=empty)
    with pytest.raises(UserError, match="tried in a guest, and none is asked for"):
        campaign(played, places, plan=replace(empty, cells=()))
    assert not places.reports.exists()


def test_of_several_machines_it_is_this_one(played: Played) -> None:
    plan = plan_of(played)
    other = replace(plan.cells[0].build, arch="arm64" if HOST_ARCH == "x86_64" else "x86_64")
    mine = replace(plan.cells[0].build, arch=HOST_ARCH or "x86_64")
    cells = tuple(replace(plan.cells[0], build=build) for build in (other, mine))
    assert the_cell(replace(plan, cells=cells)).build == mine
    assert the_cell(replace(plan, cells=cells[:1])).build == other


def test_a_kernel_that_does_not_work_without_any_is_refused(played: Played, places: Places) -> None:
    played.image = lambda _: "error: no rule"
    with pytest.raises(UserError, match="does not build without any mutant: error: no rule"):
        campaign(played, places)
    played.image = lambda text: text
    played.fails = lambda _: ("guest", Verdict.ERROR)
    with pytest.raises(UserError, match="no workload runs without any mutant: f/a:guest: off"):
        campaign(played, places)
    assert not list((places.reports / "mutants").iterdir())


def test_what_is_known_is_written_after_each(played: Played, places: Places) -> None:
    counts: list[int] = []

    def look(_: str) -> None:
        for folder in mutants.list_campaigns(places.reports):
            counts.append(len(json.loads((folder / mutants.FILE).read_text())["tried"]))

    played.fails = look
    campaign(played, places, jobs=2)
    assert counts == list(range(ALL))
