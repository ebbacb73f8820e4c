# SPDX-License-Identifier: GPL-2.0-only
"""Rates of failure that nobody knows: what mixtures over them are made of.  Pure."""

from __future__ import annotations

import math

#: Both ends are failures that are not random.
RATES = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0)


def log(ratio: float) -> float:
    """The logarithm; minus infinity of what cannot be."""
    return math.log(ratio) if ratio > 0 else -math.inf


def times(count: int, logarithm: float) -> float:
    """What did not happen tells nothing, however impossible it was."""
    return count * logarithm if count else 0.0
