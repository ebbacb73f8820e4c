# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evidence import ktap
from orchestrator.model.evidence import KtapReport
from orchestrator.model.names import Verdict

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR


def outcome(report: KtapReport) -> list[tuple[str, Verdict]]:
    return [(c.name, c.verdict) for c in report.cases]


def test_plain() -> None:
    report = ktap.parse("KTAP version 1\n1..2\nok 1 basic\nnot ok 2 holes\n")
    assert outcome(report) == [("basic", P), ("holes", F)]
    assert report.planned == 2
    assert report.problems == ()


def test_tap_13_with_dashes_and_crlf() -> None:
    report = ktap.parse("TAP version 13\r\n1..2\r\nok 1 - basic\r\nok - holes\r\n")
    assert outcome(report) == [("basic", P), ("holes", P)]
    assert report.problems == ()


@pytest.mark.parametrize(
    ("line", "verdict", "reason"),
    [
        ("ok 1 a # SKIP no swap", S, "no swap"),
        ("not ok 1 a # SKIP no swap", S, "no swap"),
        ("ok 1 a # skip", S, "skipped without a reason"),
        ("ok 1 a # Skipped: no swap", S, "no swap"),
        ("ok 1 a # XFAIL known", P, "failed as its author expects: known"),
        ("not ok 1 a # TODO later", S, "known not to work: later"),
        ("not ok 1 a # TIMEOUT 45 seconds", F, "timed out: 45 seconds"),
        ("ok 1 a # TIMEOUT", F, "timed out"),
        ("not ok 1 a # ERROR no memory", E, "no memory"),
        ("ok 1 a # ERROR", E, "the test reports an error of its own"),
        ("not ok 1 a # exit=1", F, "exit=1"),
        ("not ok 1 a # exit=4 SKIP no", S, "no"),
        ("not ok 1 a # error code 5", F, "error code 5"),
        ("ok 1 a # took 3 ms", P, ""),
    ],
)
def test_directives(line: str, verdict: Verdict, reason: str) -> None:
    report = ktap.parse(f"KTAP version 1\n1..1\n{line}\n")
    (case,) = report.cases
    assert (case.verdict, case.reason) == (verdict, reason)
    assert case.name == "a"
    assert report.problems == ()


@pytest.mark.parametrize("indent", ["  ", "    "])
def test_nesting(indent: str) -> None:
    inner = ["KTAP version 1", "1..2", "ok 1 x", "not ok 2 y"]
    text = "KTAP version 1\n1..2\n" + "".join(f"{indent}{line}\n" for line in inner)
    report = ktap.parse(text + "ok 1 parent\nok 2 other\n")
    assert outcome(report) == [("parent.x", P), ("parent.y", F), ("parent", F), ("other", P)]
    assert report.cases[2].reason == "its subtest y failed"
    assert report.problems == ()


def test_three_levels_and_subtest_names() -> None:
    text = """KTAP version 1
1..1
    # Subtest: suite
    1..1
        # Subtest: inner
        1..1
        ok 1 - deep
    ok 1 - inner
ok 1 - suite
"""
    report = ktap.parse(text)
    assert outcome(report) == [("suite.inner.deep", P), ("suite.inner", P), ("suite", P)]
    assert report.problems == ()


def test_kselftest_runner() -> None:
    text = """TAP version 13
1..2
# timeout set to 45
# selftests: mm: uffd-stress
# TAP version 13
# 1..3
# # what it says about itself
# ok 1 anon
# ok 2 shmem # SKIP no shmem
# not ok 3 hugetlb
# # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
not ok 1 selftests: mm: uffd-stress # exit=1
# selftests: mm: mremap
# ok 5 pages were seen, which is no result line
ok 2 selftests: mm: mremap
"""
    report = ktap.parse(text)
    name = "selftests: mm: uffd-stress"
    assert outcome(report) == [
        (f"{name}.anon", P), (f"{name}.shmem", S), (f"{name}.hugetlb", F), (name, F),
        ("selftests: mm: mremap", P),
    ]  # fmt: skip
    assert report.cases[0].diagnostics == ("what it says about itself",)
    assert report.problems == ()


def test_all_children_skipped() -> None:
    report = ktap.parse(
        "KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 x # SKIP no\nok 1 p\n"
    )
    assert outcome(report) == [("p.x", S), ("p", S)]


def test_error_child_makes_an_error() -> None:
    report = ktap.parse("1..1\n  KTAP version 1\n  1..1\n  not ok 1 x # ERROR no\nok 1 p\n")
    assert outcome(report)[-1] == ("p", E)


