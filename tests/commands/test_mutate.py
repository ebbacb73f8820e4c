# SPDX-License-Identifier: GPL-2.0-only
"""``lab mutate``, with kernels and guests that are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutant_world import ALL, MOVE, Played

from orchestrator.host.cache.files import Cache
from orchestrator.model.names import Verdict
from orchestrator.runner import mutate as engine

LAB = """\
version: 1
kernels:
  mine: {source: "path:linux"}
configs: {default: {fragments: [base]}}
shapes: {small: {memory: 1G}, large: {memory: 2G}}
default_profile: p
workload_folders: [guest-tests]
profiles: {p: {matrix: [{configs: [default], arches: [x86_64, arm64], shapes: [small, large]}]}}
"""
MANIFEST = """\
family: f
description: played
workloads:
  - {name: a, program: x.py, description: one}
"""
GUEST = ("--arch", "x86_64", "--shape", "small")
MOVE_IT = ("mutate", "--function", "move", *GUEST, "--plain")


@pytest.fixture
def played(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    (folder / "lab.yaml").write_text(LAB)
    family = folder / "guest-tests" / "f"
    family.mkdir(parents=True)
    (family / "manifest.yaml").write_text(MANIFEST)
    (family / "x.py").write_text("")
    found = Played(folder / "linux", Cache(tmp_path / "cache"))
    found.fails = lambda text: ("moves", Verdict.FAIL) if "put(what)" not in text else None
    monkeypatch.setattr(engine, "Stages", found.stages)
    return found


def test_it_ends_with_the_survivors_and_the_score(
    played: Played, folder: Path, lab: Callable[..., Any]
) -> None:
    done = lab(*MOVE_IT)
    assert done.status == 1, done
    lines = done.out.splitlines()
    told = [line for line in lines if " mutant mm/move.c:" in line]
    assert len(told) == ALL
    caught = "PASS: caught by default/x86_64/small:f/a:moves; `put(what);` left out"
    assert any(f"mm/move.c:5:2:call-left-out {caught}" in line for line in told)
    assert sum(line.startswith("SURVIVED  mm/move.c:") for line in lines) == ALL - 1
    assert "          -\t\treturn -EAGAIN;" in lines
    (campaign,) = (folder / "reports" / "mutants").iterdir()
    assert lines[-2:] == [
        f"1 of {ALL} mutants caught (9 %)",
        f"exit status 1; report: {campaign / 'index.html'}",
    ]
    # It is no run: neither the latest nor in the history.
    assert not (folder / "reports" / "latest").exists()
    assert lab("history").status != 1


def test_a_survivor_is_tried_once_more_by_its_name(played: Played, lab: Callable[..., Any]) -> None:
    name = "mm/move.c:5:2:call-left-out"
    done = lab("mutate", "--mutant", name, *GUEST, "--plain")
    assert done.status == 0, done
    assert "1 of 1 mutant caught" in done.out
    both = lab(*MOVE_IT, "--mutant", name)
    assert both.status == 2
    assert "--function and --mutant exclude each other" in both.err


def test_one_line_is_enough(played: Played, lab: Callable[..., Any]) -> None:
    done = lab(*MOVE_IT, "-q", "--sample", "3", "--seed", "5")
    assert done.out.startswith("mutants: ")
    assert len(done.out.splitlines()) == 1
    assert f" % of all {ALL}, with 95 %)" in done.out


def test_all_caught_is_success(played: Played, lab: Callable[..., Any]) -> None:
    played.fails = lambda text: ("moves", Verdict.FAIL) if text != MOVE else None
    assert lab(*MOVE_IT).status == 0


def test_scripts_get_events(played: Played, lab: Callable[..., Any]) -> None:
    done = lab("mutate", "--function", "move", *GUEST, "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert sum(event["event"] == "mutant" for event in events) == ALL
    last = events[-1]
    assert (last["event"], last["exit_status"], last["population"]) == ("mutants", 1, ALL)
    assert (last["score"]["caught"], last["score"]["survived"]) == (1, ALL - 1)
    assert len(last["survived"]) == ALL - 1


def test_a_list_builds_nothing(played: Played, folder: Path, lab: Callable[..., Any]) -> None:
    done = lab(*MOVE_IT[:-1], "--dry-run", "--sample", "4")
    assert done.status == 0
    lines = done.out.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("mm/move.c:") for line in lines[:-1])
    assert lines[-1] == f"4 of {ALL} mutants would be tried"
    assert played.built == []
    assert not (folder / "reports").exists()
    told = json.loads(lab(*MOVE_IT[:-1], "--dry-run", "--sample", "4", "--json").out)
    assert [one["name"] for one in told["mutants"]] == [line.split()[0] for line in lines[:-1]]


def test_it_goes_on_as_it_was_begun(played: Played, folder: Path, lab: Callable[..., Any]) -> None:
    begun = lab(*MOVE_IT, "--sample", "4", "--seed", "9", "--budget", "0.001s")
    assert begun.status == 3
    assert "; 4 not tried: the time budget was spent" in begun.out
    (campaign,) = (folder / "reports" / "mutants").iterdir()
    assert f"`lab mutate --resume {campaign.name}` goes on" in begun.out
    done = lab("mutate", "--resume", "latest", "--plain")
    assert done.status in (0, 1), done
    stored = json.loads((campaign / "mutants.json").read_text())
    assert (len(stored["tried"]), stored["cut"], stored["seed"]) == (4, "", 9)
    assert stored["command"].startswith("lab mutate --function move --arch x86_64 --shape small --")
    assert len(list((folder / "reports" / "mutants").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--function", "move"), "mutants are tried in one guest, and 2 are asked for: mine/def"),
        (GUEST, "kernel mine has no series whose lines could be mutated"),
        (("--function", "mova", *GUEST), "no function mova is defined in mine"),
        (("--function", "move", *GUEST, "--resume", "x"), "no campaign of mutants 'x'"),
        (("--function", "move", *GUEST, "--baseline", "x"), "No such option"),
        (("--sample", "0"), "0 is not in the range"),
        (("--budget", "long"), "expected a duration such as 90s"),
    ],
)
def test_wrong_input_is_one_sentence(
    played: Played, folder: Path, lab: Callable[..., Any], words: tuple[str, ...], message: str
) -> None:
    done = lab("mutate", *words)
    assert done.status == 2
    assert message in done.err
    reports = folder / "reports" / "mutants"
    assert not reports.exists() or not list(reports.iterdir())
