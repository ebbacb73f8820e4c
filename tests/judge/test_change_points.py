# SPDX-License-Identifier: GPL-2.0-only
"""Change points on simulated runs: rarely one where there is none, and there where there is one."""

import random

import pytest

from orchestrator.judge.change_points import LEAST, change_points, levels
from orchestrator.judge.noise import student_t, tail

# Beside the default one in a hundred can be told from none by a thousand series.
STATED = 0.01


def series(draw: random.Random, *parts: tuple[int, float], wild: float = 0.0) -> list[float]:
    """Runs of several lengths about several levels, in standard deviations."""
    return [
        level + draw.gauss(0, 1) + (draw.choice((-8, 8)) if draw.random() < wild else 0)
        for count, level in parts
        for _ in range(count)
    ]


def false_alarms(count: int, length: int, **more: float) -> float:
    draw = random.Random(length)
    found = (change_points(series(draw, (length, 0), **more), STATED) for _ in range(count))
    return sum(map(bool, found)) / count


@pytest.mark.parametrize("length", [8, 20, 100])
def test_a_level_that_stays_has_no_change(length: int) -> None:
    # Bonferroni's bound is no estimate: what comes is far below it.
    assert false_alarms(100, length) <= 2 * STATED


@pytest.mark.slow
@pytest.mark.parametrize("length", [8, 20, 50, 100])
def test_false_alarms_are_as_few_as_stated(length: int) -> None:
    # Of 8 runs there is one split, and so exactly as many: three deviations of 2000 trials.
    assert false_alarms(2000, length) <= STATED + 3 * (STATED / 2000) ** 0.5
    # The bound is one of normal values: 3 % wild ones of eight deviations give up to 2.7 times as
    # many.
    assert false_alarms(1000, length, wild=0.03) <= 4 * STATED


def test_a_step_of_four_deviations_is_found_where_it_is() -> None:
    draw = random.Random(4)
    found = [change_points(series(draw, (60, 0), (12, 4))) for _ in range(50)]
    assert sum(len(one) == 1 and abs(one[0] - 60) <= 1 for one in found) >= 48


def test_two_steps_and_back() -> None:
    draw = random.Random(5)
    found = [change_points(series(draw, (40, 0), (12, -6), (30, 0))) for _ in range(30)]
    right = [
        one for one in found if len(one) == 2 and abs(one[0] - 40) <= 1 and abs(one[1] - 52) <= 1
    ]
    assert len(right) >= 28


def test_one_wild_night_is_no_change() -> None:
    draw = random.Random(6)
    for _ in range(20):
        values = series(draw, (50, 0))
        values[30] += 40
        assert change_points(values) == ()


def test_what_stands_still_and_what_steps_exactly() -> None:
    assert change_points([]) == ()
    assert change_points([1.0] * 7) == ()
    assert change_points([64.1] * 50) == ()
    assert change_points([64.0] * 20 + [65.0] * LEAST) == (20,)
    assert change_points([0.1] * 10 + [0.2] * 10 + [0.1] * 10) == (10, 20)


def test_a_level_has_its_bands() -> None:
    draw = random.Random(7)
    values = series(draw, (50, 10), (50, 20))
    first, second = levels(values, (50,))
    assert (first.begin, first.end, second.begin, second.end) == (0, 50, 50, 100)
    for level, true in ((first, 10), (second, 20)):
        assert level.least < level.low < level.mean < level.high < level.most
        assert abs(level.mean - true) < 0.5
    (single,) = levels([3.0], ())
    assert single.least == single.most == 3.0


def test_a_band_holds_the_level_19_times_in_20() -> None:
    draw = random.Random(8)
    held = ran = 0
    for _ in range(400):
        *known, further = series(draw, (13, 0))
        (level,) = levels(known, ())
        held += level.low <= 0 <= level.high
        ran += level.least <= further <= level.most
    assert 370 <= held <= 390
    assert 368 <= ran <= 392


def test_the_tail_is_what_the_quantile_leaves() -> None:
    for freedom in (1, 2, 5, 6, 40, 98):
        for beyond in (0.05, 1e-4, 7e-6):
            assert tail(student_t(freedom, beyond), freedom) == pytest.approx(beyond, rel=1e-6)
    assert tail(1e9, 30) < 1e-12
