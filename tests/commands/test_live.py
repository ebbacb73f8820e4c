# SPDX-License-Identifier: GPL-2.0-only
"""The live view: every width shows the time and the counts."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from orchestrator.commands import live
from orchestrator.commands.tally import Far, Tally
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Plan
from orchestrator.runner.context import Event

NAME = "v6.12-rss-drift/debug-vm-no-thp/x86_64/small"
FAR = Far(12, 74, 3, 39.7)


def shown(row: live.Row, width: int, now: float = 31.0, fancy: bool = True) -> str:
    text = live.line(row, now, width, live.name_width([row], now, width), fancy).plain
    assert cell_len(text) <= width
    return text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("name", ["cli/default/x86_64/small", NAME])
@pytest.mark.parametrize("now", [7.0, 3599.0, 36000.0])
def test_time_and_counts_are_whole_at_every_width(width: int, name: str, now: float) -> None:
    text = shown(
        live.Row(name, 0.0, "run", "uffd-move/swap: ok 3 " + "x" * 90, far=FAR), width, now
    )
    assert {7.0: " 0:07 ", 3599.0: " 59:59 ", 36000.0: " 10:00:00 "}[now] in text
    assert "12/74" in text
    assert "3 failed" in text
    assert "~40 s" in text
    assert (name in text) == (width >= 80 or len(name) < 30)
    assert "x86_64/small" in text or width == 60


def test_what_is_left_out_is_the_bar_and_the_words() -> None:
    row = live.Row("cli/default/x86_64/small", 0.0, "run", "uffd-move/swap", far=FAR)
    assert shown(row, 60)[2:] == "cli/default/x86_64/small   0:31  12/74, 3 failed, ~40 s"
    assert shown(row, 80)[2:] == (
        "cli/default/x86_64/small   0:31  12/74 workloads, 3 failed, ~40 s left"
    )
    assert shown(row, 100)[2:] == (
        "cli/default/x86_64/small   0:31  ━━━━━━━━━━  12/74 workloads, 3 failed, ~40 s left"
        "  uffd-move/swap"
    )
    assert "\u2501" * 18 in shown(row, 200)


def test_the_columns_of_all_rows_are_one() -> None:
    rows = [live.Row(NAME, 0.0, "boot"), live.Row("k/c/x86_64/small", 0.0, "run", far=FAR)]
    names = live.name_width(rows, 31.0, 60)
    places = [live.line(row, 31.0, 60, names).plain.index(" 0:31") for row in rows]
    assert places[0] == places[1]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_compile_keeps_its_share(width: int) -> None:
    row = live.Row("cli/default/x86_64", 0.0, "compile", "CC drivers/net/" + "a" * 90, 0.45)
    text = shown(row, width)
    assert "compile  45%" in text
    assert " 0:31 " in text
    assert ("\u2501" in text) == (width > 60)


def test_a_terminal_without_unicode() -> None:
    row = live.Row(NAME, 0.0, "run", "uffd-move/swap", far=FAR)
    for width in (60, 80, 200):
        assert shown(row, width, fancy=False).isascii()


def test_wide_characters_count_as_two_columns() -> None:
    shown(live.Row("k/c/x86_64", 0.0, "run", "\u6f22" * 90), 80)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_rows_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with live.view(Tally(Plan("p", (), ()), {}), stream) as tell:
        tell(Event("build", "k/c/x86_64", "compile", "CC mm/userfaultfd.o", 0.5))
        tell(Event("build", "k/d/x86_64", "done", "", 1.0, Verdict.PASS, 3.0))
        tell(Event("case", "k/c/x86_64/s:w:a", "done", verdict=Verdict.PASS))
        tell(Event("case", "k/c/x86_64/s:w:b", "done", "off by 1", verdict=Verdict.FAIL))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "compile  50%" in text
    assert " pass  build k/d/x86_64  3.0 s" in text
    assert " fail  case k/c/x86_64/s:w:b  off by 1" in text
    assert "w:a" not in text
