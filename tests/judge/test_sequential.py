# SPDX-License-Identifier: GPL-2.0-only
"""The sequential test of trials with and without a series: its error rates, by simulation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

import pytest
from measure_sequential import NOISES, in_bursts, simulated

from orchestrator.judge.sequential import Decided, decide
from orchestrator.model.judging import Decision, ErrorRates


def repeated(pair: tuple[bool, bool], count: int = 300) -> Iterable[tuple[bool, bool]]:
    return itertools.repeat(pair, count)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ((True, False), Decided(Decision.REGRESSION, 4, 4, 0)),
        ((False, True), Decided(Decision.HARMLESS, 3, 0, 3)),
        ((False, False), Decided(Decision.NEITHER, 15, 0, 0)),
        ((True, True), Decided(Decision.BOTH, 15, 15, 15)),
    ],
)
def test_what_comes_to_the_same_each_time_is_soon_decided(pair, expected):
    assert decide(repeated(pair)) == expected
    assert decide(repeated(pair, expected.pairs - 1)).decision is Decision.UNDECIDED


def test_of_what_is_known_to_be_deterministic_one_pair_is_enough():
    found = decide([(True, False)], deterministic=True)
    assert found == Decided(Decision.REGRESSION, 1, 1, 0)
    assert decide([(False, True)], deterministic=True).decision is Decision.BETTER
    # It is not what it was said to be: the counts decide as of any other case.
    pairs = [(True, True), *[(True, False)] * 3]
    assert decide(pairs, deterministic=True).decision is Decision.UNDECIDED


def test_nothing_decides_nothing():
    assert decide([]) == Decided(Decision.UNDECIDED, 0, 0, 0)


def test_one_wild_pair_does_not_undo_what_is_plain():
    pairs = [(True, False)] * 3 + [(False, True)] + [(True, False)] * 20
    assert decide(pairs).decision is Decision.REGRESSION
    assert decide([(True, False)] + [(False, False)] * 60).decision is Decision.HARMLESS


def test_stricter_rates_take_more_pairs():
    strict = ErrorRates(false_regressions=1e-6, missed=0.001, points=0.2)
    assert decide(repeated((True, False)), strict).pairs > 8
    assert decide(repeated((False, False)), strict).pairs > 30


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.02, 0.2, 0.5, 0.9])
def test_a_flake_on_both_sides_is_rarely_called_a_regression(rate):
    assert simulated(rate, rate).share(Decision.REGRESSION) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "base", "median"), [(0.5, 0.2, 90), (0.3, 0.0, 45), (0.9, 0.6, 80), (1.0, 0.7, 45)]
)
def test_a_regression_of_thirty_points_is_rarely_missed(rate, base, median):
    found = simulated(rate, base)
    assert found.share(Decision.REGRESSION) >= 0.95
    assert found.median <= median


@pytest.mark.slow
def test_a_better_kernel_is_no_regression():
    assert simulated(0.2, 0.5).found[Decision.REGRESSION] == 0


@pytest.mark.parametrize("noise", NOISES)
def test_each_kind_of_noise_fails_as_often_as_it_says(noise):
    pairs = list(itertools.islice(NOISES[noise](0.5, 0.2, random.Random(noise)), 20000))
    assert abs(sum(failed for failed, _ in pairs) / len(pairs) - 0.5) < 0.02
    assert abs(sum(failed for _, failed in pairs) / len(pairs) - 0.2) < 0.02


def test_failures_of_bursts_crowd_and_cannot_always_be_there():
    pairs = list(itertools.islice(in_bursts(0.2, 0.2, random.Random(1)), 20000))
    both = sum(one and other for one, other in pairs) / len(pairs)
    assert both > 1.5 * 0.2 * 0.2
    with pytest.raises(ValueError, match="no bursts"):
        next(in_bursts(0.5, 0.5, random.Random(1)))


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["drifting", "in bursts"])
def test_noise_that_both_kernels_share_makes_no_regression(noise):
    assert simulated(0.2, 0.2, noise).share(Decision.REGRESSION) <= 0.01
    assert simulated(0.5, 0.2, noise).share(Decision.REGRESSION) >= 0.95
