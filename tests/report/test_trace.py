# SPDX-License-Identifier: GPL-2.0-only
"""A report's text with the source lines of its trace."""

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import html as lxml_html
from sample_run import good_run, rss_hit, warn_hit

from orchestrator.commands.summary import summary_text
from orchestrator.model.evidence import Excerpt, FrameLines, SourceLine
from orchestrator.model.names import Verdict
from orchestrator.report import html, junit, trace


def run_with(*hits):
    run = good_run()
    cell = run.cells[0]
    case = replace(cell.cases[0], verdict=Verdict.FAIL, reason="a report", hits=hits)
    return replace(run, cells=(replace(cell, cases=(case, *cell.cases[1:])), *run.cells[1:]))


def test_calls_are_told_from_the_inside_out():
    rows = trace.rows(warn_hit(), 100)
    assert [row.place for row in rows if row.place] == [
        "count_moved mm/swap.h:112", "mm/userfaultfd.c:1184", "mm/userfaultfd.c:1184",
        "mm/userfaultfd.c:1402",
    ]  # fmt: skip
    assert rows[2].text == "    inlined by move_swap_pte"
    # The same place again: what tells most of it, in one row, and not quoted again.
    assert rows[4].text.endswith("RIP: 0010:move_swap_pte+0x1c4/0x2a0")
    assert rows[4].touched == "line"
    assert (len(rows[2].source), len(rows[4].source)) == (3, 0)
    assert [row.touched for row in rows[1:3]] == ["function", "line"]
    assert rows[1].mark != rows[2].mark
    assert all(row.mark.startswith("±") for row in rows[1:3])


def test_no_line_of_the_report_is_lost_and_none_stands_twice():
    hit = warn_hit()
    told = [row.text for row in trace.rows(hit, 100) if not row.text.startswith("    inlined by")]
    assert "\n".join(told) == hit.text.rstrip("\n")
    few = trace.rows(hit, 5)
    assert few[-1].text.endswith(f"[{hit.text.count(chr(10)) - 5} more lines]")
    assert trace.rows(rss_hit(), 100) == (trace.Row(rss_hit().text.rstrip("\n")),)


def test_the_quoted_source_marks_what_was_added_and_where_the_trace_is():
    row = trace.rows(warn_hit(), 100)[2]
    assert [line.text[:11] for line in row.source] == ["   1182    ", "+  1183    ", "+  1184 >  "]
    assert [(line.added, line.here) for line in row.source] == [
        (False, False), (True, False), (True, True),
    ]  # fmt: skip
    assert "\t" not in row.source[0].text


def test_one_touched_line_is_shown_at_once():
    for show in (True, False):
        shown = [row.place for row in trace.rows(warn_hit(), 100, show) if row.shown]
        assert shown == ["mm/userfaultfd.c:1184"] * show


def test_frames_beyond_the_text_do_not_matter():
    place = SourceLine("f", "mm/x.c", 1, "line", Excerpt(1, "x\n"))
    hit = replace(rss_hit(), frames=(FrameLines(0, "f", 0, (place,)), FrameLines(99, "f", 0)))
    assert trace.annotated(hit) == rss_hit().text.rstrip("\n")


def test_the_page_shows_it_without_believing_it():
    place = SourceLine("<i>f</i>", "mm/<b>.c", 7, "line", Excerpt(7, "a < b \x1b[31m\n", (7,)))
    outer = replace(place, function="g", line=8)
    hit = replace(warn_hit(), frames=(FrameLines(2, "f", 1, (place, outer)),))
    page = lxml_html.document_fromstring(html.render(run_with(hit), None))
    first = page.find_class("trace")[0]
    assert not list(first.iter("i"))
    frame = next(item for item in first.iter("details"))
    assert frame.get("class") == "frame line"
    assert frame.get("open") is not None
    assert frame.find_class("at")[0].text_content() == "<i>f</i> mm/<b>.c:7"
    assert "touched by the change" in frame.find_class("mark")[0].text_content()
    assert frame.find_class("here")[0].text_content() == "+     7 > a < b \\x1b[31m\n"
    assert frame.find_class("here")[0].get("class") == "add here"


@pytest.mark.parametrize("known", ["", "seen before"])
def test_what_the_series_touched_is_told_in_words_everywhere(known):
    run = run_with(replace(warn_hit(), known=known))
    told = "mm/userfaultfd.c:1184 in move_swap_pte"
    assert (told in summary_text(run, None, Path("x"), 1.0).replace("\n", " ")) == (not known)
    text = junit.render(run)
    assert (f"  {told}" in text) == (not known)
    assert "move_pages+0x5d2/0xa40  [mm/userfaultfd.c:1402]" in text
    assert "inlined by move_swap_pte  [mm/userfaultfd.c:1184, ± touched by the change]" in text
