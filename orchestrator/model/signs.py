# SPDX-License-Identifier: GPL-2.0-only
"""What speaks for a failure before anything has run, and the turns that come of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signs:
    """What is known of a workload in one place (config, architecture, shape) before it runs.

    ``failed`` says that it failed there the last time that a kernel of this name ran it,
    ``failed_at`` is another place (``CONFIG/ARCH/SHAPE``) of which that is true.  Of so many
    ``runs`` in the history, whatever their kernel, it failed in ``found``.  ``seconds`` is what it
    takes, None where no run tells.  ``touches`` are functions that the series changes and that it
    is known to run.
    """

    failed: bool = False
    failed_at: str = ""
    found: int = 0
    runs: int = 0
    seconds: float | None = None
    touches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A workload or a cell in the order in which they are run; ``why`` it is not where it was.

    Empty where nothing speaks for its failing.
    """

    name: str
    why: str = ""
