# SPDX-License-Identifier: GPL-2.0-only
"""The pages with 5,000 cases and 100 nights in Chromium: three widths, light and dark, by keyboard.

The browser and what is shown in it are those of the suite (tests/support).
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from judged import HOME, Part, Row, Table, commit, today

sys.path.append(str(HOME / "tests" / "support"))

from chromium import PROGRAM, Chromium
from many_cases import many
from many_nights import REAL, fill, trimmed
from sample_run import good_run

from orchestrator.model.results import RunResult
from orchestrator.report import html
from orchestrator.results import store
from orchestrator.runner import overview

CASES, NIGHTS, CELLS = 5000, 100, 16
WIDTHS = (390, 1280, 1920)
HEIGHT = 900
#: What is kept of each page is called so.
NAMES = ("cases", "nights", "measurements")
#: A page opens in less (s of its main thread).
SOON = 1.0
#: So often a page is opened; the quickest counts, since other programs share its caches.
OPENED = 3
HEAD = ("page", "width", "scheme", "opens, CPU s", "by the clock, s", "other requests",
        "sideways", "reached by Tab", "Enter opens", "filter")  # fmt: skip

# What the Tab key is to reach: all that one can use with a mouse and that is to be seen.
_WATCH = """
window.reached = new Set();
addEventListener("focusin", event => reached.add(event.target), true);
window.controls = () => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter(n => n.tabIndex >= 0 && !n.disabled && n.checkVisibility({ visibilityProperty: true }));
controls().length"""
_REACHED = "controls().filter(n => reached.has(n)).length"
_AT_FILTER = """(n => n.tagName === "INPUT" && (n.type === "search" || n.type === "text")
  && n.closest("#filter, .filter") !== null)(document.activeElement)"""
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@dataclass(frozen=True)
class Page:
    """A page to look at: ``typed`` into its filter, after which ``shown`` tells what is left."""

    name: str
    path: Path
    typed: str = ""
    shown: str = ""
    expected: str = ""


def pages(part: Part) -> Table | None:
    """Every page at every width and in both schemes; None where there is no Chromium here."""
    if not PROGRAM:
        print("    no chromium here: the pages are not looked at")
        return None
    folder = part.folder / "shown"
    shown = Shown(folder)
    try:
        tables = [
            part.table(name, lambda at=at: shown.looked_at(at)) for at, name in enumerate(NAMES)
        ]
    finally:
        shown.close()
    known = [one for one in tables if one is not None]
    if len(known) < len(tables):
        return None
    rows = tuple(row for one in known for row in one.rows)
    return Table(HEAD, rows, known[-1].date, known[-1].commit)


class Shown:
    """The pages and the browser, which are there as soon as the first page is to be looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.browser: Chromium | None = None
        self.made: list[Page] = []

    def looked_at(self, at: int) -> Table:
        """One of the pages, everywhere."""
        if self.browser is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.made = make(self.folder)
            self.browser = Chromium(self.folder / "profile")
        rows = [
            look(self.browser, self.made[at], width, dark)
            for width in WIDTHS
            for dark in (False, True)
        ]
        return Table(HEAD, tuple(rows), today(), commit())

    def close(self) -> None:
        """End the browser; the pages stay."""
        if self.browser is not None:
            self.browser.close()
            shutil.rmtree(self.folder / "profile", ignore_errors=True)


def make(folder: Path, cases: int = CASES, nights: int = NIGHTS) -> list[Page]:
    """Write a run's page, the page over many nights, and that of their measurements."""
    folder.mkdir(parents=True)
    run = folder / "run.html"
    run.write_text(html.render(many(cases), None), "utf-8")
    reports = folder / "reports"
    fill(reports, _source(), nights, CELLS, whole=False)
    overview.write(reports)
    return [
        Page(f"a run of {cases:,} cases", run, "case-100", "#filter output", "shown"),
        Page(f"{nights} nights", reports / "index.html", "202608", "#shown", f"of {nights}"),
        Page(f"measurements of {nights} nights", reports / "trends.html"),
    ]


def _source() -> RunResult:
    """A real run to make nights of, which measured something besides."""
    real = store.load(REAL / "drift")
    measured = [case for cell in good_run().cells for case in cell.cases if case.measurements]
    cells = (replace(cell, cases=(*measured, *cell.cases)) for cell in real.cells)
    return trimmed(replace(real, cells=tuple(cells)), 60)


def _opened(browser: Chromium, address: str) -> tuple[float, float]:
    """How long a page takes to open: CPU time of its main thread, and time by the clock (s)."""
    began = time.monotonic()
    return browser.opened_in(address), time.monotonic() - began


def _opens(browser: Chromium) -> bool:
    """Whether Enter opens the box whose heading has the focus, or closes it; then back again."""
    is_open = "document.activeElement.parentElement.open"
    before = browser.run(is_open)
    browser.press("Enter", 13, "\r")
    after = browser.run(is_open)
    browser.press("Enter", 13, "\r")
    return bool(before is not after and browser.run(is_open) is before)


def look(browser: Chromium, page: Page, width: int, dark: bool) -> Row:
    """One page at one width: how long it takes, what it asks for, whether keys are enough."""
    browser.look(width, HEIGHT, dark)
    address = page.path.as_uri()
    cpu, clock = map(min, zip(*(_opened(browser, address) for _ in range(OPENED)), strict=True))
    others = [one for one in browser.requests if one != address]
    sideways = browser.run("document.documentElement.scrollWidth - innerWidth")
    white = browser.run(_BACKGROUND) == "rgb(255, 255, 255)"
    controls = browser.run(_WATCH)
    filtered, opens = "", None
    # Once around; the browser's own stop between the last and the first is one of them.
    for _ in range(controls + 5):
        browser.press("Tab", 9)
        if opens is None and browser.run("document.activeElement.tagName === 'SUMMARY'"):
            opens = _opens(browser)
        if page.typed and not filtered and browser.run(_AT_FILTER):
            browser.write(page.typed)
            filtered = browser.run(f"document.querySelector('{page.shown}').textContent")
            browser.press("a", 65)
            browser.run("document.activeElement.select()")
            browser.press("Delete", 46)
    reached = browser.run(_REACHED)
    held = (
        cpu < SOON and not others and not browser.said and sideways <= 0 and white is not dark
        and reached == controls and page.expected in filtered and opens is not False
    )  # fmt: skip
    return Row((
        page.name, str(width), "dark" if dark else "light", f"{cpu:.2f}", f"{clock:.1f}",
        str(len(others)), "no" if sideways <= 0 else f"by {sideways} px",
        f"{reached} of {controls}", {True: "yes", False: "no", None: "-"}[opens], filtered or "-",
    ), held)  # fmt: skip
