# SPDX-License-Identifier: GPL-2.0-only
"""Why lines of the move code never run under the deterministic workloads; tools/proof_coverage.py.

A line is named by its function and by the line of code that ran last above it, blanks as one: the
numbers of lines differ from kernel to kernel.  Each is read from the sources of 6.12.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why what stands behind the line ``behind`` of a function did not run."""

    function: str
    behind: str
    why: str


REASONS: tuple[Reason, ...] = ()
