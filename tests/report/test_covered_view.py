# SPDX-License-Identifier: GPL-2.0-only
"""A series with what of it ran, as reports show it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from covered_run import covered_run
from sample_run import good_run

from orchestrator.commands.summary import print_summary
from orchestrator.report.covered_view import (
    GONE,
    NEVER,
    NO_CODE,
    RAN,
    Row,
    shown_series,
    text_lines,
    to_dict,
)

WHERE = "coverage/x86_64/small", "coverage/arm64/small"
SENTENCE = "50 % of the series' lines ran (2 of 4); never ran: 1 of patch 1, 1 of patch 2"


def test_a_run_without_counts_has_none() -> None:
    assert shown_series(good_run()) == ()
    assert text_lines(good_run()) == []


def test_it_is_told_function_by_function_and_where_it_was_counted() -> None:
    (series,) = shown_series(covered_run())
    assert series.sentence == SENTENCE
    assert [place for place, _ in series.cells] == list(WHERE)
    assert series.rows == (
        Row(1, "start in mm/x.c", 3, 2, "13"),
        Row(2, "later in mm/x.c", 1, 0, "31"),
    )
    assert to_dict(series)["lines"] == 4


def test_each_line_of_a_patch_is_marked() -> None:
    first, second, third = shown_series(covered_run())[0].patches
    assert (first.told, second.told, third.told) == (
        "2 of 3 lines ran", "0 of 1 line ran", "no code that was counted",
    )  # fmt: skip
    lines = [line for block in first.hunks[0].blocks for line in block.lines]
    assert [(line.state, line.number) for line in lines] == [
        ("", 0), ("", 0), ("", 0), (RAN, 11), (RAN, 12), (NEVER, 13), (NO_CODE, 14), ("", 0),
    ]  # fmt: skip
    assert lines[3].text == "+\tif (<none>)"
    later = [line for block in second.hunks[0].blocks for line in block.lines]
    assert [line.state for line in later] == ["", NEVER, GONE, ""]
    assert third.hunks == ()


def test_lines_that_ran_alike_stand_together_with_who_ran_them() -> None:
    first, second, _ = shown_series(covered_run())[0].patches
    blocks = first.hunks[0].blocks
    assert [len(block.lines) for block in blocks] == [4, 1, 3]
    assert [block.state for block in blocks] == [RAN, RAN, NEVER]
    assert blocks[0].by == (
        f"{WHERE[0]}: 7 workloads: a/b, a/c and 5 more",
        f"{WHERE[1]}: 1 workload: a/b",
    )
    assert blocks[1].by == (f"{WHERE[0]}: 1 workload: a/b", f"never ran in {WHERE[1]}")
    assert blocks[2].by == (f"never ran in {', '.join(WHERE)}",)
    assert second.hunks[0].blocks[0].by == (f"never ran in {WHERE[0]}",)


def test_a_hunk_without_code_is_one_block_of_nobodys() -> None:
    run = covered_run()
    cells = tuple(replace(cell, covered=()) for cell in run.cells)
    (series,) = shown_series(replace(run, cells=cells))
    assert series.sentence == "The series has no line of code that was counted"
    (block,) = series.patches[0].hunks[0].blocks
    assert (block.state, block.by) == ("", ())
    assert [line.state for line in block.lines if line.state] == [NO_CODE] * 4


def test_a_terminal_is_told_what_never_ran() -> None:
    assert text_lines(covered_run()) == [
        f"coverage: {SENTENCE}",
        "       patch 1, start in mm/x.c: 2 of 3 ran, never 13",
        "       patch 2, later in mm/x.c: 0 of 1 ran, never 31",
    ]
    assert text_lines(covered_run(), most=1)[-1] == "       and 1 more function"


def test_the_end_of_a_run_tells_it_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(covered_run(), None, Path("r"), 1.0, as_json=False)
    assert f"coverage: {SENTENCE}" in capsys.readouterr().out.splitlines()
    print_summary(covered_run(), None, Path("r"), 1.0, as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["coverage"]
    assert (told["sentence"], told["lines"], told["ran"]) == (SENTENCE, 4, 2)
    assert told["functions"][0]["never"] == "13"