def test_skip_all() -> None:
    report = ktap.parse("KTAP version 1\n1..0 # SKIP no move ioctl\n")
    assert report.skip_all == "no move ioctl"
    assert report.cases == ()
    assert report.problems == ()


def test_diagnostics_belong_to_the_next_result_and_the_last_ones_to_the_last() -> None:
    text = "1..2\n# about a\nnot ok 1 a\n# about b\nok 2 b\n# LEDGER step=x\n"
    report = ktap.parse(text)
    assert report.cases[0].diagnostics == ("about a",)
    assert report.cases[1].diagnostics == ("about b", "LEDGER step=x")


def test_yaml_block_is_no_output() -> None:
    text = "TAP version 13\n1..2\nnot ok 1 a\n  ---\n  message: ok 7 not a result\n  ...\nok 2 b\n"
    report = ktap.parse(text)
    assert outcome(report) == [("a", F), ("b", P)]
    assert report.problems == ()


@pytest.mark.parametrize(
    "block",
    [
        "  ---\n  log: |\n    ...\n    not ok 9 text of a log\n  ...\n",
        "  ---\n  ...\n",
        "  ---\n\n  a: b\n\n  ...\n",
        "  ---\n  ---\n  a: b\n  ...\n",
        "    ---\n    1..7\n    TAP version 13\n    Bail out!\n    ...\n",
        "  ---\n  a: b\n",
    ],
)
def test_what_a_yaml_block_holds(block: str) -> None:
    report = ktap.parse(f"TAP version 13\n1..2\nok 1 a\n{block}ok 2 b\n")
    assert outcome(report) == [("a", P), ("b", P)]
    assert report.problems == ()


def test_yaml_in_a_subtest() -> None:
    inner = "    1..2\n    not ok 1 a\n      ---\n        not ok 7 b\n      ...\n    ok 2 c\n"
    report = ktap.parse(f"1..1\n    # Subtest: p\n{inner}not ok 1 p\n")
    assert outcome(report) == [("p.a", F), ("p.c", P), ("p", F)]
    assert report.problems == ()


def test_a_line_of_dashes_hides_no_subtest() -> None:
    text = "1..2\nok 1 a\n# said\n  ---\n  KTAP version 1\n  1..1\n  not ok 1 x\nok 2 p\n"
    assert outcome(ktap.parse(text)) == [("a", P), ("p.x", F), ("p", F)]


def test_a_yaml_block_without_end_that_swallows_results_is_told() -> None:
    text = "1..2\nok 1 a\n  ---\n  KTAP version 1\n  1..1\n  not ok 1 x\nok 2 p\n"
    assert ktap.parse(text).problems == ("a YAML block that does not end has lines of TAP in it",)
    assert any("YAML" in p for p in ktap.parse(text.removesuffix("ok 2 p\n")).problems)


@pytest.mark.parametrize(
    "line", ["Bail out! no memory", "  Bail out! no memory", "bail out! no memory"]
)
def test_bailing_out(line: str) -> None:
    report = ktap.parse(f"1..2\nok 1 a\n{line}\nBail out! again\nnot ok 2 b\n")
    assert report.bailed_out == "no memory"
    assert report.problems == ("the test bailed out: no memory",)
    # What it says afterwards is read: a fail is not to be lost.
    assert outcome(report) == [("a", P), ("b", F)]


def test_order_does_not_matter_as_long_as_none_is_missing() -> None:
    report = ktap.parse("1..3\nok 2 b\nok 1 a\nok 3 c\n")
    assert report.problems == ()


def test_diagnostics_alone_are_no_stream() -> None:
    report = ktap.parse("# a\n# b\n# ok so far\n")
    assert report == KtapReport((), None)


