# SPDX-License-Identifier: GPL-2.0-only
"""The move ioctl of 2023: the same workloads judge a kernel that has it, healthy and broken.

No kernel to be had carries that series, so the patch ``abi-v2`` gives 6.12 its interface.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from labrun import HOME, lab_run

pytestmark = pytest.mark.guest
PLANTS = HOME / "tests" / "plants"
# It has no feature bit, and so nobody can tell whether a kernel has it: that is a defect of 2023's.
BY_DESIGN = {"uffd-move/probe:feature-matches-ioctl"}


def names(cases: list[str]) -> set[str]:
    """WORKLOAD:CASE of case ids."""
    return {case.partition(":")[2] for case in cases}


def test_a_healthy_kernel_of_2023_fails_only_for_its_missing_feature_bit(tmp_path: Path) -> None:
    ran = lab_run(
        tmp_path / "run", "--arch", "x86_64", "--series", str(PLANTS / "abi-v2.patch"),
        "--workload", "uffd-move/*", "--workload", "ledger/together",
    )  # fmt: skip
    cases = ran.cases()
    assert names([i for i, c in cases.items() if c["verdict"] in ("fail", "error")]) == BY_DESIGN, (
        ran.bad()
    )
    assert ran.status == 1
    moved = ran.cases(":uffd-move/cross")
    assert moved
    assert {case["verdict"] for case in moved.values()} == {"pass"}


def test_a_swap_entry_counted_as_a_page_in_another_process_is_found(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for n, name in enumerate(("abi-v2", "v2-swap-entry-counted-as-page"), start=1):
        shutil.copy(PLANTS / f"{name}.patch", series / f"{n:04}-{name}.patch")
    ran = lab_run(
        tmp_path / "run", "--arch", "x86_64", "--series", str(series),
        "--workload", "uffd-move/cross-swap", "--workload", "uffd-move/cross",
    )  # fmt: skip
    assert ran.status == 1
    bad = [i for i, c in ran.cases().items() if c["verdict"] == "fail"]
    assert "uffd-move/cross-swap:kernel-log" in names(bad), ran.bad()
    assert not [case for case in bad if ":uffd-move/cross:" in case], ran.bad()
    log = ran.cases(":uffd-move/cross-swap:kernel-log")
    titles = [hit["title"] for case in log.values() for hit in case["hits"]]
    assert any("Bad rss-counter state" in title for title in titles)
