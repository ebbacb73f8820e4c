# SPDX-License-Identifier: GPL-2.0-only
"""``tools/first_answer.py``: what it reads of a run, and the series that it makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator import HOME
from orchestrator.kernel.series.load import load_series


@pytest.fixture
def tool() -> Iterator[ModuleType]:
    sys.path.insert(0, str(HOME / "tools"))
    try:
        import first_answer

        yield first_answer
    finally:
        sys.path.remove(str(HOME / "tools"))


def event(when: float, kind: str, name: str, **more: Any) -> tuple[float, str]:
    return when, json.dumps({"event": kind, "id": name, "stage": "done", **more})


def test_the_first_failing_case_counts_beside_build_and_boot(tool: ModuleType) -> None:
    place = "cli/default/x86_64/small"
    answer = tool.read([
        (0.1, "no event"),
        event(31.0, "build", "cli/default/x86_64", verdict="pass", seconds=30.0),
        event(41.0, "case", f"{place}:boot:boot", verdict="pass", seconds=9.0),
        event(50.0, "case", f"{place}:f/a:c", verdict="fail", foreseen="known issue"),
        event(58.5, "case", f"{place}:f/b:c", verdict="fail"),
        event(60.0, "case", f"{place}:f/c:c", verdict="fail"),
    ])  # fmt: skip
    assert (answer.case, answer.first, answer.build, answer.boot) == ("f/b:c", 58.5, 30.0, 9.0)
    assert answer.ratio == 1.5
    assert tool.row("p", "none", answer) == "| p | none | 58 s | 30 s | 9 s | 1.5 | f/b:c |"


def test_a_run_without_a_failure_has_no_answer(tool: ModuleType) -> None:
    answer = tool.read([event(9.0, "build", "b", verdict="pass")])
    assert (answer.case, answer.first, answer.ratio) == ("", None, None)
    assert "no failure" in tool.row("p", "clean", answer)


def test_each_series_is_another_one(tool: ModuleType, tmp_path: Path) -> None:
    plant = next(plant for plant in tool.PLANTS if plant.name == tool.CONTROL)
    one = load_series(str(tool.series_of(plant, tmp_path / "a", 1)))
    two = load_series(str(tool.series_of(plant, tmp_path / "b", 2)))
    assert [len(one.patches), len(two.patches)] == [2, 2]
    assert one.patches[0].sha256 == two.patches[0].sha256
    assert one.patches[1].sha256 != two.patches[1].sha256
