# SPDX-License-Identifier: GPL-2.0-only
"""The order of the stages for one kernel, one build, one cell.  Only this module knows it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from orchestrator.guest.boot import BOOT_DEADLINE
from orchestrator.kernel.build import make
from orchestrator.kernel.build.request import BuildRequest, build_request
from orchestrator.kernel.series import apply, load
from orchestrator.kernel.source import fetch, worktree
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, Cell, KernelSpec
from orchestrator.plan.selftests import collections, expand
from orchestrator.runner.cell import run_cell
from orchestrator.runner.context import Event, Kernel, Settings
from orchestrator.workload import selftests

__all__ = [
    "BOOT_DEADLINE",
    "Kernel",
    "Settings",
    "build_one",
    "expand_cell",
    "find_build",
    "prepare_kernel",
    "run_cell",
]

FETCH_DEADLINE = 1800.0
BUILD_DEADLINE = 7200.0


# ---------------------------------------------------------------- kernel and build


def prepare_kernel(spec: KernelSpec, settings: Settings) -> Kernel:
    """Fetch the source and apply the series.

    :raises UserError: when the source or the series cannot be read.
    :raises HostError: when a download or the disk fails.
    """

    def tell(text: str) -> None:
        settings.listener(Event("kernel", spec.name, "fetch", text))

    patches = load.load_series(spec.series) if spec.series else None
    base_commit = patches.base_commit if patches else ""
    base = fetch.fetch_base(spec, settings.cache, tell, FETCH_DEADLINE, base_commit)
    tree = apply.apply_series(base, patches, spec, settings.cache)
    text, found = f"{base.source} ({tree.version})", None
    if tree.failure:
        text, found = f"patch {tree.failure.n} does not apply: {tree.failure.message}", Verdict.FAIL
    settings.listener(Event("kernel", spec.name, "done", text, verdict=found, version=tree.version))
    return Kernel(tree, base.slot, base.source)


def find_build(wanted: Build, kernel: Kernel, settings: Settings) -> BuildResult | None:
    """What an earlier run built, or None."""
    return make.find(_build_request(wanted, kernel, settings), settings.cache)


def _build_request(wanted: Build, kernel: Kernel, settings: Settings) -> BuildRequest:
    arch = ARCHES[wanted.arch]
    fragment = settings.fragments / f"{arch.name}.config"
    return build_request(wanted, kernel.tree, kernel.slot, arch, fragment)


def expand_cell(cell: Cell, kernel: Kernel, settings: Settings) -> Cell:
    """``cell`` with the programs of the selftest collections that it is to run, built.

    :raises HostError: when the host cannot build them.
    """

    def tell(text: str) -> None:
        settings.listener(Event("cell", cell.id, "selftests", text))

    built = {
        spec.collection: selftests.build_selftests(
            kernel.tree, spec.collection, ARCHES[cell.build.arch], settings.cache,
            jobs=min(settings.jobs, cell.shape.cpus), tell=tell,
            repairs=[selftests.Repair(run.program, run.repair) for run in spec.runs if run.repair],
        )
        for spec in collections(cell)
    }  # fmt: skip
    return expand(cell, built) if built else cell


def build_one(wanted: Build, kernel: Kernel, settings: Settings) -> BuildResult:
    """Build, or take what another lab has built meanwhile."""
    request = _build_request(wanted, kernel, settings)
    kept = make.find(request, settings.cache)
    if kept is not None:
        return kept
    began = time.monotonic()

    def tell(share: float, text: str) -> None:
        passed = time.monotonic() - began
        settings.listener(Event("build", wanted.id, "compile", text, share, seconds=passed))

    def wait(text: str) -> None:
        settings.listener(Event("build", wanted.id, "wait", text))

    tell(0.0, "preparing the sources")
    with (
        worktree.checkout(kernel.tree, kernel.slot, settings.cache, on_wait=wait) as tree,
        ThreadPoolExecutor(1) as beside,
    ):
        intact = beside.submit(worktree.intact, kernel.slot, settings.cache)
        return make.build_kernel(
            request, tree, settings.cache,
            jobs=settings.jobs, deadline=BUILD_DEADLINE, on_progress=tell, intact=intact.result,
        )  # fmt: skip
