# SPDX-License-Identifier: GPL-2.0-only
"""The page over runs: newest first, each with its counts, and what failed when."""

import re
from dataclasses import replace

from lxml import html as lxml_html
from sample_run import broken_run, good_run

from orchestrator.judge.compare import compare
from orchestrator.model.digest import CellDigest, RunDigest
from orchestrator.report import runs_page
from orchestrator.report.view import anchor
from orchestrator.results.digests import digest_of


def page(*runs: RunDigest, **more):
    return lxml_html.document_fromstring(runs_page.render(runs, **more))


def words(element) -> str:
    return " ".join(element.text_content().split())


def run(n: int, *failed: str, **more) -> RunDigest:
    cell = CellDigest(
        "v6.12", "default/x86_64/small", "fail" if failed else "pass", 9, 0, failed, "k"
    )
    day = f"2026-11-{n:02d}"
    told = {
        "id": f"r{n}", "started": f"{day}T01:00:00Z", "finished": f"{day}T01:10:00Z",
        "seconds": 600.0, "exit_status": int(bool(failed)), "profile": "nightly",
        "tested": "v6.12 (6.12.117)",
        "passed": 8, "known": 1, "failed": len(failed), "skipped": 2, "errors": 0,
        "cells": (cell,), "folder": f"r{n}",
    }  # fmt: skip
    return RunDigest(**{**told, **more})


def test_a_run_has_its_counts_apart_and_its_links():
    found = page(run(2, "w:a"), run(1))
    rows = found.xpath("//*[@id='all']//tbody/tr")
    assert [row.get("class") for row in rows] == ["fail", "pass"]
    counts = {td.get("data-word"): words(td) for td in rows[0].xpath("td[@data-word]")}
    assert (counts["pass"], counts["known"]) == ("8", "1")
    assert (counts["fail"], counts["skip"]) == ("1", "2")
    assert "v6.12 (6.12.117)" in words(rows[0])
    assert "10 min" in words(rows[0])
    assert set(rows[0].xpath(".//@href")) == {"r2/index.html", "r2/junit.xml", "r2/results.json"}
    assert len(rows[1].xpath(".//*[name()='polyline']")) == 1


def test_a_search_is_neither_pass_nor_failure():
    searches = [
        run(3, "w:a", exit_status=0, searched="patch 2 of 3 brought it (99.9%)"),
        run(2, "w:a", exit_status=1, searched="undecided after 9 trials"),
    ]
    found = page(*searches, run(1))
    rows = found.xpath("//*[@id='all']//tbody/tr")
    assert [row.get("class") for row in rows] == ["searched", "searched", "pass"]
    assert "searched: patch 2 of 3 brought it (99.9%)" in words(rows[0])
    assert "→ searched" in words(rows[0])
    assert {words(td) for td in rows[0].xpath("td[@data-word]")[:5]} == {"\u2013"}
    assert not found.xpath("//*[starts-with(@id, 'nights-')]")
    assert "patch 2 of 3 brought it" in words(found.xpath("//header")[0])


def test_what_failed_for_one_cause_is_one_row_with_its_cases_folded():
    bad = CellDigest(
        "v6.12", "default/x86_64/small", "fail", 9, 0, ("w:a", "w:b", "w:c"), "k",
        causes=("BUG: <b>", "a check"), why=(0, 0, 1),
    )  # fmt: skip
    found = page(run(2, cells=(bad,), exit_status=1), run(1))
    rows = found.xpath("//table[contains(@class, 'spells')]/tbody/tr")
    assert [words(row.find_class("case")[0]) for row in rows] == [
        "BUG: <b>2 casesw:aw:b", "a checkw:c",
    ]  # fmt: skip
    assert [summary.text for summary in rows[0].iter("summary")] == ["2 cases"]
    assert not rows[1].xpath(".//details")


def test_regressions_are_named_and_lead_to_the_baseline():
    worse = run(
        2, "w:a", baseline="r1", regressed=12, regressions=("default/x86_64/small:w:a",) * 12
    )
    (row, _) = page(worse, run(1)).xpath("//*[@id='all']//tbody/tr")
    assert row.xpath(".//summary/a/@href") == [f"#{anchor('r1')}"]
    assert "default/x86_64/small:w:a" in words(row)
    assert "2 more on its page" in words(row)


def test_states_are_those_of_the_exit_status():
    stopped = run(3, exit_status=130)
    assert runs_page.state(stopped) == "interrupted"
    assert runs_page.state(run(3, finished="")) == "unfinished"
    assert [runs_page.state(run(1, exit_status=n)) for n in (0, 1, 2, 3)] == [
        "pass", "fail", "error", "error"
    ]  # fmt: skip
    assert page(run(3, finished=""), stopped).xpath("//*[@id='all']//tr[@class='interrupted']")


def test_the_timeline_says_what_is_new_and_links_to_the_cell():
    found = page(run(4), run(3, "w:a"), run(2, "w:a"), run(1))
    squares = found.xpath("//table[contains(@class, 'nights')]//td")
    assert [square.get("class") for square in squares] == [
        "sq mended", "sq fail", "sq new", "sq pass"
    ]  # fmt: skip
    assert "new: w:a" in squares[2].get("title")
    (link,) = squares[2].xpath("a/@href")
    assert link == f"r2/index.html#{anchor('v6.12/default/x86_64/small')}"
    assert "r2" in words(found.xpath("//table[contains(@class, 'spells')]")[0])
    flaky = words(found.xpath("//table[contains(@class, 'flaky')]")[0])
    assert "2 of 4" in flaky
    assert "50 % (15\u201385)" in flaky


def test_what_was_passed_over_is_told():
    text = words(page(run(1), notes=("cut: not valid <JSON>",), left=3))
    assert "Passed over: cut: not valid <JSON>" in text
    assert "3 older runs not on this page" in text
    assert "latest of 4 runs" in text


def test_whatever_was_printed_is_escaped():
    nasty = "<script>alert(1)</script>\x1b\udcff"
    odd = run(2, nasty, tested=nasty, profile=nasty, baseline=nasty, regressed=1,
              regressions=(nasty,), folder="a b%/../\udcff")  # fmt: skip
    text = runs_page.render((odd, replace(odd, id=nasty, folder="x")), (nasty,))
    assert text.count("<script>") == 1
    text.encode("utf-8")
    assert "\x1b" not in text
    assert all("<" not in href for href in re.findall(r'href="([^"]*)"', text))


def test_the_sample_runs():
    worse = digest_of(broken_run(), compare(good_run(), broken_run(), "cli", "cli"))
    found = page(replace(worse, folder="b"), replace(digest_of(good_run()), folder="g"))
    assert words(found.xpath("//h1")[0]) == "! error the latest of 2 runs"
    assert "Timeline of smoke" in words(found)


def test_no_run_yet():
    assert "Start one with lab run" in words(page())


def test_durations():
    assert [runs_page.took(n) for n in (0, 74, 600, 9000)] == ["0 s", "74 s", "10 min", "2.5 h"]
