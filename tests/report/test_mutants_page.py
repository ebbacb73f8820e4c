# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from sample_mutants import campaign, tried

from orchestrator.model.mutants import Outcome
from orchestrator.report.mutants_page import render

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Tags(HTMLParser):
    """Sees that what is opened is closed, and keeps ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    page = render(campaign())
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(set(tags.ids)) == len(tags.ids)
    assert {"survived", "caught", "not-judged", "not-compiled", "same-code"} <= set(tags.ids)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "default-src 'none'" in page


def test_a_survivor_has_its_diff_and_all_words_are_escaped() -> None:
    page = render(campaign())
    assert '<span class="gone">-\tfolio_put(&lt;folio&gt;);</span>' in page
    assert '<span class="come">+\t;</span>' in page
    for raw in ("<folio>", "<macro>", "<v3>", "<b>more", "\x1b"):
        assert raw not in page


@pytest.mark.parametrize(
    ("outcome", "more", "state"),
    [
        (Outcome.CAUGHT, {}, "pass"),
        (Outcome.SURVIVED, {}, "fail"),
        (Outcome.NOT_JUDGED, {}, "error"),
        (Outcome.CAUGHT, {"chosen": 2, "cut": "interrupted"}, "interrupted"),
    ],
)
def test_the_state_is_that_of_the_exit_status(outcome, more, state) -> None:  # type: ignore[no-untyped-def]
    page = render(campaign(tried(1, outcome), population=2, **more))
    assert f'<header class="answer {state}">' in page


def test_one_that_is_cut_says_how_to_go_on() -> None:
    page = render(campaign(chosen=9, cut="the time budget was spent"))
    assert "Not at its end: the time budget was spent." in page
    assert "lab mutate --resume 20261130-170000" in page


def test_an_empty_one_is_a_page_too() -> None:
    assert "no mutant was judged" in render(campaign(tried(1, Outcome.SAME_CODE), unmutated=None))
