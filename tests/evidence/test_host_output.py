# SPDX-License-Identifier: GPL-2.0-only
"""What host tests print, made into cases; the texts are those that 6.12's programs print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.evidence.host_output import MOST, PROGRAM, HostCase, read
from orchestrator.model.names import Verdict

PASS, FAIL = Verdict.PASS, Verdict.FAIL


def locate(file: str, line: int, func: str) -> tuple[str, str, str]:
    """A tree in which ``../../../`` leads to the top, and that knows two lines."""
    file = file.removeprefix("../../../")
    if func == "check_store_iter":
        return "lib/test_xarray.c", func, "XA_BUG_ON(xa, xa_load(xa, 3));"
    if (file, line) == ("idr.c", 271):
        return "lib/idr.c", "idr_get_next_ul", "WARN_ON_ONCE(id > INT_MAX);"
    return file, func, ""


def cases(text: str, status: int | None = 0, allows: tuple[str, ...] = ()) -> list[HostCase]:
    return list(read(text.splitlines(), status, locate, allows, 30.0))


def test_a_program_that_says_nothing_and_ends_well_is_one_case() -> None:
    assert cases("") == [HostCase(PROGRAM, PASS)]
    assert cases("random seed 1\nrunning tests\ntests completed\n") == [HostCase(PROGRAM, PASS)]
    assert cases("XArray: 12 of 12 tests passed\n") == [HostCase(PROGRAM, PASS)]


def test_an_assertion_has_its_file_line_and_text() -> None:
    said = "main: ../../../lib/xarray.c:1523: xas_store: Assertion `!xas_error(xas)' failed.\n"
    (case,) = cases(said, 134)
    assert (case.name, case.verdict) == ("xas_store: !xas_error(xas)", FAIL)
    assert case.reason == ("lib/xarray.c:1523: xas_store(): Assertion `!xas_error(xas)' failed")


def test_named_tests_are_cases_and_an_assertion_is_the_last_one_s() -> None:
    found = cases(
        "ok 1 : memblock_add: memblock_add_simple_check: passed\n"
        "not ok 2 : memblock_add: memblock_add_disjoint_check: failed\n"
        "main: tests/basic_api.c:99: memblock_add_disjoint_check: Assertion `(2) == (n)' failed.\n",
        134,
    )
    assert [(case.name, case.verdict) for case in found] == [
        ("memblock_add: memblock_add_simple_check", PASS),
        ("memblock_add: memblock_add_disjoint_check", FAIL),
    ]
    assert found[1].reason.startswith("tests/basic_api.c:99: memblock_add_disjoint_check(): ")
    # One that only assertions end is told by them.
    found = cases("not ok 1 : a: failed\nAborted\n", 134)
    assert [case.name for case in found] == ["a"]


def test_the_tests_of_vma_are_named_where_they_fail() -> None:
    found = cases(
        "Assert FAILED at vma.c:312:test_simple_merge(): vma->vm_start == 0 is FALSE.\n"
        "Test simple_merge FAILED\n15 tests run, 14 passed, 1 failed.\n",
        1,
    )
    assert [(case.name, case.verdict) for case in found] == [("simple_merge", FAIL)]
    assert found[0].reason == (
        "vma.c:312: test_simple_merge(): Assert FAILED: vma->vm_start == 0 is FALSE."
    )


def test_a_macro_that_prints_no_file_is_looked_up() -> None:
    found = cases("BUG at check_store_iter:77\n" * 3 + "XArray: 9 of 12 tests passed\n")
    assert [case.name for case in found] == [
        "check_store_iter: XA_BUG_ON(xa, xa_load(xa, 3));", "XArray: all tests pass",
    ]  # fmt: skip
    assert found[0].reason.startswith("lib/test_xarray.c:77: check_store_iter(): failed: XA_BUG")
    assert found[0].reason.endswith("(3 times)")
    assert found[1].reason == "3 failed: XArray: 9 of 12 tests passed"


def test_a_macro_that_tells_and_then_asserts_is_one_finding() -> None:
    said = "BUG at check_store_iter:77\nxarray: 0x7ffc\nxarray: ../../../lib/test_xarray.c:77: "
    (case,) = cases(f"{said}check_store_iter: Assertion `0' failed.\n", 134)
    assert case.name == "check_store_iter: XA_BUG_ON(xa, xa_load(xa, 3));"


def test_warnings_fail_unless_they_are_allowed_or_announced() -> None:
    said = "assertion failed at idr.c:271\n"
    (case,) = cases(said)
    assert case.reason == "lib/idr.c:271: idr_get_next_ul(): warning: WARN_ON_ONCE(id > INT_MAX);"
    assert cases(said, allows=("^idr_get_next_ul: ",)) == [HostCase(PROGRAM, PASS)]
    muted = f"vvv Ignore these warnings\n{said}^^^ Warnings over\n"
    assert cases(muted) == [HostCase(PROGRAM, PASS)]
    assert len(cases(muted + "assertion failed at radix-tree.c:9\n")) == 1


def test_undefined_behaviour_fails_although_the_program_goes_on() -> None:
    said = "../../../lib/idr.c:99:14: runtime error: shift exponent 64 is too large\n"
    (case,) = cases(said)
    assert case.name == "idr.c: runtime error: shift exponent N is too large"
    assert case.reason == "lib/idr.c:99: runtime error: shift exponent 64 is too large"


ASAN = """\
=================================================================
==4711==ERROR: AddressSanitizer: heap-use-after-free on address 0x606000000118 at pc 0x55
WRITE of size 8 at 0x606000000118 thread T0
    #0 0x7f2ab2c48d3e in __interceptor_memset ../../../../src/libsanitizer/a.inc:799
    #1 0x55d6a17f1aa8 in mas_free lib/maple_tree.c:1234
    #2 0x55d6a17f1bbb in main maple.c:9
