# SPDX-License-Identifier: GPL-2.0-only
"""Nesting: which results are whose, what a parent comes to, which lines are results at all."""

from __future__ import annotations

import pytest

from orchestrator.evidence import ktap
from orchestrator.model.evidence import KtapReport
from orchestrator.model.names import Verdict

P, F, S = Verdict.PASS, Verdict.FAIL, Verdict.SKIP


def outcome(report: KtapReport) -> list[tuple[str, Verdict]]:
    return [(c.name, c.verdict) for c in report.cases]


@pytest.mark.parametrize(
    "indent", [" ", "  ", "   ", "    ", "     ", "\t", "\t\t", " \t", "        "]
)
def test_any_deeper_indentation_is_a_level(indent: str) -> None:
    inner = ["KTAP version 1", "1..1", "not ok 1 child"]
    text = "KTAP version 1\n1..1\n" + "".join(f"{indent}{line}\n" for line in inner)
    report = ktap.parse(text + "ok 1 parent\n")
    assert outcome(report) == [("parent.child", F), ("parent", F)]
    assert report.problems == ()


def test_a_tab_is_as_deep_as_kunits_four_blanks() -> None:
    text = (
        "KTAP version 1\n1..1\n    KTAP version 1\n\t1..2\n    ok 1 a\n\tnot ok 2 b\nnot ok 1 p\n"
    )
    report = ktap.parse(text)
    assert outcome(report) == [("p.a", P), ("p.b", F), ("p", F)]
    assert report.problems == ()


def test_a_line_between_two_levels_is_not_lost() -> None:
    text = "KTAP version 1\n1..1\n    KTAP version 1\n    1..2\n    ok 1 a\n  not ok 2 b\nok 1 p\n"
    report = ktap.parse(text)
    assert [v for _, v in outcome(report)] == [P, F, F]
    assert report.problems


def test_a_stream_that_is_indented_as_a_whole() -> None:
    lines = [
        "TAP version 14",
        "1..2",
        "\t# Subtest: s",
        "\t1..1",
        "\tok 1 - a",
        "ok 1 - s",
        "ok 2 b",
    ]
    for indent in (" ", "    ", "\t\t"):
        report = ktap.parse("noise\n" + "".join(f"{indent}{line}\n" for line in lines))
        assert outcome(report) == [("s.a", P), ("s", P), ("b", P)]
        assert report.problems == ()
        assert report.planned == 2


# ---------------------------------------------------------------- what a parent comes to


@pytest.mark.parametrize(
    "below", ["KTAP version 1", "KTAP version 1\n  # nothing ran", "# Subtest: p"]
)
def test_a_parent_of_no_results_is_no_skip(below: str) -> None:
    report = ktap.parse(f"KTAP version 1\n1..1\n  {below}\nok 1 p\n")
    assert outcome(report) == [("p", P)]
    (problem,) = report.problems
    assert problem.endswith(", 0 result lines")


@pytest.mark.parametrize(
    ("below", "verdict"),
    [
        ("1..1\n  ok 1 a # SKIP x", S),
        ("1..2\n  ok 1 a # SKIP x\n  ok 2 b # SKIP y", S),
        ("1..2\n  ok 1 a # SKIP x\n  ok 2 b", P),
        ("1..1\n  not ok 1 a # TODO x", P),
        ("1..2\n  not ok 1 a # TODO x\n  ok 2 b # SKIP y", P),
        ("1..1\n  ok 1 a # XFAIL x", P),
        ("1..0", S),
        ("1..0 # SKIP x", S),
        ("1..1\n  not ok 1 a", F),
        ("1..2\n  not ok 1 a\n  ok 2 b # SKIP x", F),
    ],
)
def test_a_parent_follows_its_subtests(below: str, verdict: Verdict) -> None:
    report = ktap.parse(f"KTAP version 1\n1..1\n  KTAP version 1\n  {below}\nok 1 p\n")
    assert outcome(report)[-1] == ("p", verdict)
    assert report.problems == ()


