# SPDX-License-Identifier: GPL-2.0-only
"""Programs that are kept for what they pass: merged over runs, and few enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import HostError, UserError
from orchestrator.model.finds import Kept
from orchestrator.results import corpus, kept
from orchestrator.results.kept import Base

ONE = ("0 mmap at=1 n=2 prot=rw how=private", "0 write at=1 byte=3")
TWO = (*ONE, "0 exit")
THREE = ("0 fork to=1", "1 exit")
NAMES = [corpus.named(lines)[0] for lines in (ONE, TWO, THREE)]


def base(lines: tuple[str, ...], **passes: set[int]) -> Base:
    return Base(corpus.named(lines)[0], lines, {k: frozenset(v) for k, v in passes.items()})


def test_those_are_kept_that_pass_what_none_before_them_did() -> None:
    found = kept.merged((), "a1", [Kept(ONE, frozenset({1, 2})), Kept(TWO, frozenset({2}))])
    assert found == (base(ONE, a1={1, 2}),)
    found = kept.merged(found, "a1", [Kept(TWO, frozenset({2, 5})), Kept(ONE, frozenset({7}))])
    by_name = {one.name: one.passes for one in found}
    assert by_name == {NAMES[0]: {"a1": {1, 2, 7}}, NAMES[1]: {"a1": {2, 5}}}
    # Of another image nothing is known yet.
    (again, _) = kept.merged(found, "b2", [Kept(found[0].steps, frozenset({1}))])
    assert again.passes == {**found[0].passes, "b2": {1}}
    assert kept.passed(found, "a1") == {1, 2, 5, 7}
    assert kept.passed(found, "b2") == frozenset()


def test_they_come_back_as_they_were_written(tmp_path: Path) -> None:
    bases = kept.joined((), [base(ONE, a1={1, 2}, b2={9}), base(THREE)])
    assert kept.read(tmp_path) == ()
    assert kept.write(tmp_path, bases) == 2
    assert kept.read(tmp_path) == bases
    path = tmp_path / "kept" / f"{NAMES[0]}.txt"
    assert path.read_text().splitlines()[:2] == ["# passes a1 1+1", "# passes b2 9"]
    # They are no part of what is carried out first.
    assert corpus.read(tmp_path) == ()
    assert kept.write(tmp_path, [base(TWO)]) == 1
    assert [one.name for one in kept.read(tmp_path)] == [NAMES[1]]
    path.write_text("nonsense\n")
    with pytest.raises(UserError, match="is no step"):
        kept.read(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot write"):
        kept.write(tmp_path / "file", [base(ONE)])


def test_no_more_than_so_many_are_kept() -> None:
    many = [base((f"0 write at=1 byte={n}",), a1={n, 500}) for n in range(150)]
    wide = base(("0 exit",), a1=set(range(100)))
    unknown = base(("1 exit",))
    few = kept.bounded([*many, wide, unknown], 40)
    assert len(few) == 40
    assert wide in few
    assert unknown not in few
    assert len(kept.passed(few, "a1")) == 100 + 39 + 1
    assert kept.bounded(few) == few
    # Those that add nothing go first.
    some = [base(ONE, a1={1}), base(TWO, a1={1, 2}), unknown]
    assert list(kept.bounded(some, 2)) == some[1:]


def test_two_corpora_are_one() -> None:
    both = kept.joined([base(ONE, a1={1})], [base(ONE, a1={2}, b2={3}), base(THREE)])
    assert {one.name: one.passes for one in both} == {
        NAMES[0]: {"a1": {1, 2}, "b2": {3}},
        NAMES[2]: {},
    }


def test_without_which_as_much_is_passed() -> None:
    bases = [base(ONE, a1={1, 2, 3}), base(TWO, a1={3, 4}), base(THREE, a1={4, 5}, b2={1})]
    assert kept.superfluous(bases) == (NAMES[1],)
    # Where nothing is known, steps that are all in another one.
    unknown = base(("0 write at=1 byte=3", "0 exit"))
    assert kept.superfluous([base(TWO, a1={1}), unknown, base(THREE)]) == (unknown.name,)
    assert kept.superfluous([]) == ()
