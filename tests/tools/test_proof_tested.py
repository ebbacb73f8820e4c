# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_tested.py: the command it runs, what it makes of a campaign, the page."""

from __future__ import annotations

from pathlib import Path

import proof_tested as program
import pytest
from marks import put_between
from sample_mutants import campaign, tried

from orchestrator import HOME
from orchestrator.commands.arguments import cli
from orchestrator.commands.options import selection_of
from orchestrator.model.arch import ARCHES
from orchestrator.model.mutants import Outcome
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import make_plan
from orchestrator.results import mutants
from orchestrator.runner.mutate import the_cell

SURVIVOR = "mm/userfaultfd.c:1200:2:call-left-out"


def test_the_command_is_one_of_the_labs_and_means_one_guest(tmp_path: Path) -> None:
    words = program.command(tmp_path / "campaign", 60, None)[1:]
    made = cli.commands["mutate"].make_context("mutate", words[1:])
    asked = made.params
    assert (asked["budget"], asked["sample"], asked["resume"]) == (60.0, program.SAMPLE, None)
    assert program.SAMPLE >= 120
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    cell = the_cell(make_plan(config, selection_of(asked), tuple(ARCHES)))
    assert cell.id == "v6.12/default/x86_64/small"
    families = {spec.family: spec.deterministic for spec in cell.workloads}
    assert set(families) == set(program.WORKLOADS)
    assert families["race"] is False
    assert sum(spec.deterministic for spec in cell.workloads) > 30


def test_what_was_cut_goes_on(tmp_path: Path) -> None:
    mutants.save(campaign(), tmp_path)
    words = program.command(tmp_path, None, 4)
    assert words[-2:] == ["--resume", str(tmp_path)]
    assert "--function" not in words
    assert cli.commands["mutate"].make_context("mutate", words[2:]).params["jobs"] == 4


def test_survivors_are_tried_again(tmp_path: Path) -> None:
    mutants.save(campaign(), tmp_path)
    program.forget_survivors(tmp_path)
    left = mutants.load(tmp_path)
    assert {one.outcome for one in left.tried} == set(Outcome) - {Outcome.SURVIVED}
    assert program.status(left, {}) == 3


@pytest.mark.parametrize(
    ("outcomes", "told", "status"),
    [
        ((Outcome.CAUGHT,), {}, 0),
        ((Outcome.CAUGHT, Outcome.SURVIVED), {}, 1),
        ((Outcome.CAUGHT, Outcome.SURVIVED), {"mm/userfaultfd.c:1002:2:call-left-out": "x"}, 0),
        ((Outcome.CAUGHT, Outcome.NOT_JUDGED), {}, 3),
    ],
)
def test_the_exit_status(outcomes, told, status) -> None:  # type: ignore[no-untyped-def]
    parts = [tried(1000 + at, outcome) for at, outcome in enumerate(outcomes, 1)]
    assert program.status(campaign(*parts), told) == status
    assert program.status(campaign(*parts, cut="the time budget was spent"), told) == 3
    assert program.status(None, told) == 3


def test_each_survivor_has_its_sentence_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "tested.md"
    page.write_text((HOME / "docs" / "tested.md").read_text())
    rows = program.body(campaign(), {SURVIVOR: "equivalent: nobody looks."})
    put_between(page, program.START, program.END, "\n".join(rows))
    text = page.read_text()
    assert "equivalent: nobody looks." in text
    assert program.NO_SENTENCE not in text
    assert "3 of 4 mutants caught (75 %; 30 to 96 % of all 40, with 95 %)" in text
    assert text.count(program.END) == 1
    assert program.NO_SENTENCE in "\n".join(program.body(campaign(), {}))
    # A bar in source does not end a cell: every row has as many cells as its head.
    assert all(row.replace("\\|", "").count("|") in (4, 8) for row in rows if row.startswith("|"))


def test_the_page_says_where_nothing_was_run() -> None:
    assert program.body(None, {}) == [program.NOT_RUN]
    assert program.START in program.PAGE.read_text()
    assert program.END in program.PAGE.read_text()


def test_the_sentences_are_about_mutants() -> None:
    for name in program.sentences(program.SENTENCES):
        assert len(name.split(":")) == 4, name
