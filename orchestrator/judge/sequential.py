# SPDX-License-Identifier: GPL-2.0-only
"""Whether a series makes a case fail more often: a test that may stop after any pair of trials.

A *pair* is one trial with the series and one without.  What is counted are *e-values*:
numbers that under a hypothesis are on average at most 1, however long one goes on, so that one is
ever above 1/a with probability a at most (Ville's inequality).  So one looks after each pair and
stops when it is enough; nothing is corrected for looking.

* Against "fails no more often than without": the mixture, over alternatives, of the likelihood
  ratio to the pooled rate of each pair (Turner, Ly, Grünwald: Generic E-variables for exact
  sequential k-sample tests, 2021).  It is one for all lower rates too: with alternatives p > q and
  pooled rate r, its mean at rates s <= t is (B + s d)(C - t d) <= ((B + C) / 2)^2 = 1, where
  B = (1-p)/(1-r), C = (1-q)/(1-r), B + C = 2.
* Against "fails more often by ``points``": a mixture over what is not so, divided by the likelihood
  of the best fit that is (universal inference: Wasserman, Ramdas, Balakrishnan, 2020).

Pairs are taken as independent.  A guest's clock and the host's load are not, over hours; trials
that alternate share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.judge.rates import RATES, log, times
from orchestrator.model.judging import Decision, ErrorRates


@dataclass(frozen=True)
class Decided:
    """A decision after ``pairs`` pairs.

    In ``failed`` of them the case failed with the series, in ``failed_base`` without it.
    """

    decision: Decision
    pairs: int
    failed: int
    failed_base: int


# The likeliest by far: it fails with the series and never without.
_CLEAR = 0.5


def decide(
    pairs: Iterable[tuple[bool, bool]],
    rates: ErrorRates = ErrorRates(),  # noqa: B008 (frozen)
    *,
    deterministic: bool = False,
) -> Decided:
    """What pairs of trials show, at the first pair that decides.

    :param pairs: whether the case failed with the series, and without it, in their order.
    :param deterministic: whether the case is known to come to the same each time.  The first pair
        decides then where it differs; the error rates are those of that knowledge.
    """
    both = only = base = none = 0
    for failed, failed_base in pairs:
        if deterministic and failed != failed_base and not (both + only + base + none):
            decision = Decision.REGRESSION if failed else Decision.BETTER
            return Decided(decision, 1, int(failed), int(failed_base))
        both += failed and failed_base
        only += failed and not failed_base
        base += failed_base and not failed
        none += not (failed or failed_base)
        decision = _after(both, only, base, none, rates)
        if decision is not Decision.UNDECIDED:
            break
    else:
        decision = Decision.UNDECIDED
    return Decided(decision, both + only + base + none, both + only, both + base)


def _after(both: int, only: int, base: int, none: int, rates: ErrorRates) -> Decision:
    more = math.log(1 / rates.false_regressions)
    if _worse(both, only, base, none) >= more:
        return Decision.REGRESSION
    if _worse(both, base, only, none) >= more:
        return Decision.BETTER
    count, failed, failed_base = both + only + base + none, both + only, both + base
    if _harmless(count, failed, failed_base, rates.points) < math.log(1 / rates.missed):
        return Decision.UNDECIDED
    if not failed and not failed_base:
        return Decision.NEITHER
    if failed == failed_base == count:
        return Decision.BOTH
    return Decision.FLAKY if failed and failed_base else Decision.HARMLESS


@lru_cache(maxsize=1 << 16)
def _worse(both: int, only: int, base: int, none: int) -> float:
    """Logarithm of the e-value against "fails no more often with the series"."""
    return _log_sum(
        weight + times(both, in_both) + times(only, in_only) + times(base, in_base)
        + times(none, in_none)
        for weight, (in_both, in_only, in_base, in_none) in _alternatives()
    )  # fmt: skip


@lru_cache(maxsize=1)
def _alternatives() -> tuple[tuple[float, tuple[float, float, float, float]], ...]:
    """Pairs of rates, the one with the series higher: log weight, and what a pair multiplies by.

    That is the logarithm, for a pair in which it failed with both, with it only, without it only,
    with neither.
    """
    others = [(p, q) for p in RATES for q in RATES if p > q and (p, q) != (1.0, 0.0)]
    share = (1 - _CLEAR) / len(others)
    weighed = [((1.0, 0.0), _CLEAR), *((pair, share) for pair in others)]
    found = []
    for (p, q), weight in weighed:
        pooled = (p + q) / 2
        apart = pooled * (1 - pooled)
        ratios = (
            log(p * q / pooled**2),
            log(p * (1 - q) / apart),
            log((1 - p) * q / apart),
            log((1 - p) * (1 - q) / (1 - pooled) ** 2),
        )
        found.append((math.log(weight), ratios))
    return tuple(found)


@lru_cache(maxsize=1 << 16)
def _harmless(count: int, failed: int, failed_base: int, points: float) -> float:
    """Logarithm of the e-value against "fails more often by ``points`` or more"."""
    if failed - failed_base >= points * count:
        return 0.0  # what fits best is in the hypothesis: nothing speaks against it
    likely = _log_sum(
        weight + _log_likelihood(count, failed, p) + _log_likelihood(count, failed_base, q)
        for (p, q), weight in _harmless_rates(points)
    )
    return likely - _best_fit(count, failed, failed_base, points)


@lru_cache(maxsize=8)
def _harmless_rates(points: float) -> tuple[tuple[tuple[float, float], float], ...]:
    """Pairs of rates less than ``points`` apart, or lower with the series, and their log weights.

    Half of the weight is for rates that are the same: of those the two ends count double.
    """
    near = [(p, q) for p in RATES for q in RATES if p - q < points]
    same = [(p, q) for p, q in near if p == q]
    share = 0.5 / (len(same) + 2)
    weights = {pair: 0.5 / (len(near) - len(same)) for pair in near if pair not in same}
    weights |= {(p, q): share * (2 if p in (0.0, 1.0) else 1) for p, q in same}
    return tuple((pair, math.log(weight)) for pair, weight in weights.items())


def _best_fit(count: int, failed: int, failed_base: int, points: float) -> float:
    """The highest log likelihood where the rates differ by ``points`` or more, and seem not to."""

    def along(rate: float) -> float:
        return _log_likelihood(count, failed, rate + points) + _log_likelihood(
            count, failed_base, rate
        )

    # On the edge of that region, along which the likelihood has one peak.
    low, high = 0.0, 1.0 - points
    for _ in range(45):
        third = (high - low) / 3
        if along(low + third) < along(high - third):
            low += third
        else:
            high -= third
    return max(along(low), along(high), along((low + high) / 2))


def _log_likelihood(count: int, failed: int, rate: float) -> float:
    return times(failed, log(rate)) + times(count - failed, log(1 - rate))


def _log_sum(terms: Iterable[float]) -> float:
    """The logarithm of the sum of what the terms are logarithms of."""
    known = [term for term in terms if term > -math.inf]
    if not known:
        return -math.inf
    most = max(known)
    return most + math.log(sum(math.exp(term - most) for term in known))
