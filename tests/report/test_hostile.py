# SPDX-License-Identifier: GPL-2.0-only
"""Hostile texts in every place that a guest or a mail can fill, in every form that is shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import PROGRAM, Chromium
from hostile import STRINGS, controls, hostile_run
from in_process import run_lab
from lxml import etree
from lxml import html as lxml_html
from rich.console import Console
from sample_run import broken_run, good_run

from orchestrator import HOME
from orchestrator.commands import entry, live, progress
from orchestrator.commands.summary import print_summary
from orchestrator.commands.tally import Tally
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare
from orchestrator.model.errors import UserError
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Plan
from orchestrator.report import (
    compare_text,
    html,
    junit,
    mail,
    markdown,
    night,
    patchwork,
    runs_page,
)
from orchestrator.results import digests, history, store
from orchestrator.runner.context import Event

TABLE = pytest.mark.parametrize("text", STRINGS.values(), ids=STRINGS)


def run_of(text: str):
    """A run of which each text is this one, but for what the lab itself names it by."""
    good = broken_run()
    made = hostile_run(good, text)
    own = {name: getattr(good.run, name) for name in ("id", "started", "finished", "profile")}
    return replace(made, run=replace(made.run, **own))


def printed(tell: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    tell()
    captured = capsys.readouterr()
    return captured.out + captured.err


def event(text: str, stage: str) -> Event:
    return Event("case", text, stage, text, verdict=Verdict.FAIL if stage == "done" else None)


def lines_of_a_log(text: str) -> str:
    stream = io.StringIO()
    tell = progress._Plain(stream)
    for stage in ("run", "compile", "done"):
        tell(event(text, stage))
    return stream.getvalue()


def live_view(text: str) -> str:
    console = Console(file=io.StringIO(), width=400, color_system=None, highlight=False)
    shown = live._View(Tally(Plan("smoke", (), ()), {}), console)
    for stage in ("run", "compile"):
        shown.hear(replace(event(text, stage), kind="cell", id=f"{stage}{text}"))
    console.print(shown)
    shown.hear(event(text, "done"))
    return console.file.getvalue()


PLAIN: dict[str, Callable] = {
    "runs page": lambda text, run, _a: runs_page.render((digests.digest_of(run),), (text,)),
    "html": lambda _text, run, against: html.render(run, None, against),
    "junit": lambda _text, run, _a: junit.render(run),
    "junit against": lambda _text, run, against: junit.render(run, against),
    "markdown": lambda _text, run, against: markdown.render(run, against, "https://ci.example/"),
    "mail": lambda _text, run, against: mail.render(run, against),
    "comparison": lambda _text, run, against: compare_text.comparison_text(
        against, causes_of(run)
    ),
    "lines of a log": lambda text, _run, _a: lines_of_a_log(text),
    "live view": lambda text, _run, _a: live_view(text),
    "patchwork": lambda _text, run, against: patchwork.check(run, against)["description"],
    "letter": lambda text, run, against: "\n".join(
        vars(night.letter(run, against, "", (text,))).values()
    ),
}  # fmt: skip


@TABLE
@pytest.mark.parametrize("form", PLAIN)
def test_nothing_that_is_told_steers_a_terminal_or_a_document(form: str, text: str) -> None:
    run = run_of(text)
    for told in (run, run_of(f"first line\n{text}")):
        found = PLAIN[form](text, told, compare(broken_run(), told))
        assert controls(found) == set()


@TABLE
@pytest.mark.parametrize("as_json", [False, True])
def test_nor_does_what_is_printed(
    text: str, as_json: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = run_of(text)
    against = compare(broken_run(), run)
    found = printed(lambda: print_summary(run, against, tmp_path, 1.0, as_json), capsys)
    assert controls(found) == set()
    # Nor a line that a CI service would take for a command of the job's.
    assert not [line for line in found.splitlines() if line.startswith(("::", "##["))]
    error = UserError(f"{text}: no such thing", text)
    assert controls(printed(lambda: entry.tell(error), capsys)) == set()


@TABLE
def test_stored_and_told_by_commands(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """results.json has the text itself; whatever command reads it tells it as harmless."""
    folders = []
    for name, run in (("a", broken_run()), ("b", run_of(text))):
        folder = tmp_path / "reports" / name
        run = replace(run, run=replace(run.run, id=name))
        store.save(run, folder)
        history.record(tmp_path / "reports/history.sqlite", run, folder)
        folders.append(str(folder))
    run = store.load(Path(folders[1]))
    assert run.cells[0].cases[0].reason == text
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.yaml").symlink_to(HOME / "lab.yaml")
    for words in (
        ("compare", *folders), ("report", folders[1]), ("report", "--markdown", folders[1]),
        ("report", "--mail", folders[1]), ("history",), ("history", "*"), ("history", "--flaky"),
        ("logs", folders[1]), ("report", "--index"), ("open", folders[1]),
    ):  # fmt: skip
        done = run_lab(monkeypatch, capsys, *words)
        assert controls(done.out + done.err) == set(), words
    for page in (tmp_path / "reports").glob("**/index.html"):
        assert controls(page.read_text("utf-8")) == set()


@TABLE
def test_a_page_has_no_element_of_theirs(text: str) -> None:
    run = run_of(text)
    plain = elements(html.render(broken_run(), None))
    for against in (None, compare(broken_run(), run)):
        found = lxml_html.document_fromstring(html.render(run, None, against))
        assert {element.tag for element in found.iter()} <= plain | ALLOWED
        assert len(list(found.iter("script"))) == 1
        assert len(list(found.iter("style"))) == 1
        names = {name for element in found.iter() for name in element.attrib}
        assert not [name for name in names if name.startswith("on") or name in ("src", "style")]
        targets = [a.get("href") for a in found.iter("a") if a.get("href")]
        assert not [t for t in targets if not t.startswith(("#", "cells/", "builds/"))]


ALLOWED = {"table", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li", "pre", "code", "span"}


def elements(page: str) -> set[str]:
    return {element.tag for element in lxml_html.document_fromstring(page).iter()}


@TABLE
def test_junit_is_xml_and_has_no_element_of_theirs(text: str) -> None:
    found = etree.fromstring(junit.render(run_of(text)).encode())
    known = {"testsuites", "testsuite", "testcase", "properties", "property", "failure", "error",
             "skipped", "system-out", "system-err"}  # fmt: skip
    assert {element.tag for element in found.iter()} <= known


@TABLE
def test_a_mail_has_no_line_of_theirs(text: str) -> None:
    run = run_of(text)
    lines = mail.render(run, compare(broken_run(), run)).splitlines()
    assert not [line for line in lines if line.startswith(("Tested-by", "From ", "::", "-- "))]


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM, reason="no chromium here")
def test_all_of_them_are_inert_in_a_browser(tmp_path: Path) -> None:
    """Under the page's own policy nothing runs, nothing is asked for, nothing is even refused."""
    browser = Chromium(tmp_path / "profile")
    try:
        for name, text in STRINGS.items():
            run = run_of(text)
            for against in (None, compare(broken_run(), run)):
                page = tmp_path / f"{name}.html"
                page.write_text(html.render(run, None, against), "utf-8")
                browser.open(page.as_uri())
                browser.run("document.querySelector('button[value=expand]')?.click()")
                assert browser.run("window.hacked === undefined"), name
                assert browser.requests == [page.as_uri()], name
                assert browser.said == [], name
                # What they say is there to be read.
                assert browser.run("document.body.innerText.length") > 1000, name
    finally:
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM, reason="no chromium here")
def test_the_policy_holds_where_escaping_would_not(tmp_path: Path) -> None:
    """A page into which markup did get: neither script nor style nor image nor address of it."""
    page = html.render(good_run(), None)
    evil = "".join(STRINGS[name] for name in ("script", "handler", "svg", "style"))
    evil += "<p id=probe style='color: rgb(1, 2, 3)'>x</p><base href='https://evil.example/'>"
    evil += STRINGS["form"]
    path = tmp_path / "page.html"
    path.write_text(page.replace("</header>", f"{evil}</header>", 1), "utf-8")
    browser = Chromium(tmp_path / "profile")
    try:
        browser.open(path.as_uri())
        assert browser.run("window.hacked === undefined")
        assert browser.run("document.baseURI") == path.as_uri()
        assert browser.run("getComputedStyle(document.body).display") != "none"
        probe = "getComputedStyle(document.getElementById('probe')).color"
        assert browser.run(probe) != "rgb(1, 2, 3)"
        browser.run("document.querySelector('form[action] button').click()")
        assert browser.run("location.href") == path.as_uri()
        assert browser.said, "what was refused is told"
    finally:
        browser.close()
