# SPDX-License-Identifier: GPL-2.0-only
"""One line of TAP: what is a result, its number, its name, what its directive makes of it."""

from __future__ import annotations

import pytest

from orchestrator.evidence import tapline
from orchestrator.evidence.tapline import Plan, Result
from orchestrator.model.names import Verdict

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR


def read(line: str) -> Result:
    found = tapline.result(line)
    assert found is not None, line
    return found


@pytest.mark.parametrize(
    ("line", "number", "name"),
    [
        ("ok 1", 1, ""),
        ("ok 1 a b", 1, "a b"),
        ("ok 1 - a", 1, "a"),
        ("ok 1  -  a", 1, "a"),
        ("ok 1- a", 1, "a"),
        ("ok 1-a", 1, "a"),
        ("ok 1 -a", 1, "-a"),
        ("ok 1 - - a", 1, "- a"),
        ("ok 1 -", 1, ""),
        ("ok\t1\ta", 1, "a"),
        ("ok 007 a", 7, "a"),
        ("ok 0 a", 0, "a"),
        ("ok 99999999999999999999 a", 10**9, "a"),
        ("ok - a", None, "a"),
        ("ok # SKIP a", None, "a"),
        ("not ok 3 a", 3, "a"),
        ("ok 1 a \\# b", 1, "a # b"),
        ("ok 1 a \\\\ b", 1, "a \\ b"),
        ("ok 1 a \\n b", 1, "a \\n b"),
        ("ok 1 case #3", 1, "case #3"),
        ("ok 1 no access: #PF(0x10)", 1, "no access: #PF(0x10)"),
        ("ok 1 C# 7", 1, "C# 7"),
        ("ok 1 a # rcode=0", 1, "a"),
        ("ok 1 a #", 1, "a"),
        ("ok 1 a #  two blanks as kselftest has them", 1, "a"),
    ],
)
def test_number_and_name(line: str, number: int | None, name: str) -> None:
    found = read(line)
    assert (found.number, found.name, found.bare) == (number, name, False)


@pytest.mark.parametrize("line", ["ok", "ok then", "not ok", "not ok 5-6 pages", "ok -1 pages"])
def test_what_may_be_prose_is_told(line: str) -> None:
    assert read(line).bare


@pytest.mark.parametrize(
    "line", ["okay", "ok, 1 a", "ok: a", "ok1 a", "OK 1 a", "nok 1", "not  ok 1"]
)
def test_no_result(line: str) -> None:
    assert tapline.result(line) is None


@pytest.mark.parametrize(
    ("rest", "verdict", "name", "reason"),
    [
        ("ok 1 a # SKIP why", S, "a", "why"),
        ("ok 1 a #SKIP why", S, "a", "why"),
        ("ok 1 a#SKIP why", S, "a", "why"),
        ("ok 1 a# skip why", S, "a", "why"),
        ("ok 1 a # SKIP: why", S, "a", "why"),
        ("ok 1 a # sKiPpEd why", S, "a", "why"),
        ("ok 1 a # SKIP", S, "a", "skipped without a reason"),
        ("ok 1 case #2 # SKIP why", S, "case #2", "why"),
        ("ok 1 a # SKIP why # really", S, "a", "why # really"),
        ("ok 1 a # SKIP why # TODO later", S, "a", "why # TODO later"),
        ("ok 1 a # time=3ms # SKIP why", S, "a", "why"),
        ("not ok 1 a # exit=4 # SKIP", S, "a", "skipped without a reason"),
        ("ok 1 a \\# SKIP why", P, "a # SKIP why", ""),
        ("ok 1 a \\\\# SKIP why", S, "a \\", "why"),
        ("ok 1 a \\\\\\# SKIP why", P, "a \\# SKIP why", ""),
        ("ok 1 a # SKIPS", S, "a", "skipped without a reason"),
        ("ok 1 a # TODOS", P, "a", ""),
        ("not ok 1 a # TODOS", F, "a", "TODOS"),
        ("not ok 1 a # todo", S, "a", "known not to work"),
        ("not ok 1 a # xfail why", P, "a", "failed as its author expects: why"),
        ("ok 1 a # XPASS why", P, "a", ""),
        ("not ok 1 a # TIMEOUT 45 seconds", F, "a", "timed out: 45 seconds"),
        ("ok 1 a # time # TIMEOUT", F, "a", "timed out"),
        ("ok 1 a # timeout 45", P, "a", ""),
        ("not ok 1 a # error code 5", F, "a", "error code 5"),
        ("not ok 1 a # Create NS failed", F, "a", "Create NS failed"),
        # A remark, or a link, excuses no failure.
        ("not ok 1 a # see # TODO", F, "a", "see # TODO"),
        ("not ok 1 http://a/#todo", F, "http://a/#todo", ""),
        ("ok 1 a # see # TODO later", P, "a", ""),
    ],
)
def test_directive(rest: str, verdict: Verdict, name: str, reason: str) -> None:
    found = read(rest)
    assert (found.verdict, found.name, found.reason) == (verdict, name, reason)


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("ok 3 # SKIP map", S),
        ("ok 3 # XFAIL map", P),
        ("not ok 3 # error map", F),
        ("not ok 3 # ERROR map", E),
        ("ok 3 map", P),
    ],
)
def test_kselftest_puts_the_name_behind_the_directive(line: str, verdict: Verdict) -> None:
    found = read(line)
    assert (found.verdict, found.name) == (verdict, "map")


def test_a_reason_that_is_none_of_kselftests_is_no_name() -> None:
    assert read("not ok 3 # TIMEOUT 45 seconds").name == ""
    assert read("not ok 3 # TODO mend it").name == ""
    assert read("not ok 3 # exit=1").name == ""


def test_only_a_todo_excuses() -> None:
    assert read("not ok 1 a # TODO b").known
    assert not read("ok 1 a # SKIP b").known
    assert not read("ok 1 a # XFAIL b").known


@pytest.mark.parametrize(
    "line",
    [
        "TAP version 12", "TAP version 13", "TAP version 14 ", "KTAP version 1",
        "tap version 13", "TAP Version 13", "TAP version 1.3",
    ],
)  # fmt: skip
def test_version(line: str) -> None:
    assert tapline.is_version(line)


@pytest.mark.parametrize(
    "line", ["TAP version", "TAP version 13 is read", "KKTAP version 1", "TAP 13"]
)
def test_no_version(line: str) -> None:
    assert not tapline.is_version(line)


@pytest.mark.parametrize(
    ("line", "plan"),
    [
        ("1..3", Plan(3)),
        ("1..003", Plan(3)),
        ("1..3 # about", Plan(3)),
        ("1..99999999999999999999", Plan(10**9)),
        ("1..0", Plan(0, "the plan has no cases")),
        ("1..0 # SKIP no swap", Plan(0, "no swap")),
        ("1..0 # skipped: no swap", Plan(0, "no swap")),
        ("1..0 #Skip", Plan(0, "the plan has no cases")),
        ("1..0 # no swap", Plan(0, "no swap")),
        ("1..", None),
        ("1..3 pages", None),
        ("2..3", None),
        ("1...3", None),
        ("1..-1", None),
        ("1..3.5", None),
    ],
)
def test_plan(line: str, plan: Plan | None) -> None:
    assert tapline.plan(line) == plan


def test_bail_out() -> None:
    assert tapline.bail_out("Bail out! no memory") == "no memory"
    assert tapline.bail_out("Bail out!") == "no reason given"
    assert tapline.bail_out("bail out!  no memory") == "no memory"
    assert tapline.bail_out("Bail out") is None
