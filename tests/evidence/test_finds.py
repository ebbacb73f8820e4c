# SPDX-License-Identifier: GPL-2.0-only
"""What a case of `explore` tells of a find; the lines are from Linux 6.18.44."""

from __future__ import annotations

import random

import pytest

from orchestrator.evidence.finds import read_find

LINES = (
    "left out, for want of swap: no page is swapped out",
    "MEASURE name=programs value=12 unit=programs",
    "swarm mappings, seed 12, after 468 steps",
    "FIND rule=mapping process=0",
    "BEFORE process=0 pages=...................ppp..........",
    "BEFORE process=2 pages=................................",
    "PROGRAM 0 mmap at=15 n=7 prot=rw how=private",
    "PROGRAM 0 munmap at=3 n=1 # EINVAL",
    "PROGRAM 0 remap-dontunmap at=20 n=1 to=5",
    "steady.c:154: mapping: step 3 of 3, `0 remap-dontunmap at=20 n=1 to=5`: page 19: its mapping "
    "is rw, expected rw locked",
)


def test_a_find_is_read() -> None:
    find = read_find(LINES)
    assert find is not None
    assert (find.rule, find.step, find.process) == ("mapping", "remap-dontunmap", 0)
    assert find.said == "page 19: its mapping is rw, expected rw locked"
    assert find.program == tuple(line.removeprefix("PROGRAM ") for line in LINES[6:9])
    assert (find.swarm, find.seed, find.times) == ("mappings", 12, 1)
    assert find.before == ("...................ppp..........", "", "." * 32, "")


def test_one_that_was_not_drawn_has_no_seed() -> None:
    find = read_find(LINES[3:])
    assert find is not None
    assert (find.swarm, find.seed) == ("", None)


def test_what_was_carried_out_behind_the_guilty_step_is_no_part_of_it() -> None:
    more = (*LINES[:-2], "PROGRAM 0 remap-dontunmap at=20 n=1 to=5", "PROGRAM 0 exit",
            LINES[-1].replace("3 of 3", "3 of 4"))  # fmt: skip
    find = read_find(more)
    assert find is not None
    assert len(find.program) == 3


@pytest.mark.parametrize("left_out", [3, 6, 7, 8, 9])
def test_what_is_cut_is_no_find(left_out: int) -> None:
    assert read_find((*LINES[:left_out], *LINES[left_out + 1 :])) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("rule=mapping", "rule=state"), ("3 of 3", "3 of 2"), ("3 of 3", "0 of 3"),
     ("to=5`", "to=6`"), ("PROGRAM 0 munmap", "PROGRAM munmap")],
)  # fmt: skip
def test_what_contradicts_itself_is_no_find(old: str, new: str) -> None:
    assert read_find(line.replace(old, new) for line in LINES) is None


def test_a_passing_program_is_no_find() -> None:
    assert read_find(LINES[6:9]) is None
    assert read_find(()) is None


def test_garbage_in_between_harms_nobody() -> None:
    dice = random.Random(1)
    for _ in range(300):
        lines = list(LINES)
        at = dice.randrange(len(lines))
        cut = dice.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:cut] + chr(dice.randrange(1, 0x300)) + lines[at][cut:]
        find = read_find(lines)
        assert find is None or find.step in ("remap-dontunmap",)
