# SPDX-License-Identifier: GPL-2.0-only
"""The selftests that a series brings or changes, and what came of them.  Pure."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from orchestrator.judge.tested import tested_kernels
from orchestrator.model.names import Verdict
from orchestrator.model.results import Found, KernelRecord

#: Where a kernel has them; what stands below is the collection.
FOLDER = "tools/testing/selftests/"
# What a program is made of or is (tools/testing/selftests/lib.mk, v6.12); the rest serves several.
_PROGRAMS = (".c", ".sh", ".py")


def selftest_files(touched: tuple[str, ...]) -> tuple[str, ...]:
    """Of the files that a series touches those of selftests, below their folder: ``mm/cow.c``."""
    return tuple(file.removeprefix(FOLDER) for file in touched if file.startswith(FOLDER))


def selftest_lines(run: Found) -> tuple[str, ...]:
    """A line for each selftest of the kernels under test that is new or changed.

    As in ``kselftest/mm/cow: 210 pass, 1 fail``, ``mm/merge.c was not run``.  What several programs
    are made of is left out, since each of them may be changed by it.
    """
    return tuple(
        line
        for kernel in tested_kernels(run)
        for file in kernel.selftests
        if PurePosixPath(file).suffix in _PROGRAMS
        for line in _lines(run, kernel, PurePosixPath(file))
    )


def _lines(run: Found, kernel: KernelRecord, file: PurePosixPath) -> tuple[str, ...]:
    collection = str(file.parent).replace("/", ".")
    names = {f"{collection}/{file.name}", f"{collection}/{file.stem}"}
    counts: dict[str, Counter[Verdict]] = {}
    for cell in run.cells:
        for case in cell.cases if cell.kernel == kernel.name else ():
            # FAMILY/COLLECTION/PROGRAM, and a run of it behind that.
            parts = case.workload.split("/")
            if "/".join(parts[1:3]) in names:
                counts.setdefault(case.workload, Counter())[case.verdict] += 1
    if not counts:
        return (f"{file} was not run",)
    return tuple(
        f"{workload}: {', '.join(f'{n} {verdict.value}' for verdict, n in sorted(found.items()))}"
        for workload, found in counts.items()
    )
