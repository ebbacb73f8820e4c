# SPDX-License-Identifier: GPL-2.0-only
"""Figures as bars, with what their rounds differ by, and latencies as lines."""

import pytest

from orchestrator.report.bars import row_bars, spans
from orchestrator.report.figures import Field, Figure


def test_bars_of_a_row_have_one_scale_that_holds_the_whiskers():
    fast, slow, none = row_bars(
        [Field(Figure("move", 200.0, "MB/s", 20.0)), Field(Figure("copy", 55.0, "MB/s")),
         Field(None)]
    )  # fmt: skip
    assert (fast.length, fast.low, fast.high) == pytest.approx((90.909, 81.818, 100.0), abs=0.01)
    assert (slow.length, slow.low, slow.high) == (pytest.approx(25.0), None, None)
    assert fast.words == "200.0 MB/s ± 10 %"
    assert none is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_what_has_no_length_is_not_drawn(value):
    assert row_bars([Field(Figure("move", value, "us"))]) == (None,)
    assert row_bars([]) == ()


def test_a_spread_wider_than_the_figure_stays_in_its_room():
    (bar,) = row_bars([Field(Figure("move", 10.0, "us", 500.0))])
    assert bar.low == 0.0
    assert bar.high == pytest.approx(100.0)


def test_a_latency_is_a_line_from_its_median_to_its_worst():
    (span,) = spans([
        Figure("move-p50", 25.0, "us"), Figure("move-p90", 50.0, "us"),
        Figure("move-max", 100.0, "us"), Figure("move-rate", 9.0, "faults/s"),
    ])  # fmt: skip
    assert span.name == "move"
    assert span.marks == (("p50", 25.0), ("p90", 50.0), ("max", 100.0))
    assert span.words == "p50 25.00, p90 50.00, max 100.0 us"


def test_no_line_without_both_ends_or_of_nonsense():
    assert spans([Figure("a-p50", 1.0, "us"), Figure("b-max", 1.0, "us")]) == ()
    assert spans([Figure("a-p50", 1.0, "us"), Figure("a-max", 1.0, "ms")]) == ()
    assert spans([Figure("a-p50", 9.0, "us"), Figure("a-max", 1.0, "us")]) == ()
    assert spans([Figure("a-p50", 0.0, "us"), Figure("a-max", 0.0, "us")]) == ()
