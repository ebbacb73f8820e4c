# SPDX-License-Identifier: GPL-2.0-only
"""The order of the stages, once: workloads, then a kernel, its builds, their cells, capsules.

Everybody who runs anything asks here: a run, a rerun's trials, a shell, a debugger.  So a rerun, as
a run, tells what was not promised, keeps build log and .config, finds the lines of traces, and
leaves capsules.  :class:`Stages` is the order as effects that can be handed in: an engine that
carries out a plan takes one, and a test hands in its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from orchestrator import HOME
from orchestrator.host.cache.files import Cache
from orchestrator.host.ending import ended_by
from orchestrator.judge.outcome import apply_reason
from orchestrator.judge.own_selftests import selftest_files
from orchestrator.judge.tested import sentence
from orchestrator.kernel.build import kconfig, make, times
from orchestrator.kernel.build.request import BuildRequest, build_request
from orchestrator.kernel.build.start import choose
from orchestrator.kernel.series import apply, load
from orchestrator.kernel.series.added import placed_hunks
from orchestrator.kernel.source import fetch, nearest, worktree
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, Interrupted
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import CONFIG, Verdict
from orchestrator.model.results import BuildRecord, CellRecord, KernelRecord, RunResult
from orchestrator.model.spec import Build, Cell, KernelSpec, Plan
from orchestrator.plan.capabilities import unpromised
from orchestrator.plan.selftests import collections, expand
from orchestrator.report.text import bent_lines
from orchestrator.results.runs import cell_folder
from orchestrator.runner import capsule, cell, coverage, host_cell, symbolize
from orchestrator.runner.collector import CellLog
from orchestrator.runner.context import TESTED, Context, Event, Kernel
from orchestrator.runner.standing import Once, standing
from orchestrator.workload import programs, selftests
from orchestrator.workload.selftest_make import Repair

FETCH_DEADLINE = 1800.0
BUILD_DEADLINE = 7200.0
_BENT_SHOWN = 20


# ---------------------------------------------------------------- before any kernel


def compile_workloads(cells: Iterable[Cell], cache: Cache) -> None:
    """Compile what the cells run: one that does not compile is told before a kernel is built.

    :raises UserError: with the compiler's first error.
    """
    found = tuple(one for one in cells if not one.on_host)
    for arch in dict.fromkeys(one.build.arch for one in found):
        here = (one for one in found if one.build.arch == arch)
        specs = tuple(dict.fromkeys(spec for one in here for spec in one.workloads))
        if specs:
            programs.compile_all(specs, programs.library_folder(specs), ARCHES[arch], cache)


# ---------------------------------------------------------------- a kernel


def prepare_kernel(spec: KernelSpec, context: Context) -> Kernel:
    """Fetch the source and apply the series.

    :raises UserError: when the source or the series cannot be read.
    :raises HostError: when a download or the disk fails.
    """

    def tell(text: str) -> None:
        context.listener(Event("kernel", spec.name, "fetch", text))

    series = load.load_series(spec.series) if spec.series else None
    patches = load.beginning(series, spec.patches) if series else None
    base_commit = patches.base_commit if patches else ""
    base = fetch.fetch_base(spec, context.cache, tell, FETCH_DEADLINE, base_commit)
    tree = apply.apply_series(base, patches, spec, context.cache)
    if patches and tree.failure is None:
        tree = replace(tree, hunks=placed_hunks(patches.patches, tree.tree, context.cache))
    bent = bent_lines(tree.patches)
    more = (f"... and {len(bent) - _BENT_SHOWN} hunks more",) if len(bent) > _BENT_SHOWN else ()
    for line in (*bent[:_BENT_SHOWN], *more):
        context.listener(Event("kernel", spec.name, "apply", line))
    if context.values.known is not None:
        tree = nearest.set_beside(tree, base, context.values.known, context.cache)
        record = record_kernel(Kernel(tree, base.slot, base.source), spec)
        context.listener(Event("kernel", spec.name, TESTED, record.tested.sentence))
    text, found = f"{base.source} ({tree.version})", None
    if tree.failure:
        text, found = apply_reason(tree.failure), Verdict.FAIL
    context.listener(Event("kernel", spec.name, "done", text, verdict=found, version=tree.version))
    return Kernel(tree, base.slot, base.source)


def record_kernel(kernel: Kernel, spec: KernelSpec) -> KernelRecord:
    """What a run's record says of a kernel that was prepared."""
    tree = kernel.tree
    record = KernelRecord(
        name=spec.name,
        source=kernel.source,
        version=tree.version,
        series=tree.patches,
        series_digest=tree.series_digest,
        notes=(*tree.notes, *unpromised(spec)),
        failure=tree.failure,
        series_origin=spec.series or "",
        tested=tree.tested,
        apply=spec.apply,
        selftests=selftest_files(tree.touched_files),
        tree="" if tree.failure else tree.tree,
        patches=spec.patches,
        prefix_of=spec.prefix_of,
        hunks=tree.hunks,
    )
    return replace(record, tested=replace(tree.tested, sentence=sentence(record)))


