# SPDX-License-Identifier: GPL-2.0-only
"""Whether a quantity grows from run to run: a slope that a few odd runs do not change.

Theil and Sen: the median of the slopes between all pairs (Sen, Journal of the American Statistical
Association 63, 1968), with the interval that he gives for it.  Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Fewer values than that show nothing.
FEWEST = 8
#: Of the normal distribution: 95 % lie within, of both sides.
_Z = 1.96

FLAT, GROWS, UNSURE = "flat", "grows", "not sure"


@dataclass(frozen=True)
class Slope:
    """How much a quantity grows a run, and between what that lies in 95 of 100 cases."""

    middle: float
    least: float
    most: float

    def against(self, tolerance: float) -> str:
        """Flat where even the most is within the tolerance, grows where even the least is not."""
        if self.most <= tolerance:
            return FLAT
        return GROWS if self.least > tolerance else UNSURE


def slope(values: Sequence[float]) -> Slope | None:
    """The slope of values that came one after another; None of fewer than :data:`FEWEST`."""
    n = len(values)
    if n < FEWEST:
        return None
    pairs = sorted((values[j] - values[i]) / (j - i) for i in range(n) for j in range(i + 1, n))
    count = len(pairs)
    # The variance of Kendall's S without ties; with them it is smaller, and the interval too wide.
    width = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = max(0, math.floor((count - width) / 2) - 1)
    high = min(count - 1, math.ceil((count + width) / 2))
    return Slope(statistics.median(pairs), pairs[low], pairs[high])
