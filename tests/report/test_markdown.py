# SPDX-License-Identifier: GPL-2.0-only
"""A run in GitHub-flavoured Markdown, read by a parser that is not ours."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import sample_run
from covered_run import covered_run
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from orchestrator.judge.compare import compare
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.names import Verdict
from orchestrator.model.results import RunResult
from orchestrator.report.markdown import MOST, code, code_block, render
from orchestrator.report.text import excerpt

GFM = MarkdownIt("commonmark").enable("table").enable("strikethrough")
HOSTILE = (
    "`x` ``y`` ``` <script>alert(1)</script> @torvalds #123 GH-1 a|b \\| [a](javascript:x) "
    "![i](u) **b** _c_ ~~d~~ https://evil.example &lt; 0123456789abcdef <!-- \x1b[2J\u202e"
)


def read(text: str) -> lxml_html.HtmlElement:
    return lxml_html.fragment_fromstring(GFM.render(text), create_parent="div")


def plain_words(element: lxml_html.HtmlElement) -> str:
    """What a reader sees outside of code, where names, numbers and addresses become links."""
    for found in [*element.iter("code"), *element.iter("pre")]:
        tail = found.tail
        for child in list(found):
            found.remove(child)
        found.text, found.tail = None, tail
    return str(element.text_content())


def hostile_run() -> RunResult:
    """A run in which whatever a guest, a patch or a lab.yaml can say is hostile."""
    run = sample_run.broken_run()
    cell = run.cells[0]
    hit = replace(sample_run.warn_hit(), title=HOSTILE, text=f"````\n{HOSTILE}\n```\n</details>")
    cases = tuple(
        replace(case, verdict=Verdict.FAIL, reason=f"{HOSTILE}\n{HOSTILE}", hits=(hit,))
        for case in cell.cases
    )
    kernels = tuple(
        replace(k, tested=replace(k.tested, sentence=HOSTILE)) for k in run.kernels
    )  # fmt: skip
    return replace(
        run, cells=(replace(cell, cases=cases), *run.cells[1:]), kernels=kernels,
        problems=(HOSTILE,), run=replace(run.run, profile=HOSTILE),
    )  # fmt: skip


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_code_span_shows_what_was_said(text: str) -> None:
    page = read(f"before {code(text)} after")
    shown = [str(found.text_content()) for found in page.iter("code")]
    assert len(shown) == (1 if code(text) else 0)
    assert str(page.text_content()).startswith("before ")
    assert str(page.text_content()).rstrip().endswith("after")
    if text.isascii() and text.isprintable() and text.strip():
        assert shown == [text.strip()]
    # In a table a bar is no border.
    cells = read("| a | b |\n|--|--|\n| {} | c |\n".format(code(text).replace("|", "\\|")))
    assert [str(cell.text_content()) for cell in cells.iter("td")][1:] == ["c"]


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_block_ends_where_it_should(text: str) -> None:
    page = read(f"{code_block(text)}\n\nafter")
    assert [element.tag for element in page] == ["pre", "p"]
    assert str(page[1].text_content()) == "after"


@pytest.mark.parametrize("against", [False, True])
def test_nothing_that_a_guest_said_is_markup(against: bool) -> None:
    run = hostile_run()
    text = render(run, compare(sample_run.good_run(), run) if against else None, "https://ci/x/")
    page = read(text)
    assert {element.tag for element in page.iter()} <= {
        "div", "h2", "h3", "p", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th",
        "td", "ul", "li", "a", "details", "summary",
    }  # fmt: skip
    links = [element.get("href") for element in page.iter("a")]
    assert links
    assert all(link.startswith("https://ci/x/") for link in links)
    assert page.find(".//pre") is not None
    words = plain_words(page)
    for wrong in ("@", "#", "evil", "0123456789abcdef", "alert", "GH-1", "\x1b", "\u202e", "`"):
        assert wrong not in words, wrong


def test_what_it_says() -> None:
    run = sample_run.broken_run()
    text = render(run, None, "https://ci/run/index.html")
    assert text.startswith("## ! error\n\n**Tested:** `cli: 2 patches on 6.12.48: ")
    head = "| pass | fail | known failures | skipped | error | exit status |"
    assert f"\n{head}\n" in text
    assert "\n| 11 | 4 | 0 | 0 | 1 | 3, the host failed |\n" in text
    assert "- **fail** `WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap`\n" in text
    assert "again: `lab rerun 20240105-142233-smoke " in text
    case = "case=cli/default/x86_64/small:ledger/swap:kernel-log"
    assert f"[all about this case](https://ci/run/index.html#{case})" in text
    assert text.rstrip().endswith("[Report](https://ci/run/index.html)")
    report = next(str(found.text_content()) for found in read(text).iter("pre"))
    assert report.rstrip("\n") == excerpt(sample_run.warn_hit().text, 30)
    # Where it is published nobody said, or no page is.
    assert "](" not in render(run, None)
    assert "#x" not in render(run, None, "https://ci/job/1")


def test_against_a_baseline_the_regressions_are_told() -> None:
    run = sample_run.broken_run()
    text = render(run, compare(sample_run.good_run(), run))
    assert "Against `20240105-112233-smoke`: 5 regressed, " in text
    assert "### Regressed against `20240105-112233-smoke`\n\n- **fail** `WARNING" in text
    same = render(run, compare(run, run))
    assert "### Regressed" not in same
    assert "### Failing as before\n\n- `WARNING" in same


def test_what_is_flaky_on_both_sides_is_told_apart() -> None:
    run, before = sample_run.broken_run(), sample_run.good_run()
    flaky = Retried(Decision.FLAKY, 6, 40, 8, 40, "cli")
    cells = tuple(
        replace(cell, cases=tuple(replace(case, retried=flaky) for case in cell.cases))
        for cell in run.cells
    )
    run = replace(run, cells=cells, run=replace(run.run, id=before.run.id))
    text = render(run, compare(before, run, "cli", "cli"))
    assert "### Flaky, and no regression\n\n- `default/" in text
    assert "`flaky on both: fails 6 of 40 with the series, 8 of 40 without" in text


def test_a_clean_run_has_no_failures() -> None:
    text = render(sample_run.good_run(), None)
    assert text.startswith("## ✓ pass\n")
    assert "What did not pass" not in text
    assert "| `cli/default/small` | `✓ 6 pass` | `✓ 1 skipped, 6 pass` |" in text


def test_it_is_cut_where_github_would_drop_it() -> None:
    run = sample_run.broken_run()
    cell = run.cells[0]
    wide = "\U0001f600" * 1000
    hits = replace(sample_run.warn_hit(), text=f"{wide}\n" * 30)
    cases = tuple(
        replace(cell.cases[0], id=f"{cell.id}:f/w{n}:{n}", workload=f"f/w{n}", case=str(n),
                verdict=Verdict.FAIL, reason=f"{n} {wide}",
                hits=(replace(hits, title=f"{n} {wide}", signature=str(n)),))
        for n in range(300)
    )  # fmt: skip
    kernels = tuple(replace(run.kernels[0], name=f"{n}{wide}") for n in range(50))
    many = replace(run, cells=(replace(cell, cases=cases),), kernels=kernels,
                   problems=(wide,) * 50)  # fmt: skip
    text = render(many, None, "https://ci/")
    assert len(text.encode()) <= MOST
    (left,) = re.findall(r"^(\d+) more causes: this summary is cut at 65,000 bytes", text, re.M)
    shown = text.count("- **fail** ")
    assert shown + int(left) >= 300
    assert shown > 5
    assert read(text).find(".//table") is not None


def test_what_of_a_series_ran_is_a_table_of_functions():
    page = render(covered_run(), None)
    begin = page.index("### Coverage of `cli`")
    assert page[begin:].split("\n\n")[:3] == [
        "### Coverage of `cli`",
        "50 % of the series' lines ran (2 of 4); never ran: 1 of patch 1, 1 of patch 2.",
        "| patch | function | lines | ran | never ran |\n"
        "|--:|:--|--:|--:|:--|\n"
        "| 1 | `start in mm/x.c` | 3 | 2 | `13` |\n"
        "| 2 | `later in mm/x.c` | 1 | 0 | `31` |",
    ]
    assert "### Coverage" not in render(sample_run.good_run(), None)
