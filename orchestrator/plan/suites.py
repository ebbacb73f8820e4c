# SPDX-License-Identifier: GPL-2.0-only
"""KUnit's suites as workloads.  Pure.

A family whose manifest says ``kunit: true`` is a table of suites: a workload is called as its suite
is, the manifest says what it needs, how long it may take and what it prints on purpose.  A suite
that no manifest names may be asked for all the same; whether a kernel has it is known in the guest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.model.spec import MessageRules, WorkloadSpec


def named_suite(pattern: str, workloads: Iterable[WorkloadSpec]) -> WorkloadSpec | None:
    """The workload of a suite that no manifest names; None where ``pattern`` means no such one.

    :param pattern: ``FAMILY/SUITE`` of a family of suites; a glob means suites of the manifest.
    """
    family, _, suite = pattern.partition("/")
    mine = [spec for spec in workloads if spec.kunit and spec.family == family]
    strange = not suite or any(sign in suite for sign in "*?[/") or not suite.isprintable()
    if not mine or strange or any(spec.name == pattern for spec in mine):
        return None
    return replace(
        mine[0],
        name=pattern,
        args=(suite,),
        description=f"The KUnit suite {suite}, which no table has",
        needs=("root",),
        timeout=max(spec.timeout for spec in mine),
        messages=MessageRules(),
        where="",
    )
