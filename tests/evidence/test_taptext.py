# SPDX-License-Identifier: GPL-2.0-only
"""What a console adds to a program's output, and what it cuts."""

from __future__ import annotations

import pytest

from orchestrator.evidence import ktap, taptext
from orchestrator.model.evidence import KtapReport
from orchestrator.model.names import Verdict

P, F, S = Verdict.PASS, Verdict.FAIL, Verdict.SKIP


def outcome(report: KtapReport) -> list[tuple[str, Verdict]]:
    return [(c.name, c.verdict) for c in report.cases]


@pytest.mark.parametrize(
    "text",
    [
        "TAP version 13\r\n1..1\r\nnot ok 1 a\r\n",
        "TAP version 13\r\r\n1..1\r\r\nnot ok 1 a\r\r\n",
        "TAP version 13\n1..1\n 50 %\r100 %\rnot ok 1 a\n",
        "\ufeffTAP version 13\n1..1\nnot ok 1 a\n",
        "TAP version 13\n1..1\n\x1b[31mnot ok 1 a\x1b[0m\n",
        "TAP version 13\n1..1\n\x1b[1;31mnot ok\x1b[m 1 a\x1b[K\n",
        "TAP version 13\n1..1\nnot\x00 ok 1 a\x07\n",
        "TAP version 13\n1..1\nnot ok 1 a   \n",
        "TAP version 13\n1..1\nnot ok 1 a",
    ],
)
def test_what_is_no_text_goes(text: str) -> None:
    report = ktap.parse(text)
    assert outcome(report) == [("a", F)]
    assert report.problems == ()


def test_bytes_that_are_no_utf_8_stay_in_their_name() -> None:
    (case,) = ktap.parse(b"1..1\nok 1 a\xffb\n".decode(errors="surrogateescape")).cases
    assert case.name.startswith("a")
    assert case.name.endswith("b")
    assert case.name.encode()


def test_an_escape_sequence_ends_with_its_line() -> None:
    report = ktap.parse("1..2\nok 1 a\n\x1b]0;title\nnot ok 2 b\n\x07\n")
    assert outcome(report) == [("a", P), ("b", F)]


def test_a_long_line_keeps_its_directive() -> None:
    (case,) = ktap.parse(f"1..1\nok 1 {'x' * 100_000} # SKIP why\n").cases
    assert (case.verdict, case.reason) == (S, "why")
    assert len(case.name) <= 4096


STAMPS = [
    "[    0.060000] ",
    "[    0.060000][    T1] ",
    "[12345.678901][   C10] ",
    "<6>[    0.060000] ",
]


@pytest.mark.parametrize("stamp", STAMPS)
def test_tap_in_the_kernel_log(stamp: str) -> None:
    lines = [
        "printk: console enabled", "TAP version 14", "1..2", "\t# Subtest: suite", "\t1..2",
        "\tok 1 - a", "FS-Cache: loaded", "*** VALIDATE ***", "\tnot ok 2 - b", "not ok 1 - suite",
        "ok 2 - other", "Kernel panic - not syncing: VFS",
    ]  # fmt: skip
    report = ktap.parse("".join(f"{stamp}{line}\n" for line in lines))
    assert outcome(report) == [("suite.a", P), ("suite.b", F), ("suite", F), ("other", P)]
    assert report.problems == ()


def test_two_records_in_a_line_of_the_kernel_log() -> None:
    lines = ["TAP version 14", "1..2", "ok 1 - a[    0.060001][    T2] ok 7 is said", "ok 2 - b"]
    report = ktap.parse("".join(f"[    0.060000][    T1] {line}\n" for line in lines))
    assert [c.name for c in report.cases][:2] == ["a", "is said"]  # two writers, and it is told
    assert "case number 7 is outside the plan" in report.problems


def test_a_panic_in_the_midst_leaves_the_rest_missing() -> None:
    lines = [
        "TAP version 14",
        "1..2",
        "\t# Subtest: s",
        "\t1..2",
        "\tok 1 - a",
        "\tKernel panic - x",
    ]
    report = ktap.parse("".join(f"[    0.060000] {line}\n" for line in lines))
    assert outcome(report) == [("s.a", P)]
    assert "2 cases planned in s, 1 seen" in report.problems
    assert "s has no result line of its own" in report.problems
    assert "2 cases planned, 0 seen" in report.problems


