# SPDX-License-Identifier: GPL-2.0-only
"""How far a measurement lies apart in runs of one kernel, and what goes beyond that.  Pure.

A change is claimed where two runs of the same kernel would differ as much once in 10,000 times: a
run has a hundred figures, so one comparison in a hundred claims something that is not there.  That
holds for few runs too, since the deviation is itself an estimate: of 5 runs it is less than half of
the true one once in eleven times, and Student's t allows for just that.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

#: How often runs of equal kernels may differ by more than the limit, in either direction.
FALSE_CLAIMS = 1e-4
#: Below so many degrees of freedom nothing is claimed: 5 runs of one kernel, 3 of each of two.
LEAST_FREEDOM = 4


@dataclass(frozen=True)
class Noise:
    """How far runs of one and the same kernel lie apart, as a factor's logarithm.

    ``runs`` have been looked at; ``freedom`` is as many less one for each of their kernels.
    """

    sigma: float
    runs: int
    freedom: int

    @property
    def percent(self) -> float:
        """The deviation as percent of the figure."""
        return (math.exp(self.sigma) - 1) * 100

    @property
    def limit(self) -> float:
        """What one run against one run must differ by to be told from noise; a logarithm too."""
        return student_t(self.freedom) * math.sqrt(2) * self.sigma


#: By a case's id without the kernel and a measurement's name.
NoiseTable = Mapping[tuple[str, str], Noise]


def noise_of(groups: Iterable[Iterable[float]]) -> Noise | None:
    """What runs of the same kernel differ by: ``groups`` has a kernel's figures in each.

    The variance within the kernels, pooled: the squared deviations of all from their own kernel's
    mean, over the degrees of freedom.  A single wild run widens it: what one kernel did by itself
    within the runs that are known is no evidence against another.

    :returns: None where too few runs are known.
    """
    squares, runs, kernels = 0.0, 0, 0
    for group in groups:
        logs = [math.log(value) for value in group if value > 0 and math.isfinite(value)]
        if len(logs) > 1:
            middle = fmean(logs)
            squares += sum((value - middle) ** 2 for value in logs)
            runs += len(logs)
            kernels += 1
    freedom = runs - kernels
    if freedom < LEAST_FREEDOM:
        return None
    return Noise(math.sqrt(squares / freedom), runs, freedom)


@functools.cache
def student_t(freedom: int, beyond: float = FALSE_CLAIMS) -> float:
    """What Student's t exceeds, in either direction, with the probability ``beyond``.

    The distribution in closed form (Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.3 and 26.7.4), inverted by halving the interval of the angle.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if 1 - _within(middle, freedom) > beyond:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """The probability of ``|t| <= tan(angle) * sqrt(freedom)``."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def tail(t: float, freedom: int) -> float:
    """The probability of Student's t beyond ``t`` in either direction; right to about 1e-15."""
    return max(0.0, 1 - _within(math.atan(t / math.sqrt(freedom)), freedom))
