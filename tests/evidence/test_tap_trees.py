# SPDX-License-Identifier: GPL-2.0-only
"""Any tree of tests, printed in any style, reads as itself; with a line less it never reads so."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evidence import ktap
from orchestrator.model.names import Verdict

P, F, S = Verdict.PASS, Verdict.FAIL, Verdict.SKIP


@dataclass(frozen=True)
class Tree:
    """A test with those below it."""

    verdict: Verdict
    below: tuple[Tree, ...] = ()

    @property
    def comes_to(self) -> Verdict:
        """What a program prints for it, and the reader makes of it."""
        found = [tree.comes_to for tree in self.below] or [self.verdict]
        return F if F in found else P if P in found else S


LEAVES = st.sampled_from([Tree(P), Tree(F), Tree(S)])
TREES = st.recursive(
    LEAVES,
    lambda below: st.lists(below, min_size=1, max_size=3).map(lambda b: Tree(P, tuple(b))),
    max_leaves=12,
)
SUITES = st.lists(TREES, min_size=1, max_size=4).map(tuple)


def expected(suite: tuple[Tree, ...], above: str = "") -> list[tuple[str, Verdict]]:
    found = []
    for number, tree in enumerate(suite, 1):
        name = f"{above}t{number}"
        found += expected(tree.below, f"{name}.")
        found.append((name, tree.comes_to))
    return found


def result(number: int, tree: Tree, brace: str = "") -> str:
    word = "not ok" if tree.comes_to is F else "ok"
    return f"{word} {number} - t{number}{brace}" + (" # SKIP x" if tree.comes_to is S else "")


def kunit(suite: tuple[Tree, ...], name: str = "", indent: str = "    ") -> list[str]:
    lines = [f"# Subtest: {name}"] if name else ["KTAP version 1"]
    lines.append(f"1..{len(suite)}")
    for number, tree in enumerate(suite, 1):
        if tree.below:
            lines += [indent + line for line in kunit(tree.below, f"t{number}", indent)]
        lines += [f"# about t{number}", result(number, tree)]
    return lines


def tabs(suite: tuple[Tree, ...]) -> list[str]:
    return kunit(suite, indent="\t")


def dmesg(suite: tuple[Tree, ...]) -> list[str]:
    return [f"[    0.{at:06}][    T1] {line}" for at, line in enumerate(tabs(suite))]


def spec(suite: tuple[Tree, ...], indent: str = "  ") -> list[str]:
    lines = ["KTAP version 1", f"1..{len(suite)}"]
    for number, tree in enumerate(suite, 1):
        if tree.below:
            lines += [indent + line for line in spec(tree.below, indent)]
        lines.append(result(number, tree))
    return lines


def hashes(suite: tuple[Tree, ...]) -> list[str]:
    return spec(suite, "# ")


def tap14(suite: tuple[Tree, ...], nested: bool = False) -> list[str]:
    lines = [] if nested else ["TAP version 14"]
    for number, tree in enumerate(suite, 1):
        if tree.below:
            lines.append(f"# Subtest: t{number}")
            lines += ["    " + line for line in tap14(tree.below, nested=True)]
        lines += [result(number, tree), "  ---", "  log: not ok 9", "  ..."]
    return [*lines, f"1..{len(suite)}"]


def braces(suite: tuple[Tree, ...], nested: bool = False) -> list[str]:
    lines = [] if nested else ["TAP version 13"]
    for number, tree in enumerate(suite, 1):
        lines.append(result(number, tree, " {" if tree.below else ""))
        if tree.below:
            lines += ["    " + line for line in braces(tree.below, nested=True)] + ["}"]
    return [*lines, f"1..{len(suite)}"]


Style = Callable[[tuple[Tree, ...]], list[str]]
STYLES: list[Style] = [kunit, tabs, dmesg, spec, hashes, tap14, braces]


@pytest.mark.parametrize("style", STYLES)
@given(suite=SUITES)
def test_every_tree_reads_as_itself(style: Style, suite: tuple[Tree, ...]) -> None:
    report = ktap.parse("".join(f"{line}\n" for line in style(suite)))
    assert [(c.name, c.verdict) for c in report.cases] == expected(suite)
    assert report.problems == ()


@pytest.mark.parametrize("style", STYLES)
@given(suite=SUITES, data=st.data())
def test_a_result_less_is_never_whole(
    style: Style, suite: tuple[Tree, ...], data: st.DataObject
) -> None:
    lines = style(suite)
    results = [at for at, line in enumerate(lines) if "ok " in line and " - t" in line]
    gone = data.draw(st.sampled_from(results))
    assert ktap.parse("".join(f"{line}\n" for line in lines[:gone] + lines[gone + 1 :])).problems


@pytest.mark.parametrize("style", [kunit, tabs, dmesg, spec, hashes, tap14])
@given(suite=SUITES, data=st.data())
def test_a_cut_anywhere_is_told_and_makes_up_no_case(
    style: Style, suite: tuple[Tree, ...], data: st.DataObject
) -> None:
    text = "".join(f"{line}\n" for line in style(suite))
    last = text.rindex("1.." if style is tap14 else "ok ")
    report = ktap.parse(text[: data.draw(st.integers(len(style(suite)[0]), last))], whole=False)
    assert report.problems
    names = {name for name, _ in expected(suite)}
    assert all(
        re.fullmatch(r"t\d|a subtest", part) for c in report.cases for part in c.name.split(".")
    )
    if style not in (spec, hashes):  # nothing names a subtest before its parent's result there
        assert {case.name for case in report.cases} <= names


@given(suite=SUITES, data=st.data())
def test_a_record_anywhere_changes_nothing(suite: tuple[Tree, ...], data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in kunit(suite))
    at = data.draw(st.integers(text.index("\n"), len(text)))
    begun = text[:at].endswith("\n")
    record = "[   12.345678][   T77] not ok 1 record\n"
    report = ktap.parse(text[:at] + record + text[at:])
    assert [(c.name, c.verdict) for c in report.cases] == expected(suite), begun
    assert report.problems == ()
