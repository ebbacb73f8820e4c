# SPDX-License-Identifier: GPL-2.0-only
"""Read ``judging:`` of lab.yaml: how sure a regression is to be."""

from __future__ import annotations

from orchestrator.model.judging import ErrorRates, Judging
from orchestrator.plan.yaml_reader import View

_PERCENT = 100.0


def read_judging(view: View) -> Judging:
    """The error rates and the most pairs of trials; the defaults where the file says nothing.

    The schema has told what is no percentage.
    """
    rates = ErrorRates()
    return Judging(
        ErrorRates(
            _share(view, "false_regressions", rates.false_regressions),
            _share(view, "missed", rates.missed),
            view.integer("points", round(rates.points * _PERCENT)) / _PERCENT,
        ),
        view.integer("trials", Judging.trials),
    )


def _share(view: View, key: str, default: float) -> float:
    text = (view.text(key) or "").removesuffix("%")
    try:
        return float(text) / _PERCENT
    except ValueError:
        return default
