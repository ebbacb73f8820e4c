# SPDX-License-Identifier: GPL-2.0-only
"""How sure a regression is to be, and what further trials of a case showed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class ErrorRates:
    """What may go wrong how often, whenever the test stops.

    ``false_regressions``: of series that do no harm, called a regression; ``missed``: of those that
    make a case fail more often by ``points`` (a difference of rates), called harmless.
    """

    false_regressions: float = 0.01
    missed: float = 0.05
    points: float = 0.30


@dataclass(frozen=True)
class Judging:
    """``judging:`` of lab.yaml: the error rates, and how many pairs of trials there are at most."""

    rates: ErrorRates = ErrorRates()
    trials: int = 100


class Decision(str, Enum):
    """What the trials show of a series."""

    REGRESSION = "regression"
    BETTER = "better"
    FLAKY = "flaky on both"
    BOTH = "fails on both"
    NEITHER = "fails on neither"
    HARMLESS = "no regression"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Retried:
    """What further trials of a case that failed came to.

    In ``failed`` of ``trials`` it failed with the series, in ``failed_base`` of ``trials_base``
    without.  With ``steady`` the run's own pair is counted too, since its workload comes to the
    same each time; else that pair, by which the case was chosen, proves nothing and is left out.

    ``base`` is the kernel of the run that they were set against, empty where the baseline is
    another run: then only this kernel was tried.  ``series`` is False where the two kernels do not
    differ by a series alone.  ``note`` is why there were no more trials.
    """

    decision: Decision
    failed: int
    trials: int
    failed_base: int = 0
    trials_base: int = 0
    base: str = ""
    steady: bool = False
    series: bool = True
    note: str = ""
    rates: ErrorRates = ErrorRates()
