# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's own selftests print, and what their exit status makes of it."""

from __future__ import annotations

import pytest

from orchestrator.evidence import kselftest
from orchestrator.model.evidence import KtapReport
from orchestrator.model.names import Verdict

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR


def found(report: KtapReport) -> dict[str, Verdict]:
    return {case.name: case.verdict for case in report.cases}


def reason(report: KtapReport, name: str) -> str:
    case = next(case for case in report.cases if case.name == name)
    return "\n".join((case.reason, *case.diagnostics))


def test_a_program_without_tap_goes_by_its_exit_status() -> None:
    assert found(kselftest.read("mapping\n", 0)) == {"program": P}
    failed = kselftest.read("mmap: Cannot allocate memory\n", 1)
    assert found(failed) == {"program": F}
    assert reason(failed, "program") == "ended with exit status 1\nmmap: Cannot allocate memory"
    assert "SIGSEGV" in reason(kselftest.read("", 139), "program")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1..0 # SKIP no such device\n", "no such device"),
        ("TAP version 13\nok 1 # SKIP needs root\n", "needs root"),
        ("need more free huge pages\n", "need more free huge pages"),
        ("", "it does not say why"),
        # ksft_exit_skip() in the midst, and the summary that follows it
        ("TAP version 13\n1..3\nok 1 a\nok 3 # SKIP no room\n# Totals: pass:1 skip:1\n", "no room"),
        ("no room\n# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0\n", "no room"),
    ],
)
def test_four_is_a_skip_with_its_reason(text: str, why: str) -> None:
    report = kselftest.read(text, 4)
    assert report.cases[-1].verdict is S
    assert report.cases[-1].reason == why


def test_subtests_are_cases_and_tell_for_themselves() -> None:
    text = "TAP version 13\n1..2\nok 1 one\n# wrong: 5\nnot ok 2 two\n# Totals: pass:1 fail:1\n"
    report = kselftest.read(text, 1)
    assert found(report) == {"one": P, "two": F}
    assert "wrong: 5" in reason(report, "two")
    assert found(kselftest.read("TAP version 13\n1..1\nok 1 one\n", 0)) == {"one": P, "program": P}


def test_what_ended_early_is_a_failed_program_beside_its_subtests() -> None:
    text = "TAP version 13\n1..3\nnot ok 1 one\nBail out! no memory\n"
    report = kselftest.read(text, 1)
    assert found(report) == {"one": F, "program": F}
    assert reason(report, "program").startswith(
        "ended with exit status 1: it bailed out: no memory\n"
    )


def test_a_plan_that_does_not_fit_is_no_fail_of_a_program_that_ended_well() -> None:
    report = kselftest.read("TAP version 13\n1..3\nok 1 one\nok 2 two\n", 0)
    assert found(report)["program"] is P
    assert reason(report, "program") == "3 cases planned, 2 seen"
    assert not report.problems


def test_a_program_whose_subtests_all_skipped_has_tested_nothing() -> None:
    report = kselftest.read("TAP version 13\n1..1\nok 1 one # SKIP no THP\n", 0)
    assert found(report) == {"one": S, "program": S}


def test_what_did_not_end_or_start_is_left_to_others() -> None:
    cut = kselftest.read("TAP version 13\n1..2\nok 1 one\n", None)
    assert found(cut) == {"one": P}
    assert not cut.problems
    absent = kselftest.read("sh: ./x.sh: not found\n", 127)
    assert not absent.cases
    assert absent.problems == ("sh: ./x.sh: not found",)


def test_results_carry_the_remark_that_says_what_they_are_about() -> None:
    text = (
        "TAP version 13\n1..2\n# [RUN] Basic COW ... with base page\nok 1 No leak\n"
        "# [RUN] Basic COW ... with #2 kB\nok 2 No leak # SKIP no pages\n"
    )
    cases = kselftest.read(text, 0).cases
    assert [case.name for case in cases[:2]] == [
        "Basic COW ... with base page: No leak",
        "Basic COW ... with 2 kB: No leak",
    ]
    assert cases[1].verdict is S


def test_a_case_that_is_skipped_now_is_the_same_case() -> None:
    for text in ("ok 1 map", "ok 1 # SKIP map", "ok 1 # XFAIL map", "not ok 1 # error map"):
        assert "map" in found(kselftest.read(f"TAP version 13\n1..1\n{text}\n", 1))
    # kselftest_harness.h, ksft.py, ktap_helpers.sh and runner.sh of v6.12
    for text in ("ok 1 a.b", "ok 1 a.b # SKIP why", "not ok 1 a.b #  why", "ok 1 a.b # XFAIL why",
                 "ok 1 a.b ", "ok 1 a.b # SKIP", "ok 1 - a.b #SKIP"):  # fmt: skip
        assert "a.b" in found(kselftest.read(f"TAP version 13\n1..1\n{text}\n", 1))


