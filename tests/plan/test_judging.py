# SPDX-License-Identifier: GPL-2.0-only
"""``judging:`` of lab.yaml: error rates and the most pairs of trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import lab, load, problems

from orchestrator.model.judging import ErrorRates, Judging

__all__ = ["lab"]


def write(lab: Path, text: str) -> Path:
    lab.write_text(lab.read_text() + "judging:\n" + text)
    return lab


def test_without_the_key_the_rates_are_the_defaults(lab: Path) -> None:
    assert load(lab).judging == Judging(ErrorRates(0.01, 0.05, 0.30), 100)


def test_every_key_is_read(lab: Path) -> None:
    text = "  false_regressions: 0.5%\n  missed: 10%\n  points: 20\n  trials: 40\n"
    assert load(write(lab, text)).judging == Judging(ErrorRates(0.005, 0.1, 0.2), 40)


def test_one_key_alone_leaves_the_others(lab: Path) -> None:
    assert load(write(lab, "  trials: 7\n")).judging == Judging(trials=7)


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        ("  false_regressions: 0%\n", "false_regressions", "a percentage above 0 and up to 50"),
        ("  false_regressions: 0.00%\n", "false_regressions", "such as 1% or 0.5%"),
        ("  missed: 51%\n", "missed", "found the text '51%'"),
        ("  missed: 5\n", "missed", "found the number 5"),
        ("  points: 0\n", "points", "a whole number of percentage points from 1 to 90"),
        ("  points: 91\n", "points", "from 1 to 90"),
        ("  trials: 0\n", "trials", "a whole number from 1 to 10000"),
        ("  mised: 5%\n", "mised", "did you mean 'missed'?"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(lab: Path, text: str, key: str, told: str) -> None:
    line = len(lab.read_text().splitlines()) + 2
    (problem,) = problems(write(lab, text))
    assert f"judging.{key}" in str(problem)
    assert told in str(problem)
    assert f":{line}:" in str(problem)
