# SPDX-License-Identifier: GPL-2.0-only
"""Where a check failed, and whether the ledger says the same."""

from __future__ import annotations

import pytest

from orchestrator.judge.assertions import Assertion, accounted_by, assertions, ends
from orchestrator.model.evidence import LedgerStep


@pytest.mark.parametrize(
    ("line", "place", "said"),
    [
        ("rss.c:172: after the move: off", "rss.c:172", "after the move: off"),
        ("probe.py:9: got 1, expected 2", "probe.py:9", "got 1, expected 2"),
        ("# mm/uffd-unit-tests.c:98:move:Expected 0 (0) == ret (-1)", "uffd-unit-tests.c:98",
         "move:Expected 0 (0) == ret (-1)"),
        ("a.c:1", "a.c:1", ""),
    ],
)  # fmt: skip
def test_places(line: str, place: str, said: str) -> None:
    assert assertions(line) == (Assertion(place, said),)


@pytest.mark.parametrize(
    "line", ["", "1 of 4 threads faulted", "see mm/a.c:12", "10.0.2.15:22: refused", "a.c: no line"]
)
def test_no_places(line: str) -> None:
    assert assertions(line) == ()


def test_a_parent_repeats_its_childs_failure() -> None:
    parent = "child.c:70: child 93: got wait status 0x100, expected exit status 0"
    assert [a.place for a in assertions(f"rss.c:172: off\n{parent}")] == ["rss.c:172"]
    assert [a.place for a in assertions(parent)] == ["child.c:70"]
    killed = parent.replace("0x100", "0x9")
    assert len(assertions(f"rss.c:172: off\n{killed}")) == 2


def test_kinds_leave_numbers_out() -> None:
    one = Assertion("a.c:1", "got 0x40 pages, expected -3 (EAGAIN)")
    assert one.kind == "got N pages, expected -N (EAGAIN)"


LEDGER = (
    LedgerStep("before", 1, 50, 50, 128, 128, 0),
    LedgerStep("moved", 1, 178, 50, 0, 128, 0),
    LedgerStep("moved", 2, 60, 60, 0, 0, 0),
    LedgerStep("again", 1, 306, 50, 0, 128, 0),
)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("RssAnon: got 178 pages, expected 50 by page walk (t", ("RssAnon", 1)),
        ("the child: VmSwap: got 0 pages, expected 128 by page walk (t", ("VmSwap", -1)),
        ("RssAnon: got 178 pages, expected 51 by page walk (t", None),
        ("RssAnon: got 60 pages, expected 50 by page walk (t", None),
        ("VmSwap: got 178 pages, expected 50 by page walk (t", None),
        # Against an earlier reading: what it drifted by since then, or since the beginning.
        ("RssAnon: got 306 pages, expected 178 (t", ("RssAnon", 1)),
        ("RssAnon: got 306 pages, expected 50 (t", ("RssAnon", 1)),
        ("RssAnon: got 306 pages, expected 177 (t", None),
        ("RssAnon: got 60 pages, expected 50 (t", None),
        ("walk_anon: got 178, expected 50", None),
        ("", None),
    ],
)
def test_numbers_decide(said: str, found: tuple[str, int] | None) -> None:
    assert accounted_by(said, LEDGER) == found


def test_what_is_within_the_tolerance_accounts_for_nothing() -> None:
    near = (LedgerStep("s", 1, 53, 50, 0, 0, 3),)
    assert accounted_by("RssAnon: got 53 pages, expected 50 by page walk (t", near) is None


def test_a_child_that_failed_without_a_word_is_told() -> None:
    said = [f"a.c:9: child {n}: got wait status 0x100, expected exit status 0" for n in (7, 8)]
    check = "a.c:3: got 1, expected 2"
    assert [one.said for one in assertions("\n".join([check, said[0]]))] == ["got 1, expected 2"]
    found = assertions("\n".join([check, *said]))
    assert [one.place for one in found] == ["a.c:3", "a.c:9"]


def test_how_a_program_ended_is_a_line_of_its_own() -> None:
    reason = (
        "x.c:1: got 1, expected 2\nended with signal 11 (SIGSEGV)\nx.c:2: exit status 3\na hint"
    )
    assert ends(reason) == ("ended with signal 11 (SIGSEGV)",)


def test_growth_beside_a_steady_drift_is_not_accounted_for() -> None:
    """The counter was one page off before and after: the eleventh page is real."""
    said = "RssAnon: got 11 pages, expected 10 (tolerance 0)"
    after = LedgerStep("b", 1, 11, 10, 0, 0, 0)
    assert accounted_by(said, (LedgerStep("a", 1, 10, 9, 0, 0, 0), after)) is None
    assert accounted_by(said, (LedgerStep("a", 1, 10, 10, 0, 0, 0), after)) == ("RssAnon", 1)
