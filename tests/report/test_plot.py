# SPDX-License-Identifier: GPL-2.0-only
"""Plots of counters as SVG."""

import pytest
from sample_run import samples

from orchestrator.model.evidence import Sample
from orchestrator.report.plot import nice_step, plot, short


def test_plot_geometry():
    drawn = plot(samples(64))
    assert [line.name for line in drawn.lines] == ["RssAnon", "VmSwap"]
    assert [tick.label for tick in drawn.y_ticks] == ["0", "50", "100", "150"]
    assert drawn.x_ticks[0].label == "0"
    assert "26 samples over 3.1 s: RssAnon from 18 to 146 pages, 82 at the end" in drawn.summary
    for line in drawn.lines:
        for point in " ".join(line.pieces).split():
            x, y = map(float, point.split(","))
            assert 40 <= x <= 400
            assert 20 <= y <= 160


@pytest.mark.parametrize(
    "given",
    [
        (),
        (Sample(0, {"RssAnon": 1}),),
        tuple(Sample(n, {"nr_free": n}) for n in range(30)),
        (Sample(float("nan"), {"RssAnon": 1}), *(Sample(n, {"RssAnon": 2}) for n in range(19))),
        # What four samples miss makes them say that nothing happened.
        samples()[:19],
    ],
)
def test_nothing_to_plot(given):
    assert plot(given) is None


def test_plot_of_odd_samples():
    flat = plot((Sample(5, {"RssAnon": 0}),) * 20)
    assert flat.lines[0].pieces
    gap = plot(tuple(Sample(n, {"RssAnon": n} if n != 2 else {}) for n in range(25)))
    assert len(gap.lines[0].pieces) == 2
    below = plot((Sample(0, {"VmSwap": -3}),) * 19 + (Sample(1, {"VmSwap": 10**15}),))
    assert below.y_ticks[-1].label.endswith("T")
    spike = [Sample(n, {"RssAnon": 7}) for n in range(5000)]
    spike[2345] = Sample(2345, {"RssAnon": 9999})
    thin = plot(tuple(spike))
    assert "to 9999 pages" in thin.summary
    points = " ".join(thin.lines[0].pieces).split()
    assert len(points) < 400
    assert min(float(point.split(",")[1]) for point in points) < 40


def test_axis_helpers():
    assert [nice_step(span, 4) for span in (0, 1, 3.9, 100, 1000)] == [1, 0.5, 1, 50, 500]
    assert [short(v) for v in (0, 950, 12_000, 1.5e6, 2e9)] == ["0", "950", "12k", "1.5M", "2G"]
