# SPDX-License-Identifier: GPL-2.0-only
"""`lab open`: the page of a run in a browser, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_run

from orchestrator.commands import open as command
from orchestrator.host import process
from orchestrator.model.errors import HostError
from orchestrator.report import html
from orchestrator.report.view import anchor

BROKEN = sample_run.broken_run()
CASE = BROKEN.cells[0].cases[0].id


@pytest.fixture
def page(stored: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    path = stored / "reports" / BROKEN.run.id / "index.html"
    path.write_text(html.render(BROKEN, None))
    return path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    seen: list[list[str]] = []
    monkeypatch.setattr(process, "launch", lambda argv: seen.append(list(argv)))
    monkeypatch.setattr(process, "find_tool", lambda name: f"/usr/bin/{name}")
    return seen


@pytest.mark.parametrize("command", ["open", "logs", "rerun"])
def test_a_misspelt_run_gets_a_near_name(page: Path, lab: Callable[..., Any], command: str) -> None:
    wrong = BROKEN.run.id.replace("0105", "0150")
    for words in ((wrong,), (wrong, "counters")):
        done = lab(command, *words)
        assert (done.status, done.out) == (2, "")
        assert f"did you mean '{BROKEN.run.id}'" in done.err
    assert "did you mean 'latest'" in lab(command, "lates").err


def test_without_a_display_the_path_and_why(
    page: Path, launched: list[list[str]], lab: Callable[..., Any]
) -> None:
    done = lab("open")
    assert (done.status, done.out) == (3, f"{page}\n")
    assert done.err.startswith("lab: not opened: there is no display here")
    done = lab("open", "--print")
    assert (done.status, done.out, done.err) == (0, f"{page}\n", "")
    assert launched == []


def test_the_latest_run_is_opened(
    page: Path, launched: list[list[str]], lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    done = lab("open")
    assert (done.status, done.err) == (0, "")
    assert launched == [["xdg-open", page.as_uri()]]
    monkeypatch.setenv("BROWSER", "firefox --new-tab:lynx")
    lab("open", "@1")
    monkeypatch.setenv("BROWSER", "show %s now")
    lab("open", "@1")
    assert launched[1:] == [
        ["firefox", "--new-tab", page.as_uri()],
        ["show", page.as_uri(), "now"],
    ]


def test_a_case_has_its_place_on_the_page(
    page: Path, launched: list[list[str]], lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of its own leads there: openers drop what is behind the # of a file's address."""
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    done = lab("open", CASE)
    assert done.out == f"{page.as_uri()}#{anchor(CASE)}\n"
    assert f'id="{anchor(CASE)}"' in page.read_text()
    post = page.with_name(command.SIGNPOST)
    assert launched == [["xdg-open", post.as_uri()]]
    assert f'url=index.html#{anchor(CASE)}"' in post.read_text()


def test_a_browser_that_does_not_start(
    page: Path, launched: list[list[str]], lab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")

    def fails(argv: object) -> None:
        raise HostError("xdg-open ended with status 3: it printed nothing")

    monkeypatch.setattr(process, "launch", fails)
    done = lab("open")
    assert (done.status, done.out) == (3, f"{page}\n")
    assert "not opened: xdg-open ended with status 3" in done.err
    monkeypatch.setattr(process, "find_tool", lambda name: None)
    assert "neither xdg-open nor x-www-browser is installed" in lab("open").err


def test_a_run_without_a_page(stored: Path, lab: Callable[..., Any]) -> None:
    done = lab("open")
    assert done.status == 2
    assert f"`lab report {BROKEN.run.id}` writes it" in done.err
    assert lab("open", "nothing-like-it").status == 2