@pytest.mark.parametrize(
    ("result", "name", "verdict"),
    [
        ("ok 1 # SKIP no such device", "copy", S),
        ("ok 1 #SKIP no such device", "copy", S),
        ("ok 1 # XFAIL it leaks", "copy", P),
        ("not ok 1 # error it leaks", "copy", F),
        ("ok 1", "copy", P),
        ("not ok 1 -", "copy", F),
        ("ok 1 No leak", "copy: No leak", P),
        ("ok 1 - No leak # SKIP why", "copy: No leak", S),
        ("ok 1 #1", "copy: #1", P),
    ],
)
def test_a_nameless_result_is_called_as_the_remark_before_it(
    result: str, name: str, verdict: Verdict
) -> None:
    report = kselftest.read(f"TAP version 13\n1..1\n# [RUN] copy\n{result}\n", 1)
    assert found(report)[name] is verdict


def test_a_remark_is_about_the_results_of_its_own_program() -> None:
    text = (
        "TAP version 13\n1..2\n# TAP version 13\n# 1..1\n# # [RUN] copy\n# ok 1 # SKIP no device\n"
        "ok 1 a # SKIP\n# [RUN] move\nok 2 Moved\n"
    )
    assert list(found(kselftest.read(text, 0))) == ["a.copy", "a", "move: Moved", "program"]


def test_a_skip_without_a_reason_has_its_childs() -> None:
    text = "TAP version 13\n1..1\n# TAP version 13\n# 1..0 # SKIP no swap\nok 1 a # SKIP\n"
    assert reason(kselftest.read(text, 0), "a") == "no swap"


def test_a_result_whose_line_does_not_end() -> None:
    text = (
        "TAP version 13\n1..5\n# [RUN] one\nok 1 # SKIP Merging skipped# [RUN] two\nok 2 Unmerged\n"
        "not ok 3 munlock(): Invalid argumentnot ok 4 no mappingok 5 look 7 times"
        "# Totals: pass:2 fail:2 xfail:0 xpass:0 skip:1 error:0\n"
    )
    report = kselftest.read(text, 1)
    assert found(report) == {
        "one": S,
        "two: Unmerged": P,
        "two: munlock(): Invalid argument": F,
        "two: no mapping": F,
        "two: look 7 times": P,
    }


def test_who_bails_out_has_not_passed_whatever_the_exit_status() -> None:
    report = kselftest.read("TAP version 13\n1..2\nok 1 one\nBail out! no memory\n", 0)
    assert found(report) == {"one": P, "program": F}
    assert "no memory" in reason(report, "program")


def test_of_a_child_that_bails_out_its_parent_tells() -> None:
    text = "TAP version 13\n1..1\n# TAP version 13\n# 1..2\n# Bail out! no memory\n"
    report = kselftest.read(text + "not ok 1 a # exit=1\n", 0)
    assert found(report) == {"a": F, "program": P}
    assert "the test bailed out: no memory" in reason(report, "program")


def test_a_known_failure_is_no_skip_of_the_program() -> None:
    report = kselftest.read("TAP version 13\n1..1\nnot ok 1 one # TODO later\n", 0)
    assert found(report) == {"one": S, "program": P}


@pytest.mark.parametrize("text", ["1..0 # SKIP no swap\n", "TAP version 13\n1..0 # SKIP no swap\n"])
def test_a_plan_of_nothing_is_a_skip(text: str) -> None:
    report = kselftest.read(text, 0)
    assert found(report) == {"program": S}
    assert reason(report, "program") == "no swap"


def test_a_child_that_prints_nothing_is_no_skip() -> None:
    report = kselftest.read("# TAP version 13\n", 0)
    assert found(report) == {"program": P}
    assert reason(report, "program") == "no plan, 0 result lines"


def test_a_collections_own_runner_within() -> None:
    text = (
        "TAP version 13\n1..3\n# timeout set to 45\n# selftests: mm: a\n# TAP version 13\n# 1..1\n"
        "# ok 1 # SKIP map\nok 1 selftests: mm: a # SKIP\n# selftests: mm: b\n#\n"
        "not ok 2 selftests: mm: b # TIMEOUT 45 seconds\n# selftests: mm: c\n# said\n"
        "not ok 3 selftests: mm: c # exit=139\n"
    )
    report = kselftest.read(text, 1)
    assert found(report) == {
        "selftests: mm: a.map": S,
        "selftests: mm: a": S,
        "selftests: mm: b": F,
        "selftests: mm: c": F,
    }
    assert reason(report, "selftests: mm: b").startswith("timed out: 45 seconds")
    assert reason(report, "selftests: mm: c") == "exit=139\nselftests: mm: c\nsaid"


