# SPDX-License-Identifier: GPL-2.0-only
"""Programs as text: steps and what they came to."""

from __future__ import annotations

import pytest

from orchestrator.model.finds import MOST_STEPS, Find, parse_program, parse_step


def test_a_step_is_read_and_written_again() -> None:
    step = parse_step("  1   remap at=2 n=1 len=1   to=9  # EINVAL")
    assert step is not None
    assert (step.process, step.name, step.came_to) == (1, "remap", "EINVAL")
    assert step.fields == {"at": "2", "n": "1", "len": "1", "to": "9"}
    assert step.text == "1 remap at=2 n=1 len=1 to=9"


def test_a_step_beside_another_is_too() -> None:
    step = parse_step(" &  0 poke at=2 spot=1 byte=3")
    assert step is not None
    assert (step.beside, step.process, step.name) == (True, 0, "poke")
    assert step.text == "& 0 poke at=2 spot=1 byte=3"


@pytest.mark.parametrize("line", ["", "   ", "# 0 mmap at=1 n=1"])
def test_lines_without_a_step(line: str) -> None:
    assert parse_step(line) is None


@pytest.mark.parametrize(
    "line",
    ["mmap at=1", "0", "0 mmap at", "x mmap", "0 mmap at=1;2", "0 mm$p", "12 mmap", "&", "&0 mmap"],
)
def test_what_is_no_step_is_told_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2: .* is no step"):
        parse_program(["0 exit", line])


def test_a_program_has_steps_and_not_too_many() -> None:
    with pytest.raises(ValueError, match="0 steps"):
        parse_program(["# nothing"])
    assert len(parse_program(["0 exit"] * MOST_STEPS)) == MOST_STEPS
    with pytest.raises(ValueError, match="401 steps"):
        parse_program(["0 exit"] * (MOST_STEPS + 1))


def test_a_find_is_known_again_by_rule_and_step() -> None:
    one = Find("mapping", "remap", "page 3: its mapping is r, expected rw", ("0 exit",))
    other = Find("mapping", "remap", "page 9: its mapping is rw, expected r", ("0 kill",), seed=4)
    assert one.signature == other.signature == "mapping-remap"
    assert one.title == "mapping is wrong after remap: page 3: its mapping is r, expected rw"
