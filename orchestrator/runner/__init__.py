# SPDX-License-Identifier: GPL-2.0-only
"""The order of the stages, once, and who carries it out; what a Python program calls.

``run_plan`` is a whole ``lab run`` without a command line, ``run_trials`` a ``lab rerun``.  They
are imported when they are asked for: a command that runs nothing does not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from orchestrator.runner.context import Event, Places

if TYPE_CHECKING:
    from orchestrator.runner.run import Baseline, Done, RunOptions, run_plan
    from orchestrator.runner.trials import Answered, run_trials

__all__ = [
    "Answered",
    "Baseline",
    "Done",
    "Event",
    "Places",
    "RunOptions",
    "run_plan",
    "run_trials",
]

_WHERE = {
    "Answered": "trials",
    "Baseline": "run",
    "Done": "run",
    "RunOptions": "run",
    "run_plan": "run",
    "run_trials": "trials",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
