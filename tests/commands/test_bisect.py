# SPDX-License-Identifier: GPL-2.0-only
"""``lab bisect``, with kernels and guests that are played."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rerun_world import CASE, World, make_world

from orchestrator.model.names import Verdict
from orchestrator.runner import searching

PATCHES = 4


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(folder, monkeypatch, searching, PATCHES)


def failing_from(world: World, guilty: int) -> None:
    names = ["v6.12", *(f"cli@patch-{n}" for n in range(1, PATCHES)), "cli"]
    world.script = {name: [Verdict.FAIL] * 9 for name in names[guilty:]}


@pytest.mark.parametrize("guilty", [1, 3, 4])
def test_the_last_line_names_the_patch(world: World, lab: Callable[..., Any], guilty: int) -> None:
    failing_from(world, guilty)
    done = lab("bisect", "r1", CASE, "--plain")
    assert done.status == 0, done
    last = done.out.splitlines()[-1]
    said = f"{CASE}: patch {guilty} of 4 brought it: mm: {guilty} (probability over 99.9%; "
    assert last.startswith(said)
    assert world.booted[:2] == ["v6.12", "cli"]
    assert len(world.booted) == 4


def test_it_is_a_search_wherever_runs_are_told_of(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    failing_from(world, 3)
    assert lab("bisect", "r1", CASE, "--quiet").out.startswith(f"searched: {CASE}: patch 3 of 4 ")
    told = "searched: patch 3 of 4 brought it (over 99.9%)"
    assert lab("history").out.splitlines()[1].endswith(told)
    assert told in (folder / "reports" / "index.html").read_text()
    own = (folder / "reports" / "latest" / "index.html").read_text()
    assert ">Patch 3 of 4 brought it: mm: 3 (probability " in own
    # The run that it is about tells it too.
    page = (folder / "reports" / "r1" / "index.html").read_text()
    assert '<a href="#searches">Patch 3 of 4</a> ' in page
    assert "brought (over 99.9%)" in page
    mail = " ".join(lab("report", "r1", "--mail").out.split())
    assert "sure (over 99.9%; fails 2 of 2 with it, 0 of 2 before), tried in " in mail


def test_as_json_the_answer_is_an_event(world: World, lab: Callable[..., Any]) -> None:
    failing_from(world, 2)
    events = [json.loads(line) for line in lab("bisect", "r1", CASE, "--json").out.splitlines()]
    (event,) = [one for one in events if one["event"] == "bisect"]
    assert (event["culprit"]["first"], event["culprit"]["last"]) == (2, 2)
    assert event["trials"][:2] == [[0, False], [4, True]]
    assert event["left_out"] == []


def test_without_words_a_search_goes_on_with_its_own_case(
    world: World, lab: Callable[..., Any]
) -> None:
    failing_from(world, 2)
    assert lab("bisect", "r1", CASE, "--plain", "--trials", "2").status == 1
    done = lab("bisect", "--plain", "--resume", "latest")
    assert done.status == 0, done
    assert done.out.splitlines()[-1].startswith(f"{CASE}: patch 2 of 4 brought it: mm: 2 ")
    assert len(world.booted) == 4


def test_what_does_not_fail_again_is_no_search(world: World, lab: Callable[..., Any]) -> None:
    done = lab("bisect", "r1", CASE, "--plain")
    assert done.status == 1
    assert "nothing to search: fails 0 of 15 at the end" in done.out


def test_what_passed_is_no_search(world: World, lab: Callable[..., Any]) -> None:
    for command in ("bisect", "narrow"):
        done = lab(command, "r1", CASE.replace("counters", "moves"), "--plain")
        assert done.status == 2
        assert "fam/one:moves passed in run r1: there is no failure to search" in done.err
    assert world.booted == []


def test_a_range_of_commits_and_a_merge_in_it(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    tree = folder / "linux"
    who = ["-c", "user.name=N", "-c", "user.email=n@example.org"]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *who, "-C", tree, *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    tree.mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "good")
    git("tag", "good")
    git("checkout", "-q", "-b", "side")
    git("commit", "-q", "--allow-empty", "-m", "mm: s")
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "-m", "Merge side", "side")
    git("commit", "-q", "--allow-empty", "-m", "mm: d")
    line = git("log", "--first-parent", "--reverse", "--format=%h", "--abbrev=12").split()
    world.script = {name: [Verdict.FAIL] * 9 for name in line[1:]}
    done = lab("bisect", "r1", CASE, "--plain", "--range", f"git:{tree}#good..main")
    assert done.status == 0, done
    said, hint = done.out.splitlines()[-2:]
    assert f"commit 1 of 2 brought it: {line[1]} Merge side" in said
    assert hint.startswith("it is a merge; what it brought is searched by: lab bisect r1 ")
    assert hint.endswith(
        f"--range git:{tree}#{git('rev-parse', 'good')}..{git('rev-parse', 'side')}"
    )


def test_without_a_series_a_range_is_asked_for(
    world: World, folder: Path, lab: Callable[..., Any]
) -> None:
    stored = folder / "reports" / "r1" / "results.json"
    run = json.loads(stored.read_text())
    run["kernels"][0] |= {"series": [], "series_origin": ""}
    stored.write_text(json.dumps(run))
    done = lab("bisect", "r1", CASE)
    assert done.status == 2
    assert "has no series to search" in done.err
    assert "--range git:DIR#GOOD..BAD" in done.err
    assert lab("bisect", "r1", CASE, "--range", "a..b").status == 2
