# SPDX-License-Identifier: GPL-2.0-only
"""The pages over all runs, written anew at each run's end and by ``lab report --index``.

A run must not wait for them: at its end they get a third of a second, or a two-hundredth of the
time that the run itself took, and what there is no time for is left to the next one.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.errors import HostError
from orchestrator.model.results import Comparison, RunResult
from orchestrator.results import digests

_BLINK = 0.3
_SHARE = 1 / 200
#: What is known to be left of the time when trends are begun; with less they are not.
_FOR_TRENDS = 0.15


@dataclass(frozen=True)
class Overview:
    """What was written, and the ``notes`` on folders that were passed over."""

    written: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def after_run(reports: Path, run: RunResult, folder: Path, comparison: Comparison | None) -> None:
    """Keep a run's digest and write the pages as far as there is time; no run fails for them."""
    digest = digests.keep(folder, run, comparison)
    if folder.parent == reports:
        with contextlib.suppress(HostError):
            write(reports, max(_BLINK, digest.seconds * _SHARE))


def write(reports: Path, seconds: float = math.inf) -> Overview:
    """Write index.html and trends.html below ``reports``, each in one step.

    :param seconds: how long that may take, the making of the pages themselves aside.
    :raises HostError: when one cannot be written.
    """
    from orchestrator.report import runs_page, trends

    until = time.monotonic() + seconds
    found = digests.read(reports, seconds)
    target = reports / runs_page.TRENDS
    written: list[Path] = []
    if until - time.monotonic() > _FOR_TRENDS:
        figures = digests.read_figures(reports, found.runs)
        series, left = trends.all_series(figures, until - time.monotonic())
        # A page of half of them would hide what the one before has shown.
        if series and not left:
            written.append(_replace(target, trends.render(series)))
    page = runs_page.render(found.runs, found.notes, found.left, trends=target.is_file())
    written.insert(0, _replace(reports / runs_page.PAGE, page))
    return Overview(tuple(written), found.notes)


def _replace(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(f"cannot write {path}: {error.strerror}") from error
    return path
