# SPDX-License-Identifier: GPL-2.0-only
"""Names as they are typed: whole parts, globs, and what was nearly right."""

from __future__ import annotations

import time

import pytest

from orchestrator.model import lookup

CASE = "v6.12/default/x86_64/small:uffd-move/swap:counters"


@pytest.mark.parametrize(
    "wanted",
    [
        CASE, "counters", "swap:counters", "uffd-move/swap", "uffd-move/swap:counters", "x86_64",
        "v6.12", "default/x86_64/small:uffd-move/swap:counters", "uffd-move/*:counters", "*",
        "*/swap", "sw*", "coun*", "v6.1?", "[uv]ffd-move", "*:*:counters",
    ],
)  # fmt: skip
def test_what_fits(wanted: str) -> None:
    assert lookup.fits(CASE, wanted)


@pytest.mark.parametrize(
    "wanted",
    ["", "counter", "ounters", "uffd-mov", "swap:", "move/swap", "6.12", "x86_64/small:swap",
     "ap*", "swap?counter", "[u]ff", "v6.12/x86_64"],
)  # fmt: skip
def test_what_does_not(wanted: str) -> None:
    assert not lookup.fits(CASE, wanted)


def test_a_run_has_parts_of_its_own() -> None:
    assert lookup.fits("20261129-150821", "150821", "-")
    assert not lookup.fits("20261129-150821", "50821", "-")


def test_one_that_is_called_so_stands_alone() -> None:
    names = ("a/x", "x", "b/x")
    assert lookup.fitting("x", names) == ("x",)
    assert lookup.fitting("b/x", names) == ("b/x",)
    assert lookup.fitting("?/x", names) == ("a/x", "b/x")
    assert lookup.fitting("[x]", ("[x]", "x")) == ("[x]",)
    assert lookup.fitting("y", names) == ()


def test_many_are_listed_and_the_rest_counted() -> None:
    error = lookup.ambiguous("cases", "x", [f"{n}/x" for n in range(11)])
    lines = error.message.splitlines()
    assert lines[0] == "'x' fits 11 cases:"
    assert lines[1:9] == [f"     {n}/x" for n in range(8)]
    assert lines[9] == "     ... and 3 more"
    assert error.exit_status == 2


def test_near_names() -> None:
    assert lookup.near("cuonters", ["counters", "kernel-log"]) == "did you mean 'counters'?"
    assert lookup.near("swap1", ["swap", "swap2"]) == "did you mean 'swap' or 'swap2'?"
    assert lookup.near("zzz", ["swap"]) == ""
    assert lookup.near("zzz", []) == ""


def test_hostile_names_take_no_time() -> None:
    began = time.perf_counter()
    lookup.fits("/a" * 50_000, "a/a/b")
    lookup.fits("a" * 20_000, "*a*a*a*b")
    lookup.near("a/" * 5_000, ["a/" * 5_000 + "b"])
    assert time.perf_counter() - began < 2