# ---------------------------------------------------------------- a build


def find_build(wanted: Build, kernel: Kernel, context: Context) -> BuildResult | None:
    """What an earlier run built, or None."""
    return make.find(_build_request(wanted, kernel, context), context.cache)


def name_build(wanted: Build, kernel: Kernel, context: Context) -> str:
    """What a build is called in any cache: equal ones are made of the same by the same compiler."""
    return _build_request(wanted, kernel, context).identity


def _build_request(wanted: Build, kernel: Kernel, context: Context) -> BuildRequest:
    arch = ARCHES[wanted.arch]
    fragment = context.machine.fragments / f"{arch.name}.config"
    if not fragment.is_file():  # beside lab.yaml may be a fragment or two of the user's, no more
        fragment = HOME / "kernel-configs" / fragment.name
    return build_request(
        wanted, kernel.tree, kernel.slot, arch, fragment, cache=context.cache
    )  # fmt: skip


def build_one(wanted: Build, kernel: Kernel, context: Context) -> BuildResult:
    """Build, or take what another lab has built meanwhile."""
    request = _build_request(wanted, kernel, context)
    kept = make.find(request, context.cache)
    if kept is not None:
        return kept
    began = time.monotonic()

    def tell(share: float, text: str) -> None:
        passed = time.monotonic() - began
        context.listener(Event("build", wanted.id, "compile", text, share, seconds=passed))

    def wait(text: str) -> None:
        context.listener(Event("build", wanted.id, "wait", text))

    def note(text: str) -> None:
        context.listener(Event("build", wanted.id, "config", text))

    start = choose(request, context.cache, wait)
    request = replace(request, slot=start.slot)
    jobs, names = context.values.jobs, (wanted.config.folder, wanted.arch)
    begins = times.tell(start, kernel.slot, times.known(*names, jobs, context.cache))
    context.listener(Event("build", wanted.id, "start", begins))
    tell(0.0, "preparing the sources")
    with (
        worktree.checkout(kernel.tree, start.slot, context.cache, on_wait=wait) as tree,
        ThreadPoolExecutor(1) as beside,
    ):
        intact = beside.submit(worktree.intact, start.slot, context.cache)
        built = make.build_kernel(
            request, tree, context.cache, jobs=jobs, deadline=BUILD_DEADLINE,
            on_progress=tell, on_note=note, intact=intact.result,
        )  # fmt: skip
    if built.verdict is Verdict.PASS and not built.cached:
        taken = times.Taken(
            built.steps, built.seconds, built.cpu_seconds, jobs, everything=not start.total
        )
        with contextlib.suppress(HostError):  # the kernel is there, and that is what counts
            times.remember(*names, kernel.slot, taken, context.cache)
    return built


def record_build(built: BuildResult, context: Context, *, boots: bool = True) -> BuildRecord:
    """What a run's record says of a build; its log and .config are copied into the run's folder.

    :param boots: False where no cell will tell, as its case ``config``, of a symbol that did not
        take: then it fails the build.
    :raises OSError: when they cannot be copied.
    """
    build = built.build
    where = f"builds/{cell_folder(build.id).partition('/')[2]}"
    folder = context.folder / where
    folder.mkdir(parents=True, exist_ok=True)
    kept = {}
    for name, path in (("build.log", built.log), ("config", built.kernel_config)):
        if path and path.exists():
            (folder / name).write_bytes(path.read_bytes())
            kept[name] = f"{where}/{name}"
    found, reason = built.verdict, built.reason
    if not boots and found is Verdict.PASS and built.mismatches:
        found, reason = Verdict.FAIL, "; ".join(map(kconfig.tell, built.mismatches))
    return BuildRecord(
        id=build.id,
        kernel=build.kernel.name,
        config=build.config.name,
        arch=build.arch,
        verdict=found,
        reason=reason,
        seconds=built.seconds,
        cached=built.cached,
        image_sha256=built.image_sha256,
        command=built.command,
        log=kept.get("build.log", ""),
        kernel_config=kept.get("config", ""),
        cpu_seconds=built.cpu_seconds,
        errors=built.errors,
        new_warnings=built.new_warnings,
        mismatches=built.mismatches,
        notes=built.notes,
        toolchain=str(build.config.toolchain),
        compiler=built.compiler,
    )


