# SPDX-License-Identifier: GPL-2.0-only
"""Runs and cases as the history knows them."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.model.evidence import Counter, Measurement
from orchestrator.model.names import Verdict


@dataclass(frozen=True)
class HistoryRun:
    """A run as the history knows it.  Instants are UTC ISO 8601; ``folder`` may be gone by now.

    ``searched`` is what a search came to, which has no cases here: it tries what it suspects.
    """

    id: str
    started: str
    finished: str
    profile: str
    command: str
    exit_status: int
    lab_version: str
    folder: str
    passed: int
    failed: int
    skipped: int
    errors: int
    searched: str = ""


@dataclass(frozen=True)
class HistoryCase:
    """One case of one run.  ``version`` and ``series_digest`` tell what the kernel was made of."""

    run: str
    started: str
    id: str
    verdict: Verdict
    reason: str
    seconds: float | None
    version: str
    series_digest: str
    hits: tuple[str, ...] = ()
    counters: tuple[Counter, ...] = ()
    measurements: tuple[Measurement, ...] = ()
