# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab plan`` says of this machine: what a run would stop at, how long first builds took."""

from __future__ import annotations

import os
from collections.abc import Iterator

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.place import check_path
from orchestrator.kernel.build.times import about, known
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import LabError, UserError
from orchestrator.model.spec import Plan
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN
from orchestrator.plan.show import table

_HEAD = ("FIRST BUILD OF ITS SOURCE", "NEAR WHAT WAS BUILT", "FAR FROM IT")


def first_builds(plan: Plan, cache: Cache) -> str:
    """A table of the builds whose source was never built on this machine; empty without any.

    How near a source is to one that was built is known only once it was read, which a plan does
    not do.  Where nothing was measured nothing is told.
    """
    rows = []
    for build in plan.builds:
        if build.kernel.prefix_of:  # built right before the whole, in the same folder
            continue
        own = own_slot(build.kernel.source)
        seen = known(build.config.name, build.arch, os.cpu_count() or 1, cache)
        if own and own not in seen.sources and (seen.everything or seen.little):
            times = (about(s) if s else "not known" for s in (seen.little, seen.everything))
            rows.append((build.id, *times))
    return table([_HEAD, *rows]) if rows else ""


def notes(plan: Plan, cache: Cache) -> list[str]:
    """What ``lab run`` would stop at on this machine, in lines: a plan is made without it too."""
    told = []
    for error in _lacking(plan, cache):
        told += [f"note: lab run would stop here: {error.message}", f"      {error.hint}"]
    return told


def _lacking(plan: Plan, cache: Cache) -> Iterator[LabError]:
    try:
        check_path(cache.folder)
    except UserError as error:
        yield error
    asked = dict.fromkeys((build.config.toolchain, build.arch) for build in plan.builds)
    for toolchain, arch in asked:
        if toolchain != DEFAULT_TOOLCHAIN:
            from orchestrator.kernel.build.request import toolchain_problem  # most plans need none

            if (problem := toolchain_problem(toolchain, ARCHES[arch])) is not None:
                yield problem
