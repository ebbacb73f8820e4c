# SPDX-License-Identifier: GPL-2.0-only
"""What was tested, in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.judge import tested
from orchestrator.model import kernel as made
from orchestrator.model.kernel import Difference, FileChange, PatchState
from orchestrator.model.results import KernelRecord, Records, RunInfo, RunResult, Summary

ONE = FileChange("mm/userfaultfd.c", 1, 1)
NEAR = Difference("v6.12", "debian:6.12=6.12.117-1", "t", 1, (ONE,))
MINE = made.Tested(what="your tree", difference=NEAR)
TREE = KernelRecord("cli", "path:/l", "6.12.117", tested=MINE)
PATCHES = tuple(PatchState(n, f"mm: patch {n}", "Ann", "0", True) for n in (1, 2, 3))
SERIES = KernelRecord("s", "debian:6.12=6.12.117-1", "6.12.117", PATCHES)


def with_files(count: int, *files: FileChange) -> KernelRecord:
    difference = replace(NEAR, count=count, files=files)
    return replace(TREE, tested=replace(TREE.tested, difference=difference))


def beside(base: str, source: str) -> KernelRecord:
    difference = replace(NEAR, base=base, source=source, count=0, files=())
    return replace(TREE, tested=replace(TREE.tested, difference=difference))


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (TREE, "your tree (6.12.117) differs from v6.12 in mm/userfaultfd.c (+1 -1)"),
        (with_files(0), "your tree (6.12.117) is the same as v6.12 (6.12.117-1)"),
        (
            beside("v6.12 as of 6.12.9-1", "debian:6.12=6.12.9-1"),
            "your tree (6.12.117) is the same as v6.12 as of 6.12.9-1",
        ),
        (beside("v6.12", "git:/l#v6.12"), "your tree (6.12.117) is the same as v6.12"),
        (
            with_files(
                2, FileChange("run.sh", 0, 0, mode=True), FileChange("a\nb\x1b\udc80", 1, 0)
            ),
            "your tree (6.12.117) differs from v6.12 in run.sh (mode) and "
            "a\\nb\\x1b\\udc80 (+1 -0)",
        ),
        (
            with_files(2, ONE, FileChange("logo", None, None)),
            "your tree (6.12.117) differs from v6.12 in mm/userfaultfd.c (+1 -1) and "
            "logo (no text)",
        ),
        (
            with_files(4, ONE, FileChange("b", 2, 0), FileChange("c", 0, 3), FileChange("d", 1, 1)),
            "your tree (6.12.117) differs from v6.12 in mm/userfaultfd.c (+1 -1), b (+2 -0), "
            "c (+0 -3) and 1 more file",
        ),
        (SERIES, "3 patches on 6.12.117: mm: patch 1"),
        (replace(SERIES, series=PATCHES[:1]), "1 patch on 6.12.117: mm: patch 1"),
        (
            replace(SERIES, tested=made.Tested(subject="mm: all of it")),
            "3 patches on 6.12.117: mm: all of it",
        ),
        (
            replace(SERIES, tested=replace(TREE.tested, subject="mm: all")),
            "3 patches on your tree (6.12.117): mm: all; without them the tree differs from v6.12 "
            "in mm/userfaultfd.c (+1 -1)",
        ),
        (
            replace(SERIES, tested=made.Tested(difference=replace(NEAR, base="REF", patched=True))),
            "3 patches on 6.12.117: mm: patch 1; with them it differs from REF in "
            "mm/userfaultfd.c (+1 -1)",
        ),
        (replace(SERIES, series=()), "6.12.117 without a patch (debian:6.12=6.12.117-1)"),
        (
            replace(TREE, tested=made.Tested(what="your tree", commit="a" * 40, changed=True)),
            "your tree is 6.12.117, git commit aaaaaaaaaaaa with changes; no known kernel is near",
        ),
        (
            replace(
                TREE,
                tested=made.Tested(
                    what="commit aaaaaaaaaaaa",
                    commit="a" * 40,
                    difference=replace(NEAR, count=3120, files=(), near=False),
                ),
            ),
            "commit aaaaaaaaaaaa is 6.12.117; no known kernel is near "
            "(v6.12, the nearest, differs in 3120 files)",
        ),
        (replace(TREE, tested=made.Tested("as it was said then")), "as it was said then"),
    ],
)
def test_a_sentence(kernel: KernelRecord, told: str) -> None:
    assert tested.sentence(kernel) == told


def run_of(*kernels: KernelRecord, baseline: str = "") -> RunResult:
    info = RunInfo("r", "", "", "lab run", 0, "1", "smoke", baseline=baseline)
    return RunResult(info, kernels, (), (), Summary(0, 0, 0, 0))


def test_a_run_tells_what_it_is_about_and_not_what_it_compares_with() -> None:
    base = replace(SERIES, name="base", series=())
    assert tested.tested_lines(run_of(TREE, base, baseline="base")) == (tested.sentence(TREE),)
    two = run_of(TREE, SERIES)
    assert tested.tested_lines(two)[1] == "s: 3 patches on 6.12.117: mm: patch 1"
    assert tested.tested_title(two) == f"cli: {tested.sentence(TREE)} and 1 more kernel"
    assert tested.tested_title(run_of(TREE)) == tested.sentence(TREE)
    assert tested.tested_lines(run_of(base, baseline="base")) == (tested.sentence(base),)
    assert tested.tested_title(run_of()) == ""
    assert tested.tested_lines(Records((TREE,))) == (tested.sentence(TREE),)
