# SPDX-License-Identifier: GPL-2.0-only
"""How much of a series ran, as properties of JUnit XML and as text of its patches' cases.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.judge.covered import Line, by_patch, counts, sentence
from orchestrator.model.coverage import as_text
from orchestrator.model.results import CellRecord
from orchestrator.report.covered_view import never_in, who

# GitLab refuses files over 30 MB.
_LINES = 2000


def facts(cells: Iterable[CellRecord], kernel: str) -> dict[str, str]:
    """Properties of a kernel's series; none where nothing of it was counted.

    ``coverage`` says it in a sentence, ``coverage.lines`` and ``coverage.ran`` in numbers, and
    ``coverage.patch.N.`` before these and ``never`` (``mm/x.c:5,7-9``) for each patch.
    """
    patches = by_patch(cells, kernel)
    if not patches:
        return {}
    total, ran = counts(patches)
    told = {
        "coverage": sentence(patches), "coverage.lines": str(total), "coverage.ran": str(ran),
    }  # fmt: skip
    for one in patches:
        head = f"coverage.patch.{one.patch}"
        told |= {f"{head}.lines": str(len(one.lines)), f"{head}.ran": str(one.ran)}
        never: dict[str, set[int]] = {}
        for line in one.lines:
            if not line.ran:
                never.setdefault(line.file, set()).add(line.line)
        told[f"{head}.never"] = " ".join(f"{file}:{as_text(n)}" for file, n in never.items())
    return told


def by_patch_text(cells: Iterable[CellRecord], kernel: str) -> dict[int, tuple[str, ...]]:
    """For each patch its lines of code: whether each ran, in which cells, by which workloads."""
    return {
        one.patch: (
            *map(_told, one.lines[:_LINES]),
            *([f"and {len(one.lines) - _LINES} lines more"] if len(one.lines) > _LINES else []),
        )
        for one in by_patch(cells, kernel)
    }


def _told(line: Line) -> str:
    ran = "; ".join(filter(None, (*map(who, line.ran), never_in(line))))
    return f"{'ran' if line.ran else 'NEVER'} {line.file}:{line.line}: {line.text.strip()} [{ran}]"
