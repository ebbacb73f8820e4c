# SPDX-License-Identifier: GPL-2.0-only
"""``run_as:`` and ``build_sandbox:`` of lab.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import lab, load, problems

from orchestrator.model.walls import BUBBLEWRAP, NONE, WallsSpec

__all__ = ["lab"]


def write(lab: Path, text: str) -> Path:
    lab.write_text(lab.read_text() + text)
    return lab


def test_without_the_keys_there_are_none(lab: Path) -> None:
    assert load(lab).walls == WallsSpec("", NONE)


def test_both_keys_are_read(lab: Path) -> None:
    text = "run_as: lab\nbuild_sandbox: bubblewrap\n"
    assert load(write(lab, text)).walls == WallsSpec("lab", BUBBLEWRAP)


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        ("run_as: 1000\n", "run_as", "expected the name of a user of this host"),
        ("run_as: ''\n", "run_as", "expected the name of a user of this host"),
        ("run_as: -x\n", "run_as", "such as lab"),
        ("build_sandbox: docker\n", "build_sandbox", "expected none or bubblewrap"),
        ("build_sandbox: true\n", "build_sandbox", "expected none or bubblewrap"),
    ],
)
def test_what_is_wrong_is_told(lab: Path, text: str, key: str, told: str) -> None:
    (problem,) = problems(write(lab, text))
    assert key in str(problem)
    assert told in str(problem)
