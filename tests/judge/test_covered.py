# SPDX-License-Identifier: GPL-2.0-only
"""How much of a series ran, over cells."""

from __future__ import annotations

from dataclasses import replace

from sample_run import good_run

from orchestrator.judge.covered import Line, Ran, by_patch, counts, sentence, share
from orchestrator.model.coverage import CoveredLine, Lines
from orchestrator.model.results import CellRecord


def cell(name: str, *lines: CoveredLine, kernel: str = "k") -> CellRecord:
    return replace(good_run().cells[0], id=name, kernel=kernel, covered=lines)


def one(patch: int, line: int, *by: str) -> CoveredLine:
    return CoveredLine(patch, "mm/x.c", line, f"line {line}", len(by), by, f"f{line}")


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
    assert line == Line("mm/x.c", 5, "line 5", both, (Ran(both[0], 2, ("a/b", "a/c")),), "f5")
    assert [(one.line, one.ran) for one in second.lines] == [
        (7, (Ran(both[1], 1, ("a/b",)),)),
        (8, ()),
    ]
    assert second.lines[1].cells == both[:1]
    assert (first.ran, second.ran) == (1, 1)


def test_function_by_function() -> None:
    _, second = by_patch(CELLS, "k")
    seven, eight = second.parts
    assert (seven.name, seven.ran, seven.never) == ("f7 in mm/x.c", 1, Lines())
    assert (eight.name, eight.ran, eight.never) == ("f8 in mm/x.c", 0, Lines((8,)))
    assert replace(eight, function="").name == "mm/x.c"


def test_one_sentence() -> None:
    patches = by_patch(CELLS, "k")
    assert sentence(patches) == "66 % of the series' lines ran (2 of 3); never ran: 1 of patch 2"
    assert share(patches) == "66 % of its lines ran"
    assert counts(patches) == (3, 2)
    assert sentence(by_patch(CELLS[:1], "base")) == share(()) == ""
    whole = by_patch((cell("k/c/x86_64/small", one(1, 5, "a/b")),), "k")
    assert sentence(whole) == "100 % of the series' lines ran (1 of 1)"
