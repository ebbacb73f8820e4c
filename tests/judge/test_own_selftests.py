# SPDX-License-Identifier: GPL-2.0-only
"""What came of the selftests that a series brings or changes."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.own_selftests import selftest_files, selftest_lines
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord, KernelRecord, Records

KERNEL = KernelRecord("s", "debian:6.12", "6.12.117", selftests=("mm/cow.c", "mm/vm_util.h"))


def run(kernel: KernelRecord, *cases: tuple[str, Verdict]) -> Records:
    cell = "s/d/x/small"
    found = tuple(
        CaseResult(cell, workload, str(number), verdict)
        for number, (workload, verdict) in enumerate(cases)
    )
    record = CellRecord(cell, "s", "d", "x", "small", "tcg", Verdict.PASS, 1.0, found)
    other = replace(record, id="o/d/x/small", kernel="o")
    return Records(kernels=(kernel,), builds=(), cells=(record, other))


def test_only_files_of_selftests_count() -> None:
    touched = ("mm/ksm.c", "tools/testing/selftests/mm/cow.c", "tools/testing/radix-tree/main.c")
    assert selftest_files(touched) == ("mm/cow.c",)


def test_what_came_of_a_changed_program() -> None:
    found = run(
        KERNEL,
        ("kselftest/mm/cow", Verdict.PASS),
        ("kselftest/mm/cow", Verdict.PASS),
        ("kselftest/mm/cow", Verdict.FAIL),
        ("kselftest/mm/cowardly", Verdict.FAIL),
        ("uffd-move/cow", Verdict.FAIL),
    )
    assert selftest_lines(found) == ("kselftest/mm/cow: 1 fail, 2 pass",)


def test_several_runs_scripts_and_folders_below_others() -> None:
    kernel = replace(KERNEL, selftests=("mm/ksm_tests.c", "net/forwarding/tc.sh"))
    found = run(
        kernel,
        ("kselftest/mm/ksm_tests/merge", Verdict.PASS),
        ("kselftest/mm/ksm_tests/unmerge", Verdict.SKIP),
        ("kselftest/net.forwarding/tc.sh", Verdict.PASS),
    )
    assert selftest_lines(found) == (
        "kselftest/mm/ksm_tests/merge: 1 pass",
        "kselftest/mm/ksm_tests/unmerge: 1 skip",
        "kselftest/net.forwarding/tc.sh: 1 pass",
    )


def test_one_that_did_not_run_is_told() -> None:
    assert selftest_lines(run(KERNEL, ("kselftest/mm/gup_test", Verdict.PASS))) == (
        "mm/cow.c was not run",
    )
    assert selftest_lines(run(replace(KERNEL, selftests=()))) == ()