def test_a_parents_own_skip_hides_no_failure_below() -> None:
    text = "1..1\n  KTAP version 1\n  1..1\n  not ok 1 a\nok 1 p # SKIP why\n"
    assert outcome(ktap.parse(text)) == [("p.a", F), ("p", F)]


# ---------------------------------------------------------------- whose


_DEEP = "        1..1\n        ok 1 - a\n    ok 1 - q\n    1..1\n"
_KTAP = """  KTAP version 1
  # Subtest: p
  1..1
    KTAP version 1
    # Subtest: q
    1..1
    ok 1 a
  ok 1 q
"""


@pytest.mark.parametrize(
    "text",
    [
        f"# Subtest: p\n    # Subtest: q\n{_DEEP}",
        f"    # Subtest: p\n        # Subtest: q\n{_DEEP}",
        f"    # Subtest: p\n    # Subtest: q\n{_DEEP}",
        f"# Subtest: p\n        # Subtest: q\n{_DEEP}",
        f"# Subtest: p\n{_DEEP}",
        _DEEP,
        _KTAP,
    ],
    ids=["tap14", "kunit", "mixed", "skipped", "half", "unnamed", "ktap"],
)
def test_where_the_name_of_a_subtest_stands(text: str) -> None:
    report = ktap.parse(f"TAP version 14\n1..1\n{text}ok 1 - p\n")
    assert outcome(report) == [("p.q.a", P), ("p.q", P), ("p", P)]
    assert report.problems == ()


def test_a_nameless_parent_has_its_subtests_name() -> None:
    for text in (
        "# Subtest: p\n    1..1\n    ok 1 - a\n",
        "    # Subtest: p\n    1..1\n    ok 1 a\n",
    ):
        assert outcome(ktap.parse(f"1..1\n{text}ok 1\n")) == [("p.a", P), ("p", P)]


def test_results_do_not_go_to_another_parent() -> None:
    text = "1..2\n    # Subtest: lost\n    1..1\n    not ok 1 a\nok 2 other\n"
    report = ktap.parse(text)
    assert outcome(report) == [("lost.a", F), ("other", P)]
    assert "lost has no result line of its own" in report.problems


def test_perl_repeats_the_word_in_the_parents_name() -> None:
    report = ktap.parse("1..1\n# Subtest: p\n    1..1\n    ok 1 - a\nok 1 - Subtest: p\n")
    assert report.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "ok 1 - p {\n    not ok 1 - a\n    1..1\n}\n",
        "ok 1 - p # time=3ms {\n    1..1\n    not ok 1 - a\n}\n",
        "ok 1 - p { # time=3ms\n    1..1\n    not ok 1 - a\n}\n",
        "ok 1 - p\n  ---\n  x: y\n  ...\n{\n    not ok 1 - a\n    1..1\n}\n",
    ],
)
def test_subtests_in_braces_follow_their_parent(text: str) -> None:
    report = ktap.parse(f"TAP version 13\n1..2\n{text}ok 2 - q\n")
    assert outcome(report) == [("p.a", F), ("p", F), ("q", P)]
    assert report.problems == ()


def test_braces_in_braces_and_empty_ones() -> None:
    inner = "    1..1\n    ok 1 q {\n        1..1\n        ok 1 a\n    }\n"
    report = ktap.parse(f"1..2\nok 1 p {{\n{inner}}}\nok 2 r {{\n}}\n")
    assert outcome(report) == [("p.q.a", P), ("p.q", P), ("p", P), ("r", P)]
    assert report.problems == ()


def test_a_brace_that_opens_nothing() -> None:
    report = ktap.parse("1..3\nok 1 f() {\nok 2 }\n}\n{\nok 3 a\n")
    assert outcome(report) == [("f() {", P), ("}", P), ("a", P)]
    text = "1..2\nok 1 a {\n    # Subtest: b\n    1..1\n    ok 1 c\nok 2 b\n"
    assert outcome(ktap.parse(text)) == [("a {", P), ("b.c", P), ("b", P)]


