# SPDX-License-Identifier: GPL-2.0-only
"""What a failure needs: the search among changes and its sentence, on simulated guests."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace

import pytest
from measure_narrowing import Fails, names, narrowed, needing, simulated

from orchestrator.judge.narrowing import (
    Effect,
    Names,
    Narrowed,
    effect_of,
    in_words,
    search,
    sentence,
)
from orchestrator.model.narrowing import (
    ARCH,
    BOOT_ARGS,
    FRAGMENTS,
    SHAPE,
    SYMBOLS,
    Change,
)

CPUS = Change("1-cpu", SHAPE, "two CPUs", "one CPU")
DISK = Change("no-swap-disk", SHAPE, "the swap disk", "without the swap disk")
ZRAM = Change("no-zram", SHAPE, "zram", "without zram")
ARG = Change("no-x=1", BOOT_ARGS, "x=1", "without the boot argument x=1")
MEMORY = Change("half-memory", SHAPE, "more than 512 MiB of memory", "512 MiB", alone=True)
FOUR = tuple(
    Change(f"no-{name}", FRAGMENTS, name, f"without the fragment {name}")
    for name in ("uffd", "thp", "swap", "ksm")
)
UFFD, THP, SWAP, KSM = FOUR
OTHER = Change("arm64", ARCH, "x86_64", "on arm64", alone=True, arch="arm64")
SYMBOLS_OF_THP = tuple(
    Change(f"no-{name}", SYMBOLS, name, f"without CONFIG_{name}", of=THP.name)
    for name in ("A", "B", "C")
)
ALL = (CPUS, DISK, ZRAM, ARG, MEMORY, *FOUR, OTHER)


def found_by(fails: Fails, changes: tuple[Change, ...] = ALL) -> tuple[Narrowed, list[Names]]:
    """The search with one trial for each step: what it came to, and the steps in their order."""
    found, trials = narrowed(fails, changes)
    assert all(len(each) == 1 for each in trials.values())
    return found, [step for step in trials if step]


def test_what_is_needed_is_found_and_the_rest_does_not_matter() -> None:
    found, steps = found_by(needing("no-thp", "1-cpu"))
    assert names(found.needed) == {"no-thp", "1-cpu"}
    assert names(found.free) == names(ALL) - {"no-thp", "1-cpu"}
    assert (found.either, found.cannot) == ((), ())
    assert sentence(found) == (
        "needs two CPUs and the fragment thp; the swap disk, zram, more than 512 MiB of memory, "
        "the boot argument x=1 and the fragments uffd, swap and ksm do not matter; "
        "on both architectures"
    )
    assert len(steps) <= len(ALL) + 3


def test_where_nothing_matters_whole_groups_are_left_out_at_once() -> None:
    found, steps = found_by(lambda _: True)
    assert names(found.free) == names(ALL)
    assert len(steps) == 4  # the guest's, half the memory, the fragments, the architecture
    assert sentence(found).startswith("needs nothing of what was tried; two CPUs, ")


def test_what_takes_no_build_is_tried_first() -> None:
    _, steps = found_by(needing("no-thp", "1-cpu"))
    cheap = names((CPUS, DISK, ZRAM, ARG, MEMORY))
    builds = [not step <= cheap for step in steps]
    assert builds == sorted(builds)


@pytest.mark.parametrize(
    "pair", list(itertools.combinations([DISK, ZRAM, CPUS, THP, SWAP, KSM], 2)), ids=str
)
def test_of_two_that_are_either_enough_both_are_named(pair: tuple[Change, Change]) -> None:
    both = names(pair)
    found, _ = found_by(lambda gone: not both <= set(gone))
    assert [names(group) for group in found.either] == [both]
    assert found.needed == ()
    assert not both & names(found.free)
    assert " or " in sentence(found)


def test_of_three_of_which_any_is_enough_all_are_named_beside_what_is_needed() -> None:
    any_of = {"no-swap-disk", "no-zram", "no-ksm"}
    found, _ = found_by(lambda gone: "1-cpu" not in gone and not any_of <= set(gone))
    assert [names(group) for group in found.either] == [any_of]
    assert names(found.needed) == {"1-cpu"}
    assert sentence(found).startswith(
        "needs two CPUs and the fragment ksm or the swap disk or zram; "
    )


def test_what_cannot_be_tried_is_not_what_is_needed() -> None:
    def fails(gone: Collection[str]) -> bool | None:
        return None if "no-uffd" in gone else "no-swap" not in gone

    found, _ = found_by(fails, FOUR)
    assert (names(found.needed), names(found.cannot)) == ({"no-swap"}, {"no-uffd"})
    assert names(found.free) == {"no-thp", "no-ksm"}
    assert sentence(found) == (
        "needs the fragment swap; the fragments thp and ksm do not matter; "
        "cannot be tried without the fragment uffd"
    )


def test_what_is_known_not_to_be_tried_costs_no_trial() -> None:
    blocked = Change("no-uffd", FRAGMENTS, "uffd", "without", blocked="its workload needs it")
    found, steps = found_by(needing("no-thp"), (blocked, THP, KSM))
    assert names(found.cannot) == {"no-uffd"}
    assert all("no-uffd" not in step for step in steps)
    # Of symbols where their fragment matters, and no others.
    symbols = tuple(replace(one, blocked="its workload needs it") for one in SYMBOLS_OF_THP[:1])
    others = tuple(replace(one, of=blocked.name) for one in symbols)
    found, _ = found_by(needing("no-thp", "no-B"), (blocked, THP, *symbols, *SYMBOLS_OF_THP[1:]))
    assert names(found.cannot) == {"no-uffd", "no-A"}
    found, _ = found_by(needing("no-thp"), (blocked, THP, *others))
    assert names(found.cannot) == {"no-uffd"}


def test_what_takes_away_a_thing_that_is_needed_does_not_spoil_its_group() -> None:
    swap = replace(SWAP, includes=("no-swap-disk", "no-zram"))
    found, steps = found_by(needing("no-swap-disk", "no-swap"), (CPUS, DISK, UFFD, THP, swap, KSM))
    assert names(found.needed) == {"no-swap-disk", "no-swap"}
    assert steps[-2:] == [
        frozenset({"1-cpu", "no-uffd", "no-thp", "no-ksm"}), frozenset({"no-swap"}),
    ]  # fmt: skip
    # Where the disk does not matter it is one of the group.
    _, steps = found_by(lambda _: True, (CPUS, DISK, UFFD, THP, swap, KSM))
    assert len(steps) == 2


def test_a_fragment_that_is_to_be_tried_alone_is() -> None:
    alone = replace(UFFD, alone=True)
    found, steps = found_by(lambda gone: None if "no-uffd" in gone else True, (alone, THP, KSM))
    assert steps == [frozenset({"no-thp", "no-ksm"}), frozenset({"no-uffd"})]
    assert (names(found.free), names(found.cannot)) == ({"no-thp", "no-ksm"}, {"no-uffd"})


def test_changes_that_cannot_be_made_together_are_still_told_one_by_one() -> None:
    found, _ = found_by(lambda gone: None if len(gone) > 1 else True, (CPUS, DISK))
    assert names(found.free) == {"1-cpu", "no-swap-disk"}
    assert (found.either, found.cannot) == ((), ())


def test_the_symbols_of_what_matters_are_searched_and_no_others() -> None:
    guilty = {"no-thp", "no-B"}
    others = tuple(Change(f"no-{name}", SYMBOLS, name, "", of=KSM.name) for name in ("KSM", "KSM2"))
    found, steps = found_by(lambda gone: not guilty & set(gone), (*FOUR, *SYMBOLS_OF_THP, *others))
    assert names(found.needed) == guilty
    assert names(found.free) == {"no-uffd", "no-swap", "no-ksm", "no-A", "no-C"}
    assert not any(names(others) & step for step in steps)
    assert names(SYMBOLS_OF_THP) not in [set(step) for step in steps]
    assert sentence(found).startswith("needs the fragment thp and the symbol B; ")


def test_the_one_symbol_of_a_fragment_takes_no_trial() -> None:
    one = Change("no-KSM", SYMBOLS, "KSM", "", of=KSM.name)
    found, steps = found_by(needing("no-ksm", "no-KSM"), (KSM, one))
    assert names(found.needed) == {"no-ksm", "no-KSM"}
    assert steps == [frozenset({"no-ksm"})]


def test_architectures_have_words_of_their_own() -> None:
    def said(fails: bool | None) -> str:
        return sentence(found_by(lambda _: fails, (OTHER,))[0]).rpartition("; ")[2]

    assert said(True) == "on both architectures"
    assert said(False) == "not on arm64"
    assert said(None) == "cannot be tried on arm64"


def test_what_neither_more_nor_less_of_matters_is_told_once() -> None:
    half, twice = (
        Change(name, SHAPE, f"{name} memory", name, alone=True, about="the amount of memory")
        for name in ("half", "twice")
    )
    found, _ = found_by(needing("1-cpu"), (CPUS, half, twice))
    assert sentence(found) == "needs two CPUs; the amount of memory does not matter"
    found, _ = found_by(needing("twice"), (CPUS, half, twice))
    assert sentence(found) == "needs twice memory; two CPUs and half memory do not matter"


def test_changes_that_are_made_together_are_told_in_words() -> None:
    assert in_words([]) == "as it was"
    assert in_words([CPUS, DISK, THP]) == "one CPU, without the swap disk, without the fragment thp"
    assert in_words([CPUS, *FOUR]) == "one CPU, without the fragments uffd, thp, swap and ksm"


def test_every_small_case_is_told_rightly() -> None:
    """All failures that need all of some sets of which one thing each is enough."""
    changes = (CPUS, DISK, ZRAM, THP, KSM)
    every = [one.name for one in changes]
    for needed in itertools.chain.from_iterable(
        itertools.combinations(every, n) for n in (0, 1, 2)
    ):
        left = [name for name in every if name not in needed]
        for pair in [(), *itertools.combinations(left, 2)]:
            found, steps = found_by(
                lambda gone, a=needed, b=pair: (
                    not set(a) & set(gone) and not (b and set(b) <= set(gone))
                ),
                changes,
            )
            assert names(found.needed) == set(needed)
            assert [names(group) for group in found.either] == ([set(pair)] if pair else [])
            assert names(found.free) == set(every) - set(needed) - set(pair)
            assert len(steps) <= 16


# ---------------------------------------------------------------- what trials show


def test_a_steady_case_takes_one_trial_each_way() -> None:
    assert effect_of([True], [True], steady=True) is Effect.STILL
    assert effect_of([True], [False], steady=True) is Effect.GONE
    assert effect_of([True], [None], steady=True) is Effect.CANNOT
    assert effect_of([True], [], steady=True) is None


def test_a_flaky_one_is_not_gone_before_that_is_decided() -> None:
    assert effect_of([True, True], [False, False]) is None
    assert effect_of([True] * 8, [False] * 8) is Effect.GONE
    assert effect_of([True, False], [False, True]) is Effect.STILL
    # Once in eight trials, where it was always: less often.
    assert effect_of([True] * 12, [False] * 11 + [True]) is Effect.RARER


def test_trials_that_tell_nothing_do_not_count_for_ever() -> None:
    assert effect_of([True], [None]) is Effect.CANNOT
    assert effect_of([True] * 3, [False, None]) is None
    assert effect_of([True] * 3, [False, None, None, None]) is Effect.CANNOT


def test_what_fails_less_often_is_told_so() -> None:
    effects = {frozenset({"1-cpu"}): Effect.RARER}
    assert sentence(search((CPUS,), effects)) == (
        "needs nothing of what was tried; fails less often without two CPUs"
    )


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.4])
def test_flaky_ones_are_rarely_told_wrongly(rate: float) -> None:
    wrong, median = simulated(rate, 40)
    assert wrong <= 2
    assert median < 200
