# SPDX-License-Identifier: GPL-2.0-only
"""Runs of a series patch by patch, from what each of its kernels came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.judge.each_patch import each_patch
from orchestrator.model.kernel import CompilerMessage, PatchState
from orchestrator.model.names import BOOT, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    Comparison,
    EachPatch,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
WORDS = {"+": P, "-": F, "s": S, "e": E}
ERROR = "mm/a.c:7: error: 'x' undeclared"
WARNING = CompilerMessage("mm/a.c", 9, "unused variable 'y'", "warning")


def kernel(n: int, count: int) -> str:
    return "cli" if n == count else f"cli@patch-{n}"


def patches(n: int) -> tuple[PatchState, ...]:
    return tuple(
        PatchState(i, f"mm: change {i}", "A <a@b>", f"{i}" * 64, True) for i in range(1, n + 1)
    )


def run_of(
    builds: str,
    cases: Mapping[str, str] = {},
    warned: Mapping[int, Sequence[CompilerMessage]] = {},
    place: str = "default/x86_64",
    status: int = 0,
) -> RunResult:
    """A run of as many patches as ``builds`` has signs: of each kernel + or -, or e.

    :param cases: ``WORKLOAD:CASE`` and its signs alike; a space where it was not tried.
    :param warned: the new warnings of each build.
    """
    count = len(builds)
    config, arch = place.split("/")
    kernels, built, cells = [], [], []
    for n, sign in enumerate(builds, 1):
        name, part = kernel(n, count), n < count
        kernels.append(KernelRecord(
            name, "debian:6.12=1", "6.12.1", patches(n), series_origin="/s",
            patches=n if part else 0, prefix_of="cli" if part else "",
        ))  # fmt: skip
        found = WORDS[sign]
        built.append(BuildRecord(
            f"{name}/{place}", name, config, arch, found, "" if found is P else ERROR, 20.0, False,
            "ab" if found is P else "", new_warnings=tuple(warned.get(n, ())),
        ))  # fmt: skip
        if not cases:
            continue
        cell = f"{name}/{place}/small"
        own = tuple(
            CaseResult(f"{cell}:{case}", *case.split(":", 1), WORDS[signs[n - 1]],
                       "" if signs[n - 1] == "+" else f"{case} went wrong")
            for case, signs in cases.items()
            if signs[n - 1] != " " and found is P
        )  # fmt: skip
        cells.append(CellRecord(cell, name, config, arch, "small", "tcg", P, 1.0, own))
    info = RunInfo("r", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "lab run", status, "1", "p")
    return RunResult(info, tuple(kernels), tuple(built), tuple(cells), Summary(1, 0, 0, 0))


def judged(run: RunResult, comparison: Comparison | None = None) -> EachPatch:
    (one,) = each_patch(run, comparison)
    return one


BOOTS = f"{BOOT}:{BOOT}"
