# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants in words."""

from __future__ import annotations

from sample_mutants import campaign, tried

from orchestrator.judge.mutants import score
from orchestrator.model.mutants import Outcome
from orchestrator.report.mutants_text import about, interval, lines


def test_the_survivor_and_its_diff_come_first_the_answer_last() -> None:
    told = lines(campaign(mapped=True, racing=("race/zap",)))
    text = "\n".join(told)
    assert (
        told[1]
        == "mutants of the lines of its series, cli (6.12.117), tried in cli/default/x86_64/small"
    )
    assert "a random sample of 7 of 40 (seed 1)" in told
    at = told.index(
        "SURVIVED  mm/userfaultfd.c:1200 move_swap_pte(): `folio_put(<folio>);` left out"
    )
    assert told[at + 1].strip() == (
        "2 workloads passed, racing ones among them; mm/userfaultfd.c:1200:2:call-left-out"
    )
    assert [line.strip() for line in told[at + 2 : at + 4]] == ["-\tfolio_put(<folio>);", "+\t;"]
    assert "ERROR     mm/userfaultfd.c:1190 move_swap_pte(): no QEMU" in told
    assert "left out: mm/userfaultfd.c, move_swap_pte(), line 12-13: a <macro>" in told
    assert "patch 1" in text
    assert "move_present_pte" in text
    assert told[-1].startswith("3 of 4 mutants caught (75 %; 30 to 96 % of all 40, with 95 %)")


def test_what_was_asked_is_said() -> None:
    told = about(campaign(asked=("move_pages", "move_swap_pte"), population=7))
    assert told[0].startswith("mutants of functions move_pages, move_swap_pte, cli (6.12.117)")
    assert told[1:] == ("1 case that failed without a mutant too caught none",)
    told = about(campaign(asked=("mm/userfaultfd.c:1192:2:errno",), population=1))
    assert told[0].startswith("mutants mm/userfaultfd.c:1192:2:errno, cli (6.12.117)")


def test_a_share_has_its_interval_where_it_is_a_sample() -> None:
    some = (tried(1, Outcome.CAUGHT), tried(2, Outcome.SURVIVED))
    assert interval(score(some, sampled=True)) == "50 % (9 to 91)"
    assert interval(score(some, sampled=False)) == "50 %"
    assert interval(score((), sampled=True)) == "-"


def test_nothing_steers_the_terminal() -> None:
    ugly = campaign(problems=("a\x1b[31m",), left_out=())
    assert not any("\x1b" in line for line in lines(ugly))
