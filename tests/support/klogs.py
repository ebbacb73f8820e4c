# SPDX-License-Identifier: GPL-2.0-only
"""The kernel logs of ``tests/data/klog``, and what the parser finds in them."""

from __future__ import annotations

import functools
from collections.abc import Collection
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog
from orchestrator.model.evidence import Hit

DATA = HOME / "tests" / "data" / "klog"
LOGS = sorted(DATA.glob("*.log"))
# Where a test reads a log many times over, these stand for all while one works.
SAMPLE = frozenset(log.stem for log in LOGS[::10])


@functools.cache
def found(log: Path) -> tuple[Hit, ...]:
    """The hits of a log, which is parsed once however many tests look at them."""
    return tuple(klog.parse(log.read_bytes().split(b"\n")))


def each_log(slow: Collection[str] = ()) -> pytest.MarkDecorator:
    """The test gets each log; all but a sample, and those named, are for ``make slow``."""
    fast = SAMPLE.difference(slow)
    return pytest.mark.parametrize(
        "log",
        [
            pytest.param(log, marks=[] if log.stem in fast else [pytest.mark.slow], id=log.stem)
            for log in LOGS
        ],
    )
