# SPDX-License-Identifier: GPL-2.0-only
"""What is told of a kernel that promises nothing; what a cell promises is in test_matrix.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.commands.summary import summary_text
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    CaseResult,
    CellRecord,
    Comparison,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import KernelSpec
from orchestrator.plan.capabilities import UNPROMISED, unpromised


@pytest.mark.parametrize(
    ("where", "provides", "noted"),
    [
        ("command line", (), True),
        ("command line", ("uffd-move",), False),
        ("lab.yaml:17", (), False),  # somebody wrote down that it provides nothing
    ],
)
def test_a_source_that_lab_yaml_does_not_know(
    where: str, provides: tuple[str, ...], noted: bool
) -> None:
    kernel = KernelSpec("cli", "path:../linux", provides=provides, where=where)
    assert unpromised(kernel) == ((UNPROMISED,) if noted else ())


def test_the_end_of_a_run_tells_it_where_something_was_skipped() -> None:
    info = RunInfo("r", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "lab run", 0, "0", "p")

    def text(skipped: int, compared: Comparison | None = None) -> str:
        kernels = (KernelRecord("cli", "path:../linux", "6.13.0", notes=(UNPROMISED,)),)
        place = "cli/c/x86_64/s"
        cases = tuple(
            CaseResult(f"{place}:f/a:{n}", "f/a", str(n), Verdict.SKIP, "no such feature")
            for n in range(skipped)
        )
        cell = CellRecord(place, "cli", "c", "x86_64", "s", "tcg", Verdict.PASS, 1.0, cases)
        run = RunResult(info, kernels, (), (cell,), Summary(1, 0, skipped, 0))
        return summary_text(run, compared, Path("/r"), 1.0)

    assert f"note: cli: {UNPROMISED}" in text(3)
    assert UNPROMISED not in text(0)