SUMMARY: AddressSanitizer: heap-use-after-free ../../../../src/libsanitizer/a.inc:799 in memset
==4711==ABORTING
"""
LEAK = """\
==9==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 56 byte(s) in 1 object(s) allocated from:
    #0 0x7f2ab2cb89cf in __interceptor_malloc ../../../../src/libsanitizer/m.cpp:69
    #1 0x55d6a17f1aa7 in kmalloc tools/lib/slab.c:21
    #2 0x55d6a17f1aa8 in alloc_and_link_vma tools/testing/vma/vma.c:80

SUMMARY: AddressSanitizer: 56 byte(s) leaked in 1 allocation(s).
"""
TSAN = """\
==================
WARNING: ThreadSanitizer: data race (pid=77)
  Write of size 8 at 0x7b0400000800 by thread T1:
    #0 xas_store lib/xarray.c:800 (main+0x1)
SUMMARY: ThreadSanitizer: data race lib/xarray.c:800 in xas_store
"""


@pytest.mark.parametrize(
    ("said", "status", "name", "place"),
    [
        (ASAN, 1, "AddressSanitizer: heap-use-after-free in mas_free", "lib/maple_tree.c:1234: "),
        (LEAK, 1, "LeakSanitizer: memory leak in alloc_and_link_vma", "tools/testing/vma/vma.c:80"),
        (TSAN, 66, "ThreadSanitizer: data race in xas_store", "lib/xarray.c:800: "),
        (ASAN[:300], 1, "AddressSanitizer: heap-use-after-free", "AddressSanitizer: "),
    ],
)  # fmt: skip
def test_a_sanitizer_s_report_has_the_first_line_of_the_tree(
    said: str, status: int, name: str, place: str
) -> None:
    (case,) = cases(said, status)
    assert (case.name, case.verdict) == (name, FAIL)
    assert case.reason.startswith(place)
    assert "\n| " in case.reason


def test_an_end_that_nothing_explains_is_the_program_s() -> None:
    (case,) = cases("one\ntwo\n", 139)
    assert (case.name, case.verdict) == (PROGRAM, FAIL)
    assert "SIGSEGV" in case.reason
    assert case.reason.endswith("\n| one\n| two")
    (case,) = cases("begin\n", None)
    assert case.reason == "it did not end within its time (30 s) and was killed\n| begin"


def test_a_crash_after_a_failed_test_is_told_too() -> None:
    said = "Assert FAILED at vma.c:3:test_a(): x is FALSE.\nTest a FAILED\n"
    assert [case.name for case in cases(said, 139)] == ["a", PROGRAM]
    assert [case.name for case in cases(said, 134)] == ["a"]


def test_findings_without_end_are_counted() -> None:
    said = "".join(f"m: f.c:{n}: f: Assertion `a{n}' failed.\n" for n in range(MOST + 7))
    found = cases(said, 134)
    assert len(found) == MOST + 1
    assert found[-1].reason == "7 further findings are not shown"


@given(st.lists(st.sampled_from([*ASAN.splitlines(), *LEAK.splitlines(), "ok 1 : a: passed",
       "not ok 2 b", "Test a FAILED", "BUG at f:1", "vvv Ignore these warnings", "x"])),
       st.none() | st.integers(0, 255))  # fmt: skip
def test_any_order_gives_a_case_and_a_bad_end_a_failure(
    lines: list[str], status: int | None
) -> None:
    found = read(lines, status, locate)
    assert found
    if status != 0:
        assert any(case.verdict is FAIL for case in found)
