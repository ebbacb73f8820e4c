# SPDX-License-Identifier: GPL-2.0-only
"""Which patch brought a failure: the search, by hand and by simulation."""

from __future__ import annotations

import math

import pytest
from measure_bisection import searched, simulated

from orchestrator.judge.bisection import Culprit, Search, Tried, search

CLEAR = (Tried(0, False), Tried(8, True))


@pytest.mark.parametrize("guilty", range(1, 9))
def test_what_is_deterministic_is_halved(guilty: int) -> None:
    found, trials = searched(8, lambda place: place >= guilty, deterministic=True)
    assert (found.first, found.last) == (guilty, guilty)
    assert trials == 2 + 2 * 3


def test_a_thousand_commits_take_ten_steps() -> None:
    found, trials = searched(1000, lambda place: place >= 717, deterministic=True)
    assert (found.first, found.last) == (717, 717)
    assert trials <= 2 + 2 * math.ceil(math.log2(1000))


def test_one_patch_alone_is_the_culprit() -> None:
    assert search(1, [Tried(0, False), Tried(1, True)]) == Search(Culprit(1, 1, 1.0), None)


def test_one_trial_in_the_midst_moves_the_likely_ones() -> None:
    assert search(8, CLEAR).place == 4
    late = search(8, [*CLEAR, Tried(4, False)]).culprit
    early = search(8, [*CLEAR, Tried(4, True)]).culprit
    assert late.first > 4 >= early.last


def test_what_cannot_be_tried_is_left_out_and_told_as_a_range() -> None:
    found, _ = searched(8, lambda place: place >= 4, untried=(3, 4, 5), deterministic=True)
    assert (found.first, found.last) == (3, 6)
    assert search(8, CLEAR, (4,)).place in (3, 5)
    whole = search(3, [Tried(0, False), Tried(3, True)], (1, 2))
    assert whole == Search(Culprit(1, 3, 1.0), None)


def test_a_failure_without_the_patches_speaks_for_no_certainty() -> None:
    calm = search(4, [Tried(0, False)] * 5 + [Tried(2, True)])
    wild = search(4, [Tried(0, False)] * 5 + [Tried(0, True)] * 3 + [Tried(2, True)])
    assert wild.culprit.probability < calm.culprit.probability


def test_what_is_said_to_be_deterministic_and_is_not_is_no_crash() -> None:
    trials = [Tried(0, False), Tried(4, True), Tried(2, True), Tried(2, False), Tried(0, True)]
    found = search(4, trials, deterministic=True)
    assert 0 < found.culprit.probability < 1


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "base"), [(1.0, 0.0), (0.4, 0.0), (0.7, 0.2)])
def test_a_flaky_one_is_found_and_rarely_misnamed(rate: float, base: float) -> None:
    wrong, median = simulated(rate, base, 60)
    assert wrong <= 3  # 1 % is promised; three of 60 come by chance in 1 of 50 at twice that
    assert median < 160
