# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab plan`` says of sources that were never built here: how long that took others."""

from __future__ import annotations

import os

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.build.times import about, known
from orchestrator.kernel.source.slots import own_slot
from orchestrator.model.spec import Plan
from orchestrator.plan.show import table

_HEAD = ("FIRST BUILD OF ITS SOURCE", "NEAR WHAT WAS BUILT", "FAR FROM IT")


def first_builds(plan: Plan, cache: Cache) -> str:
    """A table of the builds whose source was never built on this machine; empty without any.

    How near a source is to one that was built is known only once it was read, which a plan does
    not do.  Where nothing was measured nothing is told.
    """
    rows = []
    for build in plan.builds:
        own = own_slot(build.kernel.source)
        seen = known(build.config.name, build.arch, os.cpu_count() or 1, cache)
        if own and own not in seen.sources and (seen.everything or seen.little):
            times = (about(s) if s else "not known" for s in (seen.little, seen.everything))
            rows.append((build.id, *times))
    return table([_HEAD, *rows]) if rows else ""
