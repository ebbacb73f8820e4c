# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_explore.py: its commands, what it reads in a run's results, its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import proof_explore as program
import pytest
from marks import put_between
from plants import PLANTS, Plant

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.commands.options import selection_of
from orchestrator.model.arch import ARCHES
from orchestrator.plan.explore import MODES, exploring, refuse_unable
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import make_plan

PLANT = next(plant for plant in PLANTS if plant.name == "mm-dontunmap-counts-twice")
CONTROL = next(plant for plant in PLANTS if plant.name == "mm-control-comment")
FIND = {"rule": "VmLck", "step": "remap-dontunmap", "program": ["0 mmap", "0 mlock", "0 remap"]}


def case(name: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    """As results.json has a case."""
    found: dict[str, Any] = {"workload": "explore/steady", "case": name, "verdict": verdict}
    return found | more


def swarm(name: str, programs: float, steps: float, rate: float) -> dict[str, Any]:
    figures = {"programs": programs, "steps": steps, "rate": rate}
    told = [{"name": key, "value": value, "unit": ""} for key, value in figures.items()]
    return case(name, measurements=told)


def results(*cases: dict[str, Any], build: str = "pass", complete: bool = True) -> dict[str, Any]:
    return {
        "run": {"complete": complete},
        "kernels": [{"name": "v6.12", "version": "6.12.117"}],
        "builds": [{"verdict": build}],
        "cells": [{"cases": list(cases)}] if cases else [],
    }


def came(step: program.Step, campaign: program.Campaign, **more: Any) -> program.Came:
    like = program.Came(step.name, campaign.key(step), "2026-12-01", 3, 120, 40.0, 61.0)
    return replace(like, version="6.12.117", **more)


@pytest.mark.parametrize("step", [*program.clean(), *program.planted(PLANT)], ids=lambda s: s.name)
def test_a_command_is_one_of_the_labs_and_means_one_guest(
    step: program.Step, tmp_path: Path
) -> None:
    words = program.command(step, tmp_path, step.seconds, 2)[1:]
    asked = cli.commands["explore"].make_context("explore", words[1:]).params
    assert (asked["mode"], asked["seconds"], asked["jobs"]) == (step.mode, step.seconds, 2)
    assert asked["finds"] == (1 if step.plant else None)
    assert asked["corpus"].parent == tmp_path, "neither the user's programs nor those of a plant"
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    chosen = replace(selection_of(asked), workloads=(MODES[step.mode],))
    plan = make_plan(config, chosen, tuple(ARCHES))
    refuse_unable(plan, step.mode, config)
    (cell,) = exploring(plan, step.mode).cells
    kernel = "cli" if step.plant else "v6.12"
    assert cell.id == f"{kernel}/{step.config}/{step.arch}/{step.shape}"


def test_no_two_steps_are_called_alike_or_draw_the_same_programs() -> None:
    steps = [*program.clean(), *(s for plant in PLANTS for s in program.planted(plant))]
    assert len({step.name for step in steps}) == len({step.seed for step in steps}) == len(steps)
    modes = {(step.arch, step.shape, step.mode) for step in program.clean()}
    assert len(modes) == 12, "both architectures, huge pages on request and always, three modes"
    assert {step.config for step in program.clean()} >= {"debug-vm", "lockdep"}


def test_a_clean_run_has_figures_and_no_alarm() -> None:
    known = case("mremap-beside-registered", "skip", known="docs/findings.md", find=FIND)
    told = program.of_results(
        results(swarm("files", 10, 400, 100.0), swarm("advice", 20, 600, 50.0), known)
    )
    assert (told["programs"], told["steps"], told["found"], told["others"]) == (30, 1000, "", 0)
    assert told["rate"] == pytest.approx(62.5)
    assert told["version"] == "6.12.117"


def test_a_find_stands_before_what_else_failed() -> None:
    find = case("VmLck-remap-dontunmap", "fail", reason="steady.c:1: VmLck is 8", find=FIND)
    told = program.of_results(
        results(swarm("files", 1, 40, 9.0), case("kernel-log", "fail", reason="BUG"), find)
    )
    assert told["found"] == "explore/steady:VmLck-remap-dontunmap"
    assert (told["said"], told["others"], told["program"]) == ("steady.c:1: VmLck is 8", 1, 3)
    alone = program.of_results(results(case("guest", "error", reason="gone")))
    assert (alone["found"], alone["program"]) == ("explore/steady:guest", 0)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (results(build="error"), "no kernel"),
        (results(), "no program was carried out: no cases"),
        (results(case("needs", "skip", reason="the kernel has no CONFIG_FAILSLAB")), "FAILSLAB"),
        (results(swarm("files", 0, 0, 0.0)), "no program"),
    ],
)
def test_what_explored_nothing_is_no_clean_run(odd: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        program.of_results(odd)


def test_a_plant_is_tried_in_one_mode_after_the_other_until_it_is_found(tmp_path: Path) -> None:
    campaign = program.Campaign(tmp_path, explorer="a")
    steady, failing, racing = program.planted(PLANT)
    assert program.next_of(PLANT, {}) == steady
    campaign.keep(came(steady, campaign))
    done = program.came_of(campaign, PLANT)
    assert program.next_of(PLANT, done) == failing
    assert failing.config == "fault-injection"
    assert program.plant_row(PLANT, done, "").split(" | ")[3] == "nothing yet: steady"
    campaign.keep(came(failing, campaign, found="explore/failing:state-move", said="page 1 | x",
                       program=4))  # fmt: skip
    again = program.Campaign(tmp_path, explorer="a")
    done = program.came_of(again, PLANT)
    assert program.next_of(PLANT, done) is None
    row = program.plant_row(PLANT, done, "`mm/mlock:leave-mapped`")
    assert row.split(" | ")[2:] == [
        "`mm/mlock:leave-mapped`", "`state-move`, failing", "page 1 \\| x", "4", "61 |",
    ]  # fmt: skip
    # Another explorer, or another time, and none of it counts.
    assert program.Campaign(tmp_path, explorer="b").of(steady) is None
    assert program.Campaign(tmp_path, time=9.0, explorer="a").of(steady) is None
    assert program.next_of(PLANT, {"steady": came(steady, again), "failing": came(failing, again),
                                   "racing": came(racing, again)}) is None  # fmt: skip


def test_a_control_is_tried_in_all_modes_and_a_find_in_it_is_an_alarm(tmp_path: Path) -> None:
    campaign = program.Campaign(tmp_path, explorer="a")
    steady, failing, _ = program.planted(CONTROL)
    assert program.status(campaign, [CONTROL]) == 3
    campaign.keep(came(steady, campaign, found="explore/steady:state-move"))
    done = program.came_of(campaign, CONTROL)
    assert program.next_of(CONTROL, done) == failing
    assert program.status(campaign, [CONTROL]) == 1
    assert "**`state-move`, steady**" in program.plant_row(CONTROL, done, "")


def _all(campaign: program.Campaign, plants: list[Plant], found: str) -> None:
    for step in program.clean():
        campaign.keep(came(step, campaign, found=found if "lockdep" in step.name else ""))
    for plant in plants:
        for step in program.planted(plant):
            campaign.keep(came(step, campaign))


@pytest.mark.parametrize(("found", "status"), [("", 0), ("explore/steady:kernel-log", 1)])
def test_the_tables(tmp_path: Path, found: str, status: int) -> None:
    campaign = program.Campaign(tmp_path, explorer="a")
    plants = [PLANT, CONTROL]
    assert program.body(campaign, plants) == [program.NOT_RUN]
    _all(campaign, plants, found)
    assert program.status(campaign, plants) == status
    lines = program.body(campaign, plants)
    assert "of 1 plants that are through (1 in all) 0 were found" in lines[0]
    widths = {line.count(" | ") for line in lines if line.startswith("| ")}
    assert widths == {6, 7}
    rows = {line.split(" | ")[0]: line for line in lines}
    assert "not found in 360 steps" in rows[f"| `{PLANT.name}`"]
    assert "none in 360 steps" in rows[f"| `{CONTROL.name}`"]
    assert "`mm/mlock:leave-mapped`" in rows[f"| `{PLANT.name}`"], "what docs/detection.md has"
    assert sum(line.endswith(" none |") for line in lines) == (16 if not found else 14)


def test_the_page_has_its_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(program.PAGE.read_text())
    put_between(page, program.START, program.END, "here")
    assert page.read_text().count("here\n<!-- end of explored -->") == 1
    assert len(page.read_text().splitlines()) > 100


def test_what_was_asked_for() -> None:
    assert program.wanted("clean/default/arm64/small/steady", [])
    assert program.wanted("mm-control-comment/steady", ["mm-*"])
    assert program.wanted("mm-control-comment/steady", ["mm-control-comment"])
    assert not program.wanted("mm-control-comment/racing", ["*/steady"])
