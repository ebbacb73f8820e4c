# SPDX-License-Identifier: GPL-2.0-only
"""The search for a smaller program, on programs of which it is known what they need to fail."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from orchestrator.judge.shrinking import (
    FIRST,
    LEAST,
    Program,
    Search,
    Tried,
    candidates,
    needed,
    search,
)

PROGRAM = tuple(f"0 mmap at={number} n={1 + number % 4}" for number in range(24))


def carried_out(
    program: Program, fails: Callable[[Program], bool], width: int = 1, most: int = 10_000
) -> tuple[Search, int]:
    tried: dict[Program, Tried] = {}
    trials = 0
    while (found := search(program, tried, width)).next and trials < most:
        assert len(found.next) <= width
        for one in found.next:
            known = tried.get(one, Tried())
            tried[one] = Tried(known.failed + fails(one), known.trials + 1)
            trials += 1
    return found, trials


def needing(*lines: str) -> Callable[[Program], bool]:
    """Fails where all of these steps are there, the last step too, whatever their ranges are."""
    wanted = {line.partition(" n=")[0] for line in (*lines, PROGRAM[-1])}
    return lambda program: wanted <= {line.partition(" n=")[0] for line in program}


@pytest.mark.parametrize("width", [1, 2, 5])
def test_nothing_is_left_that_can_go(width: int) -> None:
    found, trials = carried_out(PROGRAM, needing(PROGRAM[3], PROGRAM[17]), width)
    assert found.again
    assert [line.partition(" n=")[0] for line in found.smallest] == [
        "0 mmap at=3", "0 mmap at=17", "0 mmap at=23",
    ]  # fmt: skip
    assert all(line.endswith(" n=1") for line in found.smallest)
    assert trials < 60 + 5 * width


def test_a_range_that_is_needed_stays() -> None:
    def fails(program: Program) -> bool:
        return any(int(line.rpartition("n=")[2]) >= 3 for line in program)

    found, _ = carried_out(("0 mmap at=1 n=2", "0 mmap at=1 n=9"), fails)
    assert found.smallest == ("0 mmap at=1 n=3",)


def test_a_length_that_is_the_ranges_goes_with_it() -> None:
    made = set(candidates(("0 remap at=1 n=4 len=4 to=9",)))
    assert made == {("0 remap at=1 n=2 len=2 to=9",), ("0 remap at=1 n=3 len=3 to=9",)}


def test_a_step_that_is_made_shorter_stays_beside_the_one_before_it() -> None:
    made = set(candidates(("& 0 munmap at=1 n=4 fail=2",)))
    assert made == {("& 0 munmap at=1 n=2 fail=2",), ("& 0 munmap at=1 n=3 fail=2",)}


def test_what_fails_in_half_of_its_trials_is_made_as_small() -> None:
    for seed in range(10):
        dice = random.Random(seed)
        needs = needing(PROGRAM[5])
        found, _ = carried_out(PROGRAM, lambda p, d=dice, n=needs: n(p) and d.random() < 0.5)
        assert found.again
        # What did not fail was tried often enough to be believed, but for one in twenty.
        assert len(found.smallest) <= 4
        assert needs(found.smallest)


def test_what_does_not_fail_again_is_tried_often_and_then_given_up() -> None:
    found, trials = carried_out(PROGRAM, lambda _: False, 3)
    assert (found.again, found.smallest, trials) == (False, PROGRAM, FIRST)


def test_one_failure_is_not_taken_for_always() -> None:
    once = search(PROGRAM, {PROGRAM: Tried(1, 1)}, 8)
    assert once.next == (PROGRAM,) * (LEAST - 1)
    assert (needed(Tried(3, 3)), needed(Tried(1, 2)), needed(Tried(1, 10))) == (1, 5, 29)


def test_the_last_step_always_stays() -> None:
    assert all(one[-1].startswith("0 mmap at=23") for one in candidates(PROGRAM))
    assert list(candidates(("0 exit",))) == []
