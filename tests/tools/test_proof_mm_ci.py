# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_mm_ci.py: the groups of a script, and the table, without a kernel."""

from __future__ import annotations

from typing import Any

import proof_mm_ci as program

SCRIPT = """\
# CATEGORY="no" is a comment
CATEGORY="hugetlb" run_test ./hugepage-mmap
uffd_stress_bin=./uffd-stress
CATEGORY="userfaultfd" run_test ./uffd-unit-tests
CATEGORY="userfaultfd" run_test ${uffd_stress_bin} anon 20 16
CATEGORY="userfaultfd" run_test ${uffd_stress_bin} hugetlb "$half_ufd_size_MB" 32
\tCATEGORY="mlock" run_test sudo -u nobody ./on-fault-limit
CATEGORY="vmalloc" run_test bash ./test_vmalloc.sh smoke
                        CATEGORY="gup_test" run_test ./gup_test \\
                                $huge $test_cmd $write $share $num
"""


def case(workload: str, verdict: str, seconds: float = 1.0, known: str = "") -> dict[str, Any]:
    return {"workload": workload, "verdict": verdict, "seconds": seconds, "known": known}


RESULTS = {
    "cells": [
        {"arch": "x86_64", "config": "host", "cases": [case("host/vma/main/plain", "pass")]},
        {"arch": "x86_64", "config": "selftests", "cases": [
            case("kselftest/mm/uffd-stress/anon", "pass", 12.4),
            case("kselftest/mm/uffd-unit-tests", "fail"),
            case("kselftest/mm/hugepage-mmap", "skip", 0.0, "why"),
        ]},
        {"arch": "arm64", "config": "selftests", "cases": [
            case("kunit/slub_test", "pass", 2.0), case("kselftest/mm/hugepage-mmap", "skip", 0.0),
        ]},
    ]
}  # fmt: skip


def test_the_groups_of_the_script():
    assert program.groups(SCRIPT) == {
        "hugetlb": ("hugepage-mmap",),
        "userfaultfd": ("uffd-unit-tests", "uffd-stress"),
        "mlock": ("on-fault-limit",),
        "vmalloc": ("test_vmalloc.sh",),
        "gup_test": ("gup_test",),
    }


def test_a_row_for_each_of_theirs():
    rows = {line.split(" | ")[0]: line for line in program.table(RESULTS, SCRIPT)}
    assert rows["| tools/testing/vma"].endswith("| `host/vma/*` | 1 pass; 1 s | the same run |")
    assert rows["| KUnit: slub_test"].endswith("|  | 1 pass; 2 s |")
    assert rows["| `-t userfaultfd`"].endswith("| 1 pass, 1 FAIL; 13 s |  |")
    assert rows["| `-t hugetlb`"].endswith("| 1 known; 0 s | 1 skip; 0 s |")
    assert len(rows) == 2 + len(program.BESIDES) + 5
