# SPDX-License-Identifier: GPL-2.0-only
"""What each guest of an exploration is told of coverage, and what it adds."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.finds import Kept
from orchestrator.model.spec import WorkloadSpec
from orchestrator.results import corpus
from orchestrator.results.kept import Base
from orchestrator.runner.guiding import BASES, FIRSTS, Guidance

WORK = WorkloadSpec("explore/steady", "explore", Path("e"), "steady.c", args=("--strict",))
IMAGE, OTHER = "a" * 64, "b" * 64


def one(number: int, *pcs: int, image: str = IMAGE[:16]) -> Base:
    name, steps = corpus.named([f"0 write at={number % 32} byte={number // 32}", "0 exit"])
    return Base(name, steps, {image: frozenset(pcs)})


def test_without_anything_known_nothing_is_told() -> None:
    assert Guidance().slice_of(WORK, IMAGE) == WORK
    assert Guidance(unguided=True).slice_of(WORK, IMAGE).args == ("--strict", "--unguided")


def test_what_one_guest_kept_the_next_makes_others_of() -> None:
    guidance = Guidance()
    kept = [
        Kept(("0 exit",), frozenset({16, 32})),
        Kept(("1 exit",), frozenset({32})),
        Kept(("2 exit",), frozenset({64})),
    ]
    assert guidance.take(IMAGE, kept) == 2
    assert (guidance.kept, guidance.passed(IMAGE), guidance.passed(OTHER)) == (2, 3, 0)
    words = guidance.slice_of(WORK, IMAGE).args
    assert words[0] == "--strict"
    assert {words[1:3], words[3:5]} == {("--base", "0 exit"), ("--base", "2 exit")}
    assert words[5:] == ("--passed", "10+10+20")
    assert guidance.take(IMAGE, kept) == 0


def test_another_kernel_tries_each_once_as_it_is() -> None:
    guidance = Guidance([one(n, n + 1) for n in range(FIRSTS + 5)])
    counts = [guidance.slice_of(WORK, OTHER).args.count("--first") for _ in range(3)]
    assert counts == [FIRSTS, 5, 0]
    assert "--passed" not in guidance.slice_of(WORK, OTHER).args
    assert guidance.slice_of(WORK, IMAGE).args.count("--base") == BASES


def test_unguided_what_is_known_is_told_and_nothing_is_made_of_it() -> None:
    guidance = Guidance([one(1, 5)], unguided=True)
    assert guidance.slice_of(WORK, IMAGE).args == ("--strict", "--unguided", "--passed", "5")


def test_no_argument_is_longer_than_one_may_be() -> None:
    steps = ";".join(f"0 mmap at={n % 30} n=2 prot=rw how=private+noreserve" for n in range(40))
    many = [
        Base(f"{n:016x}", (f"{n % 4} exit", *steps.split(";")), {IMAGE[:16]: frozenset({n << 30})})
        for n in range(30_000)
    ]
    words = Guidance(many).slice_of(WORK, IMAGE).args
    assert max(map(len, words)) < 128 * 1024  # execve(2), MAX_ARG_STRLEN
    assert sum(map(len, words)) < 90_000
    assert "--base" in words
    known = words[words.index("--passed") + 1]
    assert all(int(word, 16) < 1 << 64 for word in known.split("+"))


def test_no_more_are_kept_than_are_worth_it() -> None:
    assert len(Guidance([one(n, n) for n in range(900)]).bases) == 500
