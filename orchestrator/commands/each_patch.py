# SPDX-License-Identifier: GPL-2.0-only
"""``--each-patch``: a plan with every beginning of the series that it tests."""

from __future__ import annotations

from orchestrator.model.errors import UserError
from orchestrator.model.spec import Plan
from orchestrator.plan.kernels import STDIN
from orchestrator.plan.prefixes import with_prefixes


def by_patch(plan: Plan, depth: str | None) -> Plan:
    """The plan, with the kernels of each patch where ``depth`` says how far to try them.

    The series are read for it, to know how many patches each has.  That of the baseline stays as it
    is: it is not what is tested.

    :raises UserError: when no kernel under test has a series, or one cannot be read.
    :raises HostError: when what reads it is missing, or cannot reach an archive.
    """
    if depth is None:
        return plan
    from orchestrator.kernel.series.load import load_series

    kernels = dict.fromkeys(
        one.kernel for one in (*plan.builds, *(cell.build for cell in plan.cells))
    )
    lengths = {}
    for kernel in kernels:
        if kernel.series is None or kernel.name == plan.baseline:
            continue
        if kernel.series == STDIN:
            raise UserError(
                "--each-patch reads the series, and a plan does not read standard input",
                "give the series as a file",
            )
        lengths[kernel.name] = len(load_series(kernel.series).patches)
    if not lengths:
        raise UserError("--each-patch: no kernel under test has a series", "add one with --series")
    return with_prefixes(plan, lengths, depth)
