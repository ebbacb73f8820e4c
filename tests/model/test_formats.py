# SPDX-License-Identifier: GPL-2.0-only
"""Sizes and times as people write them."""

from __future__ import annotations

import pytest

from orchestrator.model.formats import (
    counted,
    not_built,
    parse_seconds,
    parse_size_mib,
    short_seconds,
    unequal_symbols,
)


@pytest.mark.parametrize(
    ("value", "mib"), [(512, 512), ("512M", 512), ("2G", 2048), (0, 0), ("0M", 0)]
)
def test_sizes(value: object, mib: int) -> None:
    assert parse_size_mib(value) == mib


@pytest.mark.parametrize(
    "value", ["", "G", "1", "1.5G", "1 G", "1g", "1GiB", "9999999G", -1, True, None, [], 1.5, "१G"]
)
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_size_mib(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(30, 30.0), (0.5, 0.5), ("300", 300.0), ("90s", 90.0), ("1.5m", 90.0), ("8h", 28800.0)],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0s",
        "1d",
        "",
        "s",
        float("nan"),
        float("inf"),
        True,
        None,
        "999h",
        10**400,
        "9" * 5000,
    ],
)
def test_no_durations(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_seconds(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (39.6, "40 s"), (99.4, "99 s"), (99.6, "2 min"), (3000, "50 min"),
     (6000, "1 h 40 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations_for_a_glance(seconds: float, text: str) -> None:
    assert short_seconds(seconds) == text


def test_a_count_with_what_is_counted() -> None:
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
    assert [counted(n, "patch", "patches") for n in (1, 2)] == ["1 patch", "2 patches"]


def test_a_program_that_does_not_build_and_one_that_was_got_round() -> None:
    assert not_built("a.c:1: no x", "") == "does not build: a.c:1: no x"
    assert not_built("a.c:1: no x", "-w") == (
        "does not build: a.c:1: no x; built with -w it runs all the same"
    )


def test_symbols_that_are_not_the_same_in_all_configs():
    configs = ({"A": "y", "B": "1"}, {"A": "y", "B": "2", "C": "n"}, {"A": "y", "B": "1", "D": "m"})
    found = [("B", ("1", "2", "1")), ("D", ("n", "n", "m"))]
    assert list(unequal_symbols(configs)) == found
