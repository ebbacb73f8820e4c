# SPDX-License-Identifier: GPL-2.0-only
"""Failures that lab.yaml, or a table of tests, speaks of before anything has run.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.model.names import CellId, is_named
from orchestrator.model.spec import Cell, Expectation, KnownIssue, LabConfig, WorkloadSpec
from orchestrator.plan.capabilities import may_skip
from orchestrator.plan.selftests import named


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


def expected(
    expectation: Expectation, cells: Sequence[Cell], defined: Sequence[WorkloadSpec]
) -> tuple[Expectation, ...]:
    """``expectation``, kept to the kernels and configs of the plan that can meet it.

    Where its workloads were not selected, or may honestly skip, it would look vanished.
    """
    pattern = expectation.workload
    # A pattern that no workload has speaks of a synthetic case: build, boot, kernel.
    known = any(is_named(w.name, pattern) for w in defined) or named(pattern, defined) is not None
    synthetic = not known
    able: dict[tuple[str, str], bool] = {}
    for cell in cells:
        kernel, config = cell.build.kernel.name, cell.build.config.name
        if fnmatchcase(kernel, expectation.kernel) and fnmatchcase(config, expectation.config):
            runs = synthetic or any(
                (is_named(w.name, pattern) or pattern.startswith(f"{w.name}/"))
                and not (w.exercises and may_skip(cell, w))
                for w in cell.workloads
            )
            able[kernel, config] = able.get((kernel, config), False) or runs
    if able and all(able.values()):
        return (expectation,)
    return tuple(
        replace(expectation, kernel=kernel, config=config)
        for (kernel, config), runs in able.items()
        if runs
    )


def known_failures(cells: Sequence[Cell]) -> tuple[KnownIssue, ...]:
    """What the tables of the selftests and host tests in a plan know."""
    tables = (spec for cell in cells for w in cell.workloads for spec in (w.selftests, w.host))
    return tuple(dict.fromkeys(issue for spec in tables if spec for issue in spec.known))
