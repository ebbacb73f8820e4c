# SPDX-License-Identifier: GPL-2.0-only
"""A run of a series of two patches of which it was counted what ran, on both architectures."""

from __future__ import annotations

from dataclasses import replace

from sample_run import good_run

from orchestrator.model.coverage import CoveredLine
from orchestrator.model.kernel import PatchHunk, PatchState
from orchestrator.model.results import RunResult

FIRST = """\
 int start(void)
 {
-	old();
+	if (<none>)
+		return -1;
+	drop();
+	/* a remark */
 }
"""
LATER = "\n".join((" ", "+\tother();", "+\tgone();", " \tend();"))


def hunk(patch: int, text: str, header: str, *lines: int) -> PatchHunk:
    return PatchHunk(patch, "mm/x.c", header, text.removesuffix("\n"), lines)


def line(patch: int, number: int, text: str, function: str, count: int, *by: str) -> CoveredLine:
    return CoveredLine(patch, "mm/x.c", number, text, count, by, function)


def covered_run() -> RunResult:
    """Of three lines of patch 1 two ran, one of them on x86_64 alone; of patch 2 one never did.

    Patch 3 touches no code.
    """
    good = good_run()
    subjects = ("mm: start <early>", "mm: later", "docs: tell of it")
    kernel = replace(
        good.kernels[0],
        series=tuple(
            PatchState(n, text, "A <a@example.org>", f"{n}" * 64, applied=True)
            for n, text in enumerate(subjects, 1)
        ),
        hunks=(
            hunk(1, FIRST, "@@ -9,4 +9,7 @@", 11, 12, 13, 14),
            hunk(2, LATER, "@@ -28,3 +29,5 @@ int later(void)", 31, 0),
        ),
    )
    counted = (
        (
            line(1, 11, "\tif (<none>)", "start", 7, "a/b", "a/c"),
            line(1, 12, "\t\treturn -1;", "start", 1, "a/b"),
            line(1, 13, "\tdrop();", "start", 0),
            line(2, 31, "\tother();", "later", 0),
        ),
        (
            line(1, 11, "\tif (<none>)", "start", 1, "a/b"),
            line(1, 12, "\t\treturn -1;", "start", 0),
            line(1, 13, "\tdrop();", "start", 0),
        ),
    )
    cells = tuple(
        replace(
            cell,
            id=cell.id.replace("default", "coverage"),
            config="coverage",
            coverage=f"cells/coverage__{cell.arch}/coverage.json",
            covered=lines,
        )
        for cell, lines in zip(good.cells, counted, strict=True)
    )
    return replace(good, kernels=(kernel,), cells=cells)
