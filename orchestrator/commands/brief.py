# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to in one line: for ``--quiet`` and for a notification."""

from __future__ import annotations

from pathlib import Path

from orchestrator.model.errors import EXIT_KERNEL, EXIT_OK
from orchestrator.model.formats import short_seconds
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report.gist import gist
from orchestrator.report.text import printable, visible


def brief(
    run: RunResult,
    comparison: Comparison | None,
    folder: Path,
    seconds: float,
    answer: str = "",
) -> str:
    """``FAIL: kernel BUG at mm/swapfile.c:1587 in 3 workloads, 25 cases fail; reports/2026...``.

    ``pass: 1257 cases in 2 cells, 96 s`` where all is as expected.  The first word is ``pass``,
    ``FAIL``, ``ERROR`` or ``interrupted``, as the exit status has it; the run's folder stands last
    wherever there is something to look at.

    :param seconds: how long it took.
    :param answer: what a rerun found out, which is told instead.
    """
    status = run.run.exit_status
    if answer and status in (EXIT_OK, EXIT_KERNEL):
        word = "pass" if status == EXIT_OK else "FAIL"
        word = "searched" if run.searched is not None else word
        told = f"{word}: {answer}; {_short(folder)}"
    elif status == EXIT_OK:
        told = f"{gist(run, comparison)}, {short_seconds(seconds)}"
    else:
        told = f"{gist(run, comparison)}; {_short(folder)}"
    return visible(printable(told))


def _short(folder: Path) -> str:
    """The folder as somebody here would type it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
