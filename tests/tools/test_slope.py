# SPDX-License-Identifier: GPL-2.0-only
"""tools/slope.py: what grows is told from what is noisy, and from too few values."""

from __future__ import annotations

import random

import pytest
from slope import FEWEST, FLAT, GROWS, UNSURE, slope


def noisy(grows: float, count: int = 200, noise: float = 1.0, seed: int = 3) -> list[float]:
    chance = random.Random(seed)
    return [100 + grows * n + chance.gauss(0, noise) for n in range(count)]


def test_a_line_has_its_slope() -> None:
    found = slope([3.0 + 0.5 * n for n in range(20)])
    assert found is not None
    assert (found.least, found.middle, found.most) == pytest.approx((0.5, 0.5, 0.5))


def test_few_values_show_nothing() -> None:
    assert slope([1.0] * (FEWEST - 1)) is None
    assert slope([1.0] * FEWEST) is not None


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_flat_and_growth_is_seen_in_it(seed: int) -> None:
    tolerance = 0.01
    flat, grows = slope(noisy(0.0, seed=seed)), slope(noisy(0.03, seed=seed))
    assert flat is not None
    assert grows is not None
    assert flat.against(tolerance) == FLAT
    assert grows.against(tolerance) == GROWS
    assert grows.least <= 0.03 <= grows.most


def test_the_interval_holds_as_often_as_it_says() -> None:
    held = sum(
        found.least <= 0.02 <= found.most
        for seed in range(200)
        if (found := slope(noisy(0.02, count=30, seed=seed))) is not None
    )
    assert held >= 180  # 95 % of 200, less four deviations


def test_a_few_odd_values_change_nothing() -> None:
    values = noisy(0.0)
    for at in (3, 90, 91, 199):
        values[at] += 10_000
    found = slope(values)
    assert found is not None
    assert found.against(0.01) == FLAT


def test_few_noisy_values_leave_it_open() -> None:
    found = slope(noisy(0.0, count=9))
    assert found is not None
    assert found.against(0.01) == UNSURE
