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


def test_the_sums_are_median_and_worst(tool: ModuleType) -> None:
    answers = {
        ("a", "clean"): tool.Answer("f/a:c", 30.0, 15.0, 5.0, 40.0),
        ("b", "clean"): tool.Answer("f/b:c", 60.0, 15.0, 5.0, 70.0),
        ("c", "clean"): tool.Answer("", None, 15.0, 5.0, 90.0),
    }
    assert tool.sums(answers) == [
        "- clean: median 45 s, worst 60 s; over build and boot 2.2, worst 3.0; 2 of 3 found"
    ]
    rows = tool.table(answers, 4, "x86_64")
    assert "Not measured yet: 4." in rows
    assert sum(row.startswith("| ") for row in rows) == 4


def test_what_is_measured_is_kept(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked: list[str] = []

    def measured(plant: Any, history: str, work: Path, arch: str) -> Any:
        asked.append(f"{plant.name} {history} {arch}")
        return tool.Answer("f/a:c", 30.0, 15.0, 5.0, 40.0)

    monkeypatch.setattr(tool, "measure", measured)
    words = ["first_answer.py", "--plant", "dirty-bit-lost", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--history", "none"])
    assert tool.main() == 0
    monkeypatch.setattr(sys, "argv", [*words, "--history", "none", "--history", "clean"])
    assert tool.main() == 0
    monkeypatch.setattr(sys, "argv", [*words, "--budget", "-1"])
    assert tool.main() == 3
    assert asked == ["dirty-bit-lost none x86_64", "dirty-bit-lost clean x86_64"]
    assert capsys.readouterr().out.count("| dirty-bit-lost | none | 30 s |") == 3


def test_by_default_every_plant_that_the_profile_can_find(tool: ModuleType) -> None:
    names = [plant.name for plant in tool.asked(None, "x86_64")]
    assert len(names) > 40
    assert "dirty-bit-lost" in names
    assert not {"device-not-told", "swap-cache-race", tool.CONTROL} & set(names)
    assert names == [plant.name for plant in tool.asked(None, "x86_64")]
    written = [plant.name for plant in tool.PLANTS if plant.name in names]
    assert names != written
    assert sorted(names) == sorted(written)
