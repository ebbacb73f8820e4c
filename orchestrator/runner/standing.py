# SPDX-License-Identifier: GPL-2.0-only
"""A guest that was booted once and stands ready: each trial of a workload gets a fresh copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from orchestrator.guest import boot, snapshot
from orchestrator.guest.ssh import SshLost
from orchestrator.host.cache.scratch import scratch
from orchestrator.host.memory import memory_for
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.runner.cell import CellRun
from orchestrator.runner.context import Context

#: Runs a workload once in a copy, what is left going into a context's folder; gives its cases.
Once = Callable[[WorkloadSpec, Context], tuple[CaseResult, ...]]


@contextlib.contextmanager
def standing(cell: Cell, built: BuildResult, context: Context) -> Iterator[Once]:
    """Boot a cell's guest and keep it as a snapshot for the length of a with block.

    :raises HostError: when there is no memory for it, or it does not boot, or cannot be kept.
    """
    if not memory_for(cell.shape.memory_mib):
        raise HostError(f"no memory for another guest of {cell.shape.memory_mib} MiB")
    first = CellRun(cell, built, context)
    root, archive = first.prepare()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch(context.cache))
        request = stack.enter_context(snapshot.memory_files(first.request(folder, root)))
        try:
            with boot.booted(request) as machine:
                first.get_ready(machine, archive)
                kept = snapshot.take(machine)
        except (boot.BootFailed, SshLost) as error:
            raise HostError(f"its guest did not come up again: {error}") from error

        def once(spec: WorkloadSpec, at: Context) -> tuple[CaseResult, ...]:
            run = CellRun(replace(cell, workloads=(spec,)), built, at)
            run.inside.guest = first.inside.guest
            run.folder.mkdir(parents=True, exist_ok=True)
            if not run.inside.unmet(spec):
                # Once more where the guest was lost without a word: the second time it is told.
                while run.in_copy(kept, spec):
                    pass
            return run.log.in_order()

        yield once
