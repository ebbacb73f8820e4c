# SPDX-License-Identifier: GPL-2.0-only
"""How much of a series ran, over cells."""

from __future__ import annotations

from dataclasses import replace

from sample_run import good_run

from orchestrator.judge.covered import Line, by_patch, sentence
from orchestrator.model.results import CellRecord, CoveredLine


def cell(name: str, *lines: CoveredLine, kernel: str = "k") -> CellRecord:
    return replace(good_run().cells[0], id=name, kernel=kernel, covered=lines)


def one(patch: int, line: int, *by: str) -> CoveredLine:
    return CoveredLine(patch, "mm/x.c", line, f"line {line}", len(by), by)


CELLS = (
    cell("k/c/x86_64/small", one(1, 5, "a/b", "a/c"), one(2, 7), one(2, 8)),
    cell("k/c/arm64/small", one(1, 5), one(2, 7, "a/b")),
    cell("base/c/arm64/small", one(1, 9), kernel="base"),
    cell("k/plain/arm64/small"),
)


def test_a_line_ran_where_it_ran_in_any_cell() -> None:
    first, second = by_patch(CELLS, "k")
    (line,) = first.lines
    both = ("k/c/x86_64/small", "k/c/arm64/small")
    assert line == Line("mm/x.c", 5, "line 5", both, both[:1], ("a/b", "a/c"))
    assert [(one.line, one.ran) for one in second.lines] == [(7, both[1:]), (8, ())]
    assert second.lines[1].cells == both[:1]
    assert (first.ran, second.ran) == (1, 1)


def test_one_sentence() -> None:
    assert sentence(by_patch(CELLS, "k")) == (
        "66 % of the series' lines ran (2 of 3); never ran: 1 of patch 2"
    )
    assert sentence(by_patch(CELLS[:1], "base")) == ""
    whole = by_patch((cell("k/c/x86_64/small", one(1, 5, "a/b")),), "k")
    assert sentence(whole) == "100 % of the series' lines ran (1 of 1)"