def test_plan_at_the_end_and_garbage_between() -> None:
    text = "hello\nok 1 a\n\x00\x1b[31mwarning\nokay then\nok 2 b\nnot okay\n1..2\nbye\n"
    report = ktap.parse(text)
    assert outcome(report) == [("a", P), ("b", P)]
    assert report.problems == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1..3\nok 1 a\nok 2 b\n", "3 cases planned, 2 seen"),
        ("1..1\nok 1 a\nok 2 b\n", "1 cases planned, 2 seen"),
        ("ok 1 a\n", "no plan, 1 result lines"),
        ("KTAP version 1\n", "no plan, 0 result lines"),
        ("1..2\nok 1 a\nok 1 b\n", "case number 1 appears 2 times"),
        ("1..1\nok 9 a\n", "case number 9 is outside the plan"),
        ("1..2\nok 1 a\nBail out! no memory\n", "the test bailed out: no memory"),
        ("1..1\n1..2\nok 1 a\nok 2 b\n", "two plans: 1..1 and 1..2"),
        ("1..1\nok 1 a\n1..1\n", "the plan 1..1 stands there twice"),
        ("1..0 # SKIP x\nok 1 a\n", "0 cases planned, 1 seen"),
        ("1..3\nok 1 a\nok 3 c\n", "3 cases planned, 2 seen"),
        ("1..1\nok 0 a\n", "case number 0 is outside the plan"),
        ("1..1\nok 18446744073709551616 a\n", "case number 1000000000 is outside the plan"),
        ("1..2\nok 1 a\nok 01 b\n", "case number 1 appears 2 times"),
        ("ok 1 a\nTAP version 13\n1..1\n", "a second version line: two streams in one"),
        ("1..1\nTAP version 13\nok 1 a\n", "a second version line: two streams in one"),
        (
            "KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n",
            "a second version line: two streams in one",
        ),
        (
            "1..1\n  KTAP version 1\n  1..2\n  ok 1 x\nok 1 a\n",
            "2 cases planned in a subtest, 1 seen",
        ),
        ("1..1\n  KTAP version 1\n  1..1\n  ok 1 x\n", "a subtest has no result line of its own"),
        ("1..1\n    # Subtest: s\n    1..1\n    ok 1 x\n", "s has no result line of its own"),
    ],
)
def test_incomplete(text: str, problem: str) -> None:
    assert problem in ktap.parse(text).problems


def test_every_cut_of_a_good_stream_is_noticed() -> None:
    text = (
        "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 x\n  ok 2 y\nok 1 p\n# d\nok 2 q\n"
    )
    lines = text.split("\n")[:-1]
    assert ktap.parse(text).problems == ()
    for n in range(1, len(lines)):
        assert ktap.parse("\n".join(lines[:n])).problems, lines[:n]
    assert ktap.parse("").cases == ()


def test_names_are_unique_and_never_empty() -> None:
    report = ktap.parse("1..5\nok 1 a\nok 2 a\nok 3 a (2)\nok 4\nok 5 -\n")
    names = [c.name for c in report.cases]
    assert len(set(names)) == 5
    assert all(names)
    assert names[0] == "a"


def test_deep_nesting_is_refused_not_followed() -> None:
    text = "".join("  " * i + "KTAP version 1\n" for i in range(2000))
    report = ktap.parse(text)
    assert any("nested deeper" in p for p in report.problems)


WORDS = st.sampled_from([
    "ok 1 a\n", "not ok 2 b\n", "1..2\n", "1..0 # SKIP x\n", "KTAP version 1\n", "TAP version 13\n",
    "  ", "    ", "# ", "Bail out!\n", "  ---\n", "  ...\n", "# Subtest: s\n", " # SKIP", "\n",
    "ok 99999999999999999999 x\n", "1..99999999999999999999\n", "not ", "\r", "\x00", "\t",
    "ok\n", "{\n", "}\n", " {", "[   12.345678] x\n", "# selftests: a: b\n", "\x1b[0m", "\\", "#",
])  # fmt: skip


@given(st.lists(WORDS | st.text(max_size=12), max_size=40))
def test_nothing_raises(parts: list[str]) -> None:
    report = ktap.parse("".join(parts))
    names = [c.name for c in report.cases]
    assert len(set(names)) == len(names)
    assert all(names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "ok 1 " + "x" * 5_000_000,
        "ok 1 " + "# " * 2_000_000,
        "  " * 2_000_000 + "ok 1",
        "1..100000\n" + "".join(f"ok {i} same\n" for i in range(1, 100_001)),
        "1..9\n" + "    ok 1 x\nok 1 y\n" * 20_000,
        "".join("  " * (i % 20) + f"ok {i} n\n" for i in range(60_000)),
        "# d\n" * 200_000,
        "1..1\nok 1 a\n  ---\n" + "  x\n" * 200_000,
        "x[   12.345678] y\n" * 200_000,
        "not\n" * 200_000,
        "ok 1 " + "#skip" * 400_000,
        "ok 1 a {\n}\n" * 50_000,
        "ok\nok 1\n" * 50_000,
        "# TAP version 13\n# ok 1 a\nok 1 b\n" * 30_000,
        "# " * 2_000_000 + "TAP version 13",
    ],
    ids=[
        "line", "hashes", "spaces", "same-name", "children", "sawtooth", "notes", "yaml",
        "records", "not", "skip", "braces", "bare", "behind", "behind-all",
    ],
)  # fmt: skip
def test_linear_time(text: str) -> None:
    start = time.process_time()
    ktap.parse(text)
    assert time.process_time() - start < 15
