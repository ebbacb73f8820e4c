# SPDX-License-Identifier: GPL-2.0-only
"""Which kernels of a run have a part of a series only, and the run without them.  Pure.

They are judged patch by patch (:mod:`.each_patch`).  Whoever counts, compares or blames looks at
the run without them: what the whole series does would stand there once for each of its patches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from orchestrator.model.results import Found

_Run = TypeVar("_Run", bound=Found)


def prefixes_of(run: Found) -> frozenset[str]:
    """The names of the kernels that are part of another kernel of the run."""
    return frozenset(kernel.name for kernel in run.kernels if kernel.prefix_of)


def without_prefixes(run: _Run) -> _Run:
    """The run without those kernels, their builds and their cells; its counts are as they were."""
    parts = prefixes_of(run)
    if not parts:
        return run
    return replace(
        run,
        kernels=tuple(kernel for kernel in run.kernels if kernel.name not in parts),
        builds=tuple(build for build in run.builds if build.kernel not in parts),
        cells=tuple(cell for cell in run.cells if cell.kernel not in parts),
    )