def test_a_program_that_was_ended_may_have_been_cut() -> None:
    for status in (None, 124, 137):
        report = kselftest.read("TAP version 13\n1..2\nok 1 one\nok 2 tw", status)
        assert "tw" not in found(report)
        assert "one" in found(report)
    assert "tw" in found(kselftest.read("TAP version 13\n1..2\nok 1 one\nok 2 tw", 0))


def test_names_hold_no_address() -> None:
    text = "TAP version 13\n1..1\nok 1 mapped at 0x7f12deadb000 with 4096\n"
    assert "mapped at ADDRESS with 4096" in found(kselftest.read(text, 0))


def test_the_words_of_uffd_unit_tests() -> None:
    text = (
        "Testing UFFDIO_API (with syscall)... done\n"
        "Testing move on anon... done\n"
        "Testing move-pmd on anon... skipped [reason: feature missing]\n"
        "Testing poison on shmem... ERROR: wrong page\nfailed [reason: signal 7]\n"
        "Userfaults unit tests: pass=2, skip=1, fail=1 (total=4)\n"
    )
    report = kselftest.read(text, 1)
    assert found(report) == {
        "UFFDIO_API (with syscall)": P,
        "move on anon": P,
        "move-pmd on anon": S,
        "poison on shmem": F,
    }
    assert "signal 7" in reason(report, "poison on shmem")
    assert "wrong page" in reason(report, "poison on shmem")


def test_a_signal_is_told_whatever_failed_before() -> None:
    uffd = "Testing move on anon... failed [reason: x]\nTesting poison on shmem... "
    cut = kselftest.read(uffd, 139)
    assert found(cut) == {"move on anon": F, "poison on shmem": F, "program": F}
    assert "SIGSEGV" in reason(cut, "program")
    assert "did not come to its end" in reason(cut, "poison on shmem")
    khugepaged = "Run test: extreme (anon)\nNo page\nRun test: full (anon)\nCollapse... OK\n"
    assert found(kselftest.read(khugepaged, 139))["program"] is F
    assert found(kselftest.read(khugepaged, 124))["program"] is F
    assert "program" not in found(kselftest.read(khugepaged, 1))
    # return -1
    assert "program" not in found(kselftest.read(khugepaged, 255))


def test_a_test_of_uffd_unit_tests_that_another_one_follows_did_not_end() -> None:
    report = kselftest.read("Testing a... \nTesting b... done\n", 0)
    assert (found(report)["a"], found(report)["b"]) == (F, P)


def test_the_words_of_khugepaged() -> None:
    text = (
        "Save THP and khugepaged settings... \x1b[32mOK\x1b[0m\n"
        "Run test: collapse_full (khugepaged:anon)\nCollapse tables.... \x1b[32mOK\x1b[0m\n\n"
        "Run test: collapse_empty (madvise:anon)\nDo not collapse... \x1b[31mFail\x1b[0m\n"
        "Run test: collapse_swapin (madvise:anon)\nSwap out one page... \x1b[33mSkip\x1b[0m\n"
        "Run test: extreme (madvise:anon)\n\rConstruct   1/512...\rConstruct   2/512...No page\n"
        "Restore THP and khugepaged settings... \x1b[32mOK\x1b[0m\n"
    )
    report = kselftest.read(text, 1)
    assert found(report) == {
        "collapse_full (khugepaged:anon)": P,
        "collapse_empty (madvise:anon)": F,
        "collapse_swapin (madvise:anon)": S,
        "extreme (madvise:anon)": F,
    }
    told = reason(report, "extreme (madvise:anon)")
    assert "did not come to its end" in told
    assert "No page" in told


@pytest.mark.parametrize(
    ("out", "verdict"),
    [
        ("TAP version 13\n1..2\nok 1 a\nok 2 b\n# Totals: pass:1 fail:1 xfail:0\n", Verdict.FAIL),
        ("# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0\n", Verdict.FAIL),
        ("TAP version 13\n1..1\nok 1 a\n# Totals: pass:1 fail:0 xfail:0\n", Verdict.PASS),
    ],
)
def test_totals_that_count_a_failure_are_believed(out, verdict):
    cases = kselftest.read(out, 0).cases
    (program,) = [case for case in cases if case.name == kselftest.PROGRAM]
    assert program.verdict is verdict
