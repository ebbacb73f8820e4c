# SPDX-License-Identifier: GPL-2.0-only
"""A plan in the order of what is likeliest to fail, by the history of its lab.yaml."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import LabError
from orchestrator.model.names import CellId
from orchestrator.model.signs import Signs
from orchestrator.model.spec import Plan
from orchestrator.plan.first import Known, with_signs, with_turns
from orchestrator.runner.context import Places


def likeliest_first(plan: Plan, places: Places, *, base_beside: bool = False) -> Plan:
    """The plan with what is known of its workloads, and the order of its cells by that.

    :param base_beside: as of :func:`.first.with_turns`.
    """
    return with_turns(knowing(plan, places), base_beside=base_beside)


def knowing(plan: Plan, places: Places) -> Plan:
    """The plan with what is known of its workloads; its cells stay in their order.

    A history that cannot be read is no reason to stop, nor is a series that the run will refuse.
    """
    from orchestrator.results.signs import signs

    kernels = {cell.build.kernel.name for cell in plan.cells}
    known: dict[tuple[str, str], Signs] = {}
    with contextlib.suppress(LabError):
        known.update(signs(places.history, kernels))
    with contextlib.suppress(LabError):
        known.update(_touches(plan, known, places.cache))
    return with_signs(plan, known) if known else plan


def _touches(plan: Plan, known: Known, cache: Cache) -> dict[tuple[str, str], Signs]:
    """What is known of the workloads that run what the series of a plan change."""
    from orchestrator.judge.coverage_map import of_series, touching
    from orchestrator.kernel.series.changed import changes
    from orchestrator.kernel.series.load import load_series
    from orchestrator.runner import coverage_map

    kernels = (cell.build.kernel for cell in plan.cells)
    series = dict.fromkeys(kernel.series for kernel in kernels if kernel.series)
    reaches = coverage_map.known(cache) if series else ()
    if not reaches:
        return {}
    patches = (patch for one in series for patch in load_series(one).patches)
    asked = of_series(changes(patches), coverage_map.counted(cache))
    arches = dict.fromkeys(cell.build.arch for cell in plan.cells)
    # What was counted on the other architecture is better than nothing.
    by_arch = {
        arch: touching([one for one in reaches if one.arch == arch] or reaches, asked)
        for arch in arches
    }
    found = {}
    for cell in plan.cells:
        for runs in by_arch[cell.build.arch]:
            key = (CellId.parse(cell.id).place, runs.workload)
            found[key] = replace(known.get(key, Signs()), touches=runs.functions)
    return found