# ---------------------------------------------------------------- a cell


@dataclass(frozen=True)
class Ran:
    """A cell's record, and the cell as it ran: with its selftests, each a workload of its own."""

    record: CellRecord
    cell: Cell


def expand_cell(wanted: Cell, kernel: Kernel, context: Context) -> Cell:
    """``wanted`` with the programs of the selftest collections that it is to run, built.

    :raises HostError: when the host cannot build them.
    """

    def tell(text: str) -> None:
        context.listener(Event("cell", wanted.id, "selftests", text))

    built = {
        spec.collection: selftests.build_selftests(
            kernel.tree, spec.collection, ARCHES[wanted.build.arch], context.cache,
            jobs=min(context.values.jobs, wanted.shape.cpus), tell=tell,
            repairs=[Repair(run.program, run.repair) for run in spec.runs if run.repair],
        )
        for spec in collections(wanted)
    }  # fmt: skip
    return expand(wanted, built) if built else wanted


def run_cell(wanted: Cell, built: BuildResult, kernel: Kernel, context: Context) -> Ran:
    """Build its selftests, boot, run and judge its workloads, and look up the lines of its traces.

    :raises HostError: when the host cannot run a guest at all, or build what runs in it.
    :raises Interrupted: when the run was stopped before anything was known of the cell.
    """
    with ended_by(context.ending):
        whole = expand_cell(wanted, kernel, context)
    record = cell.run_cell(whole, built, context)
    names = [spec.name for spec in whole.workloads]
    return Ran(looked_up(record, names, built, kernel, context), whole)


def looked_up(
    record: CellRecord, names: Iterable[str], built: BuildResult, kernel: Kernel, context: Context
) -> CellRecord:
    """A cell's record with what of the kernel its workloads ran, and the lines of its traces."""
    try:
        record = coverage.with_coverage(record, names, built, kernel, context)
        return symbolize.with_lines(record, built, kernel, context)
    except Interrupted:
        # The lab is being stopped: what was found stays found.
        told = "stopped before the source lines of its traces were looked up"
        return replace(record, notes=(*record.notes, told))


def run_on_host(wanted: Cell, kernel: Kernel, context: Context) -> Ran:
    """Build the host tests of a kernel's tree, run each on this machine and judge it.

    :raises HostError: when the host cannot build or start them.
    """
    return Ran(host_cell.run_host_cell(wanted, kernel, context), wanted)


def record_unbooted(
    wanted: Cell, found: Verdict, reason: str, context: Context, built: BuildResult | None = None
) -> CellRecord:
    """What a run's record says of a cell that had no guest.

    :param built: its build, where there is one: that a symbol did not take is known without a
        guest, and is the cell's case ``config`` as with one.
    """
    told = CellLog(wanted, context)
    if built is not None and built.mismatches:
        told.case(CONFIG, CONFIG, Verdict.FAIL, "; ".join(map(kconfig.tell, built.mismatches)))
    build = wanted.build
    return CellRecord(
        wanted.id, build.kernel.name, build.config.name, build.arch, wanted.shape.name, "", found,
        0.0, told.in_order(), notes=(reason,),
    )  # fmt: skip


def leave_capsules(plan: Plan, run: RunResult, ran: Iterable[Cell], context: Context) -> RunResult:
    """Leave a capsule for each workload that failed.

    :param ran: the plan's cells as they ran.
    """
    as_ran = {one.id: one for one in ran}
    cells = tuple(as_ran.get(one.id, one) for one in plan.cells)
    return capsule.leave_capsules(replace(plan, cells=cells), run, context.folder, context.cache)


# ---------------------------------------------------------------- as effects


@dataclass(frozen=True)
class Stages:
    """The stages that an engine carries out; picklable, as each is a function of this module."""

    compile: Callable[[Iterable[Cell], Cache], None] = compile_workloads
    prepare: Callable[[KernelSpec, Context], Kernel] = prepare_kernel
    find: Callable[[Build, Kernel, Context], BuildResult | None] = find_build
    build: Callable[[Build, Kernel, Context], BuildResult] = build_one
    run: Callable[[Cell, BuildResult, Kernel, Context], Ran] = run_cell
    host: Callable[[Cell, Kernel, Context], Ran] = run_on_host
    again: Callable[[Cell, BuildResult, Context], AbstractContextManager[Once]] = standing
    name: Callable[[Build, Kernel, Context], str] = name_build
