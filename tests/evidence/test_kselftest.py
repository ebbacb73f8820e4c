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
    assert "no memory" in reason(report, "program")


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
