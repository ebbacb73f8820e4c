# SPDX-License-Identifier: GPL-2.0-only
"""A counter and its page walk in two runs, laid over each other."""

from __future__ import annotations

from dataclasses import replace

import lxml.html
from sample_run import broken_run, good_run, ledger

from orchestrator.judge.compare import compare
from orchestrator.model.evidence import LedgerStep
from orchestrator.report import html
from orchestrator.report.overlay import overlays
from orchestrator.report.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def steps(*counters: int, pid: int = 7, tolerance: int = 0, walk: int = 10) -> list[LedgerStep]:
    return [LedgerStep(f"s{n}", pid, c, walk, 0, 0, tolerance) for n, c in enumerate(counters)]


def points(text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_four_lines_and_where_the_runs_part() -> None:
    anon, swap = overlays(ledger(), ledger(64))
    assert (anon.name, swap.name) == ("RssAnon", "VmSwap")
    assert anon.said == (
        "The runs part at step 4, moved: RssAnon is +64 pages off the page walk now, +0 in the "
        "baseline"
    )
    now, walk, before, walk_before = map(points, anon.lines)
    assert now[:3] == walk[:3] == before[:3] == walk_before[:3]
    assert before == walk_before
    assert now[3][1] < before[3][1]
    assert anon.mark == now[3][0]
    assert len(anon.gaps) == 1
    for x, y in (*now, *walk, *before, *walk_before):
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM
    assert anon.before[3].words == "4. moved, baseline: RssAnon 18, page walk 18"


def test_what_is_fixed_is_drawn_too() -> None:
    (anon, _) = overlays(ledger(64), ledger())
    assert anon.gaps == ()
    assert anon.said.endswith("RssAnon is +0 pages off the page walk now, +64 in the baseline")


def test_where_all_agrees_or_a_run_has_no_ledger_nothing_is_drawn() -> None:
    assert overlays(ledger(), ledger()) == ()
    assert overlays((), ledger(64)) == ()
    assert overlays(ledger(64), ()) == ()
    assert overlays(steps(10), steps(12)) == ()


def test_as_far_off_in_both_they_part_nowhere() -> None:
    (found,) = overlays(steps(10, 15, walk=10), steps(20, 25, walk=20))
    assert found.mark is None
    assert found.said == (
        "RssAnon is as far off the page walk in both runs, at each step that both have"
    )


def test_steps_are_matched_by_name_and_processes_by_their_order() -> None:
    before = [*steps(10, 10, pid=1), *steps(10, 10, 10, pid=2)]
    after = [*steps(10, 10, pid=8), *steps(10, 10, 17, 17, pid=9)]
    after.insert(3, replace(after[3], step="more", rss_anon=10))
    (found,) = overlays(before, after)
    assert found.pid == 9
    assert [p.words.split(",")[0] for p in found.before] == ["1. s0", "3. s1", "4. s2"]
    assert found.said.startswith("The runs part at step 4, s2: RssAnon is +7 ")


def test_a_tolerance_is_kept() -> None:
    (found,) = overlays(steps(10, 10, 10, tolerance=3), steps(10, 13, 14, tolerance=3))
    assert found.said.startswith("The runs part at step 3, s2: ")


def test_on_the_page_of_a_comparison() -> None:
    run = broken_run()
    page = html.render(run, None, compare(good_run(), run, "cli", "cli"))
    section = lxml.html.document_fromstring(page).get_element_by_id("comparison")
    titles = [one.text for one in section.iter("title") if one.text.endswith("in the baseline")]
    assert titles == [
        "RssAnon and the page walk, now and in the baseline",
        "VmSwap and the page walk, now and in the baseline",
    ]
    assert "The runs part at step 4, moved" in section.text_content()
    assert len(section.xpath(".//*[name()='line'][@class='parts']")) == 2