RECORD = "[   12.345678] BUG: bad page state"
ALONE = "[  T123] ok 9 is what it says"
CALLED = "[   12.345678][ T123] ok 9 is what it says"


@pytest.mark.parametrize("record", [RECORD, CALLED, "<4>" + RECORD, "[  12.345678] short", ALONE])
@pytest.mark.parametrize("at", range(len("not ok 2 foo # SKIP no")))
def test_a_record_in_the_middle_of_a_line(record: str, at: int) -> None:
    line = "not ok 2 foo # SKIP no"
    text = f"1..3\nok 1 a\n{line[:at]}{record}\n{line[at:]}\nok 3 b\n"
    report = ktap.parse(text)
    assert outcome(report) == [("a", P), ("foo", S), ("b", P)]
    assert report.problems == ()


@pytest.mark.parametrize("at", range(len("not ok 2 foo") + 1))
def test_several_records_one_after_another(at: int) -> None:
    line = "not ok 2 foo"
    text = f"1..2\nok 1 a\n{line[:at]}{RECORD}\n{RECORD}\n{CALLED}\n{line[at:]}\n"
    assert outcome(ktap.parse(text)) == [("a", P), ("foo", F)]


def test_a_word_that_ends_like_another_goes_on() -> None:
    assert outcome(ktap.parse(f"1..1\nok 1 knot{RECORD}\nted\n")) == [("knotted", P)]
    assert outcome(ktap.parse(f"1..1\nok 1 knot{RECORD}\nok 2\n")) == [("knot", P), ("case 2", P)]


def test_a_line_that_two_records_interrupt() -> None:
    text = f"1..1\nnot {RECORD}\nok 1 fo{RECORD}\no\n"
    assert outcome(ktap.parse(text)) == [("foo", F)]


@pytest.mark.parametrize("follows", ["ok 2 b", "# about b", "", "    # Subtest: s", "1..2"])
def test_what_follows_a_whole_line_is_no_rest_of_it(follows: str) -> None:
    report = ktap.parse(f"1..2\nok 1 foo{RECORD}\n{follows}\nok 2 b\n")
    assert report.cases[0].name == "foo"


def test_records_between_are_no_tap() -> None:
    report = ktap.parse(f"KTAP version 1\n1..1\n{CALLED}\nok 1 a\n{CALLED}\n")
    assert outcome(report) == [("a", P)]
    assert report.problems == ()


def test_a_time_in_a_name_is_no_record() -> None:
    (case,) = ktap.parse("1..1\nok 1 slept [0.500000] s\n").cases
    assert case.name == "slept [0.500000] s"


def test_a_not_that_stands_alone_belongs_to_what_follows() -> None:
    assert outcome(ktap.parse("1..1\nnot \nok 1 a\n")) == [("a", F)]
    assert outcome(ktap.parse("1..1\nnot\nok 1 a\n")) == [("a", F)]
    assert outcome(ktap.parse("1..1\nnot\n# so\nok 1 a\n")) == [("a", P)]


@pytest.mark.parametrize(
    "last", ["ok 3", "ok 3 fo", "not ok 3 fo", "ok", "ok 3 foo # SK", "  ok 1", "1..1"]
)
def test_a_last_line_that_was_cut_is_not_read(last: str) -> None:
    whole = "TAP version 13\n1..3\nok 1 a\nok 2 b\n"
    report = ktap.parse(whole + last, whole=False)
    assert outcome(report) == [("a", P), ("b", P)]
    assert ktap.CUT in report.problems


def test_a_program_that_ended_need_not_end_its_last_line() -> None:
    report = ktap.parse("1..2\nok 1 a\nok 2 b")
    assert outcome(report) == [("a", P), ("b", P)]
    assert report.problems == ()


def test_what_a_program_that_was_cut_said_last_stays() -> None:
    assert taptext.lines("ok 1 a\nTesting b... ", whole=False) == (
        ["ok 1 a", "Testing b... "],
        False,
    )
