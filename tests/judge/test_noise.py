# SPDX-License-Identifier: GPL-2.0-only
"""What runs of one kernel differ by, and what is claimed beyond it."""

import math
import random
from dataclasses import replace

import pytest
from sample_run import good_run

from orchestrator.judge.compare import compare, figure_changes
from orchestrator.judge.noise import Noise, noise_of, student_t
from orchestrator.model.evidence import Measurement
from orchestrator.model.results import RunResult

FIGURES = 10_000
LOUD = {"better", "worse"}


def run_with(values: list[float]) -> RunResult:
    """A run whose first case measured all of these."""
    run = good_run()
    cell = run.cells[0]
    measured = tuple(Measurement(f"x{n}", value, "us") for n, value in enumerate(values))
    cases = (replace(cell.cases[0], measurements=measured), *cell.cases[1:])
    return replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))


def claimed(groups: tuple[int, ...], change: float = 0.0, known: bool = False) -> float:
    """The share of figures that are told to have changed.

    :param groups: how many runs of each kernel the history has.
    :param change: how far B's figures lie from A's, in standard deviations of a run.
    :param known: whether run A is itself in the history.
    """
    dice, sigma = random.Random(2023), 0.05
    table: dict[int, Noise | None] = {}
    before, after = [], []
    for n in range(FIGURES):
        # Each kernel has a speed of its own, which is no noise.
        runs = [
            [10 * 1.5**kernel * math.exp(dice.gauss(0, sigma)) for _ in range(size)]
            for kernel, size in enumerate(groups)
        ]
        table[n] = noise_of(runs)
        before.append(runs[0][0] if known else 10 * math.exp(dice.gauss(0, sigma)))
        after.append(10 * math.exp(dice.gauss(change * sigma, sigma)))
    comparison = compare(run_with(before), run_with(after))
    (key,) = {c.key for c in comparison.cases if c.after and len(c.after.measurements) == FIGURES}
    noise = {(key, f"x{n}"): found for n, found in table.items() if found is not None}
    judged = [c.judged for c in figure_changes(comparison, noise) if c.key == key]
    assert len(judged) == FIGURES
    return sum(word in LOUD for word in judged) / FIGURES


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "groups",
    [(5,), (3, 3), *map(slow, [(2, 1, 3), (2,) * 4, (3,) * 10, (10,) * 3, (15,)])],
)
def test_equal_kernels_do_not_differ(groups, known):
    assert claimed(groups, known=known) < 0.001


@pytest.mark.parametrize(
    ("runs", "least"), [(8, 0.3), slow(10, 0.6), slow(15, 0.85), slow(40, 0.99)]
)
def test_a_true_change_of_ten_deviations_is_found(runs, least):
    assert claimed((runs,), 10.0) > least


@pytest.mark.parametrize(("runs", "least"), [(8, 0.75), slow(10, 0.95), slow(15, 0.999)])
def test_a_true_change_of_ten_deviations_of_the_difference_is_found(runs, least):
    assert claimed((runs,), 10.0 * math.sqrt(2)) > least


@pytest.mark.parametrize(
    ("freedom", "beyond", "expected"),
    [
        (1, 0.05, 12.706),
        (2, 0.05, 4.303),
        (4, 0.001, 8.610),
        (5, 0.001, 6.869),
        (10, 0.05, 2.228),
        (27, 0.001, 3.690),
        (120, 0.05, 1.980),
        (4, 1e-4, 15.544),
        (7, 1e-4, 7.885),
    ],
)
def test_students_t_is_as_tables_print_it(freedom, beyond, expected):
    assert student_t(freedom, beyond) == pytest.approx(expected, abs=0.0006)


def test_noise_is_of_runs_of_one_kernel():
    assert noise_of([[100.0, 101.0], [50.0]]) is None  # too few
    assert noise_of([[100.0, 101.0, 99.0], [50.0, 51.0], [7.0]]) is None
    still = noise_of([[100.0] * 6])
    assert still is not None
    assert still.sigma == still.limit == 0
    # Two kernels of which one is twice as fast: no noise, but a difference.
    two = noise_of([[100.0, 101.0, 99.0], [200.0, 202.0, 198.0]])
    assert two is not None
    assert two.percent == pytest.approx(1.0, abs=0.01)
    assert (two.runs, two.freedom) == (6, 4)
    assert noise_of([[0.0, float("nan"), -1.0] * 5]) is None


def test_a_wild_run_widens_the_limit():
    calm = [100.0, 101.0, 99.0, 100.5, 99.5, 100.0]
    narrow, wide = noise_of([calm]), noise_of([[*calm, 5.0]])
    assert narrow is not None
    assert wide is not None
    assert wide.limit > 10 * narrow.limit
