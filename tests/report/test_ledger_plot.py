# SPDX-License-Identifier: GPL-2.0-only
"""A counter drawn beside the page walk, shaded where they part."""

import pytest
from sample_run import ledger

from orchestrator.model.evidence import LedgerStep
from orchestrator.report.ledger_plot import panels
from orchestrator.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def points(text):
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def steps(*counters, pid=7, tolerance=0):
    return [LedgerStep(f"s{n}", pid, c, 10, 0, 0, tolerance) for n, c in enumerate(counters)]


def test_both_lines_and_the_gap_between_them():
    anon, swap = panels(ledger(64))
    assert (anon.name, swap.name) == ("RssAnon", "VmSwap")
    assert anon.said == "RssAnon parts from the page walk at step 4, moved: +64 pages"
    assert swap.said == (
        "VmSwap parts from the page walk at step 4, moved: -64 pages; none at the last"
    )
    counter, walk = points(anon.counter), points(anon.walk)
    assert counter[:3] == walk[:3]
    assert all(above[1] < below[1] for above, below in zip(counter[3:], walk[3:], strict=True))
    # From the step before, where both agree, there and back.
    assert points(anon.gaps[0]) == [*counter[2:], *reversed(walk[2:])]
    for x, y in (*counter, *walk):
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert [tick.label for tick in anon.x_ticks] == ["1", "2", "3", "4", "5"]
    assert anon.points[3].words == "4. moved: RssAnon 82, page walk 18"


def test_marks_of_few_pages_stand_at_whole_pages():
    walked = [LedgerStep(f"s{n}", 7, have, 0, 0, 0, 0) for n, have in enumerate((0, 3))]
    (panel,) = panels(walked)
    assert [tick.label for tick in panel.y_ticks] == ["0", "1", "2", "3"]
    places = [tick.at for tick in panel.y_ticks]
    assert places[0] - places[1] == pytest.approx(places[2] - places[3])
    assert points(panel.counter)[1][1] == pytest.approx(places[3], abs=0.1)


def test_nothing_is_drawn_where_all_agrees_or_of_one_step_alone():
    assert panels(ledger()) == ()
    assert panels(()) == ()
    assert panels(steps(11)) == ()
    assert panels(steps(10, 12, tolerance=2)) == ()


def test_of_several_processes_the_one_that_parts():
    mixed = [*steps(10, 10), *steps(10, 15, 10, pid=8)]
    (panel,) = panels(mixed)
    assert panel.pid == 8
    assert len(panel.points) == 3
    assert (
        panel.said == "RssAnon parts from the page walk at step 2, s1: +5 pages; none at the last"
    )


def test_it_is_shaded_as_often_as_they_part():
    (panel,) = panels(steps(10, 12, 10, 10, 14, 15))
    assert [len(points(gap)) for gap in panel.gaps] == [4, 6]


def test_many_steps_are_thinned_and_no_turn_is_lost():
    values = [10] * 5000
    values[1234] = 9999
    (panel,) = panels(steps(*values))
    assert len(panel.points) < 100
    assert len(panel.gaps) == 1
    assert [p.words for p in panel.points if "9999" in p.words] == [
        "1235. s1234: RssAnon 9999, page walk 10"
    ]
