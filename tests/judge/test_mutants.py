# SPDX-License-Identifier: GPL-2.0-only
"""Scores of mutants, how far a sample may be off, and the exit status."""

from __future__ import annotations

import random

import pytest
from sample_mutants import campaign, tried

from orchestrator.judge import mutants
from orchestrator.judge.mutants import (
    by_function,
    by_patch,
    counts,
    exit_status,
    score,
    sentence,
    wilson,
)
from orchestrator.model.mutants import MutantCount, Outcome

C, S, N, K, H = (Outcome.CAUGHT, Outcome.SURVIVED, Outcome.NOT_COMPILED, Outcome.SAME_CODE,
                 Outcome.NOT_JUDGED)  # fmt: skip


def of(*outcomes: Outcome, **more: object) -> mutants.Campaign:
    parts = [tried(1000 + at, outcome) for at, outcome in enumerate(outcomes)]
    return campaign(*parts, **{"population": len(parts)} | more)


def test_what_was_never_a_kernel_of_its_own_does_not_count() -> None:
    found = score(campaign().tried, sampled=False)
    counts = (found.caught, found.survived, found.not_compiled, found.same_code, found.not_judged)
    assert counts == (3, 1, 1, 1, 1)
    assert (found.judged, found.share, found.low, found.high) == (4, 0.75, 0.75, 0.75)


def test_an_interval_of_which_others_say_the_same() -> None:
    # Newcombe 1998, table I: 81 of 263 and 15 of 148 and 0 of 20, by Wilson's method.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_interval_holds_the_share_of_all_as_often_as_it_says() -> None:
    chance = random.Random(5)
    for share in (0.6, 0.9):
        population = [at < share * 600 for at in range(600)]
        held = 0
        for _ in range(1000):
            low, high = wilson(sum(chance.sample(population, 120)), 120)
            held += low <= share <= high
        assert held >= 940


def test_each_function_and_patch_has_its_score_in_order() -> None:
    found = campaign()
    functions = [(one.name, one.caught, one.survived) for one in by_function(found)]
    assert functions == [
        ("mm/userfaultfd.c:move_present_pte", 2, 0), ("mm/userfaultfd.c:move_swap_pte", 1, 1),
    ]  # fmt: skip
    assert [(one.name, one.caught, one.judged) for one in by_patch(found)] == [
        ("patch 1", 2, 2), ("patch 2", 1, 2),
    ]  # fmt: skip
    assert by_patch(of(C, S)) == ()


def test_counts_of_a_series_leave_out_what_was_not_judged() -> None:
    assert counts(campaign()) == (
        MutantCount(3, 4), MutantCount(2, 2, patch=1), MutantCount(1, 2, patch=2),
    )  # fmt: skip
    assert counts(of(N, H)) == ()


@pytest.mark.parametrize(
    ("outcomes", "more", "status"),
    [
        ((C, C, N, K), {}, 0),
        ((C, S), {}, 1),
        ((C, S, H), {}, 3),
        ((C, C), {"chosen": 3, "cut": "the time budget was spent"}, 3),
        ((C, C), {"chosen": 3, "cut": mutants.INTERRUPTED}, 130),
        ((N, K), {}, 3),  # nothing was shown
        ((C,), {"problems": ("no disk",)}, 3),
        ((C, C), {"population": 50, "chosen": 2}, 0),
    ],
)
def test_the_exit_status(outcomes, more, status) -> None:  # type: ignore[no-untyped-def]
    assert exit_status(of(*outcomes, **{"chosen": len(outcomes)} | more)) == status


def test_a_sentence_says_what_it_is_worth() -> None:
    assert sentence(campaign()) == (
        "3 of 4 mutants caught (75 %; 30 to 96 % of all 40, with 95 %); 1 not compiled; "
        "1 without a change of code; 1 not judged"
    )
    assert sentence(of(C, C, S)) == "2 of 3 mutants caught (67 %)"
    assert sentence(of(N)) == "no mutant was judged; 1 not compiled"
    cut = of(C, chosen=4, population=4, cut="the time budget was spent")
    assert sentence(cut).endswith("; 3 not tried: the time budget was spent")
    # A hundred per cent is all of them, none is none.
    assert sentence(of(*[C] * 299, S)).startswith("299 of 300 mutants caught (99 %)")
    assert sentence(of(*[S] * 299, C)).startswith("1 of 300 mutants caught (1 %)")


def test_one_of_an_outcome_is_found_where_it_stands() -> None:
    assert [one.mutant.line for one in mutants.of_outcome(campaign(), C)] == [1058, 1060, 1180]