# ---------------------------------------------------------------- behind hashes


def test_levels_within_a_child_program() -> None:
    text = """TAP version 13
1..2
# selftests: a: one
# KTAP version 1
# 1..1
#   KTAP version 1
#   1..1
#   not ok 1 deep
# # said by the program
# not ok 1 mid
not ok 1 selftests: a: one # exit=1
# selftests: a: two
# TAP version 13
# 1..1
# # TAP version 13
# # 1..1
# # ok 1 inner
# ok 1 outer
ok 2 selftests: a: two
"""
    one, two = "selftests: a: one", "selftests: a: two"
    report = ktap.parse(text)
    assert outcome(report) == [
        (f"{one}.mid.deep", F), (f"{one}.mid", F), (one, F),
        (f"{two}.outer.inner", P), (f"{two}.outer", P), (two, P),
    ]  # fmt: skip
    assert report.cases[1].diagnostics == ("said by the program",)
    assert report.problems == ()


def test_a_plan_behind_the_runners_header_begins_a_child() -> None:
    text = "TAP version 13\n1..1\n# selftests: a: one\n# 1..2\n# ok 1 x\n# not ok 2 y\n"
    report = ktap.parse(text + "not ok 1 selftests: a: one # exit=1\n")
    one = "selftests: a: one"
    assert outcome(report) == [(f"{one}.x", P), (f"{one}.y", F), (one, F)]
    assert report.problems == ()


def test_what_looks_like_a_result_behind_a_hash_is_a_remark() -> None:
    report = ktap.parse("1..1\n# not ok 1 pages\n# 1..4 pages\n# 1..4\nok 1 a\n")
    assert outcome(report) == [("a", P)]
    assert report.problems == ()


# ---------------------------------------------------------------- results without a number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..3\nok\nnot ok\nok c\n", [("case 1", P), ("case 2", F), ("c", P)]),
        ("ok\nnot ok\nok c\n1..3\n", [("case 1", P), ("case 2", F), ("c", P)]),
        ("1..3\nok 1 a\nok\nok 3 c\n", [("a", P), ("case 2", P), ("c", P)]),
        ("TAP version 13\nok\nok 2 b\n", [("case 1", P), ("b", P)]),
        ("TAP version 13\nok\nok\n", [("case 1", P), ("case 2", P)]),
        ("1..2\nok 1 a\nok\nok 3 c\n", [("a", P), ("case 2", P), ("c", P)]),
        # Prose.
        ("1..2\nok then\nok 1 a\nok\nok 2 b\n", [("a", P), ("b", P)]),
        ("KTAP version 1\nok then\n", []),
        ("ok then\nok\n", []),
        ("TAP version 13\nok then\nok 1 a\n", [("a", P)]),
    ],
)
def test_the_plan_tells_results_from_prose(text: str, expected: list[tuple[str, Verdict]]) -> None:
    assert outcome(ktap.parse(text)) == expected


def test_a_not_ok_that_does_not_count_is_told() -> None:
    report = ktap.parse("KTAP version 1\n1..1\nnot ok so far\nok 1 a\n")
    assert outcome(report) == [("a", P)]
    assert report.problems == ("a 'not ok' without a number",)


def test_prose_ends_no_subtest_and_keeps_its_diagnostics() -> None:
    text = "1..1\n  KTAP version 1\n  1..2\n  ok 1 a\nok so far\n# MEASURE x\n  ok 2 b\nok 1 p\n"
    report = ktap.parse(text)
    assert outcome(report) == [("p.a", P), ("p.b", P), ("p", P)]
    assert report.problems == ()
    text = "1..2\nok 1 a\n# about b\nok so far\nok 2 b\n"
    assert ktap.parse(text).cases[1].diagnostics == ("about b",)


def test_a_subtest_without_numbers() -> None:
    text = "1..1\n# Subtest: p\n    1..2\n    ok\n    not ok\nok\n"
    assert outcome(ktap.parse(text)) == [("p.case 1", P), ("p.case 2", F), ("p", F)]
