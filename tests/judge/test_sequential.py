# SPDX-License-Identifier: GPL-2.0-only
"""The sequential test of trials with and without a series: its error rates, by simulation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from measure_sequential import simulated

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
    found, _ = simulated(rate, rate)
    assert found[Decision.REGRESSION] <= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "base", "median"), [(0.5, 0.2, 90), (0.3, 0.0, 45), (0.9, 0.6, 80), (1.0, 0.7, 45)]
)
def test_a_regression_of_thirty_points_is_rarely_missed(rate, base, median):
    found, took = simulated(rate, base)
    assert found[Decision.REGRESSION] >= 950
    assert took <= median


@pytest.mark.slow
def test_a_better_kernel_is_no_regression():
    found, _ = simulated(0.2, 0.5)
    assert found[Decision.REGRESSION] == 0
