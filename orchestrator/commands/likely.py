# SPDX-License-Identifier: GPL-2.0-only
"""A plan in the order of what is likeliest to fail, by the history of its lab.yaml."""

from __future__ import annotations

import contextlib

from orchestrator.model.errors import LabError
from orchestrator.model.spec import Plan
from orchestrator.plan.first import with_signs, with_turns
from orchestrator.runner.context import Places


def likeliest_first(plan: Plan, places: Places, *, base_beside: bool = False) -> Plan:
    """The plan with what is known of its workloads, and the order of its cells by that.

    :param base_beside: as of :func:`.first.with_turns`.
    """
    return with_turns(knowing(plan, places), base_beside=base_beside)


def knowing(plan: Plan, places: Places) -> Plan:
    """The plan with what is known of its workloads; its cells stay in their order.

    A history that cannot be read is no reason to stop.
    """
    from orchestrator.results.signs import signs

    kernels = {cell.build.kernel.name for cell in plan.cells}
    with contextlib.suppress(LabError):
        return with_signs(plan, signs(places.history, kernels))
    return plan
