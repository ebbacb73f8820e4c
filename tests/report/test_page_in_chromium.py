# SPDX-License-Identifier: GPL-2.0-only
"""The page in a browser: what its script does, what it asks for, and how long it takes to open."""

import pytest
from chromium import PROGRAM, Chromium
from covered_run import covered_run
from many_cases import many
from sample_run import broken_run, good_run, write_files

from orchestrator.judge.compare import compare
from orchestrator.report import html

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="no chromium here"),
]
FAILED = "case=cli/default/x86_64/small:ledger/swap:kernel-log"
PASSED = "case=cli/default/arm64/small:move/basic:contents-move"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = broken_run()
    write_files(run, folder)
    page = folder / "index.html"
    page.write_text(html.render(run, folder, compare(good_run(), run, "cli", "cli")), "utf-8")
    return page.as_uri()


def is_open(browser, name):
    """Whether a box is open, with all around it."""
    return browser.run(
        f"(n => {{ for (; n; n = n.parentElement) if (n.tagName === 'DETAILS' && !n.open)"
        f" return false; return true; }})(document.getElementById({name!r}))"
    )


def shown(browser):
    return browser.run(
        "[...document.querySelectorAll('#cells details.group:not([hidden]) > .case:not([hidden])')]"
        ".filter(n => !n.closest('[hidden]')).length"
    )


def set_to(browser, name, value):
    browser.run(
        f"(form => {{ form.elements[{name!r}].value = {value!r};"
        " form.dispatchEvent(new Event('input')); })(document.getElementById('filter'))"
    )


def test_it_asks_for_nothing_and_nothing_of_it_is_refused(browser, broken):
    browser.open(broken)
    browser.run("document.querySelector('button[value=expand]').click()")
    assert browser.requests == [broken]
    assert browser.said == []


@pytest.mark.parametrize(
    "fragment", [PASSED, "case=arm64/small:move/basic:contents-move", "move/basic:hole-enoent"]
)
def test_a_link_opens_its_case_and_a_passing_one_too(browser, broken, fragment):
    browser.open(f"{broken}#{fragment}")
    name = browser.run("target().id")
    assert fragment.removeprefix("case=") in name
    assert is_open(browser, name)
    # Laid out a moment later than it is open, on a busy machine.
    browser.until(f"document.getElementById({name!r}).innerText.includes('lab rerun')")


def test_the_headline_leads_to_open_evidence(browser, broken):
    browser.open(broken)
    browser.run("document.querySelectorAll('.answer h1 a')[1].click()")
    browser.until(f"decodeURIComponent(location.hash).slice(1) === {FAILED!r}")
    assert is_open(browser, FAILED)
    words = browser.run(f"document.getElementById({FAILED!r}).innerText")
    assert "WARNING at mm/userfaultfd.c in move_swap_pte" in words


def test_the_filter(browser, broken):
    browser.open(broken)
    every = shown(browser)
    assert every == sum(len(cell.cases) for cell in broken_run().cells)
    browser.run("press('fail')")
    assert shown(browser) == 2
    browser.run("press('error')")
    assert shown(browser) == 3
    set_to(browser, "arch", "x86_64")
    assert shown(browser) == 2
    browser.run("clearFilter()")
    set_to(browser, "workload", "move/basic")
    assert shown(browser) == 4
    set_to(browser, "text", "HOLE-")
    assert shown(browser) == 2
    assert browser.run("document.querySelector('#filter output').textContent") == "2 shown"
    # A link to what it hides shows that all the same.
    browser.run(f"location.hash = {PASSED!r}")
    browser.until("document.querySelector('#filter output').textContent === ''")
    assert shown(browser) == every
    browser.run("document.querySelector('a[data-show=pass]').click()")
    assert shown(browser) == 8


def test_by_keyboard_alone(browser, broken):
    browser.open(broken)
    reached = set()
    for _ in range(60):
        browser.press("Tab", 9)
        reached.add(browser.run(
            "(n => n.tagName + (n.closest('form') ? ' in the filter' : ''))(document.activeElement)"
        ))  # fmt: skip
    assert {"A", "SUMMARY", "BUTTON in the filter", "SELECT in the filter",
            "INPUT in the filter"} <= reached  # fmt: skip
    browser.run("document.querySelector('#cells .group > summary').focus()")
    before = browser.run("document.activeElement.parentElement.open")
    browser.press("Enter", 13, "\r")
    browser.until(f"document.activeElement.parentElement.open === {str(not before).lower()}")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_width_makes_it_scroll_sideways(browser, broken, width, dark, tmp_path):
    browser.look(width, 900, dark)
    browser.open(broken)
    browser.run("document.querySelector('button[value=expand]').click()")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark


def test_five_thousand_cases_open_in_less_than_a_second(browser, tmp_path):
    page = tmp_path / "index.html"
    page.write_text(html.render(many(5000), None), "utf-8")
    browser.look(1280, 900)
    taken = [browser.opened_in(page.as_uri()) for _ in range(3)]
    assert browser.run("document.querySelectorAll('#cells .case').length") == 5000
    assert min(taken) < 1.0, taken
    browser.run("press('fail')")
    assert shown(browser) == 50


def test_printing_opens_the_patches_with_what_ran(browser, tmp_path):
    page = tmp_path / "covered.html"
    page.write_text(html.render(covered_run(), None), "utf-8")
    browser.open(page.as_uri())
    browser.run("document.querySelectorAll('.covered').forEach(box => { box.open = false; })")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("[...document.querySelectorAll('.covered')].every(box => box.open)")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.requests[-1] == page.as_uri()
    assert browser.said == []
