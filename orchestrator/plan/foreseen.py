# SPDX-License-Identifier: GPL-2.0-only
"""Whether lab.yaml speaks of a case's failure before anything has run.  Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from orchestrator.model.names import CellId, is_named
from orchestrator.model.spec import LabConfig


def foresees(config: LabConfig, place: CellId, workload: str, case: str) -> bool:
    """Whether an ``expect:`` or a ``known_issues:`` entry may mean this case, by its names.

    Of any shape; which reason it asks for, and in which versions it is known, shows only later.
    """
    expected = any(
        fnmatchcase(place.kernel, one.kernel)
        and fnmatchcase(place.config, one.config)
        and fnmatchcase(f"{workload}:{case}", one.case)
        for one in config.expectations
    )
    return expected or any(
        fnmatchcase(place.kernel, one.kernel)
        and fnmatchcase(place.config, one.config)
        and fnmatchcase(place.arch, one.arch)
        and is_named(workload, one.workload)
        and fnmatchcase(case, one.case)
        for one in config.known_issues
    )
