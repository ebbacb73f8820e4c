# SPDX-License-Identifier: GPL-2.0-only
"""``lab run`` and ``lab build``: plan, carry out, store, report."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.commands import record
from orchestrator.commands.workspace import find_places, load
from orchestrator.judge.outcome import summary_of
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_INTERRUPTED, UserError
from orchestrator.model.results import (
    CellRecord,
    Comparison,
    IssueRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import LabConfig, Plan
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.results import runs
from orchestrator.results import store as results
from orchestrator.runner.context import Places
from orchestrator.workload import programs


@dataclass(frozen=True)
class RunOptions:
    """The options of ``lab run`` that are no selection.

    ``baseline`` is a run, a kernel's name or None; ``fail_on`` is ``any``, ``regression`` or None
    (regression where there is a baseline).  ``seed`` is that of the looping workloads (None: a new
    one), ``time_budget`` (s) takes the place of the profile's.
    """

    baseline: str | None = None
    fail_on: str | None = None
    out: Path | None = None
    jobs: int | None = None
    plain: bool = False
    as_json: bool = False
    boot: bool = True
    resume: str | None = None
    seed: int | None = None
    time_budget: float | None = None


def run(selection: Selection, options: RunOptions) -> int:
    """Do a whole run and give its exit status.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    places = find_places()
    config = load(places)
    if options.fail_on == "regression" and options.baseline is None:
        raise UserError(
            "--fail-on regression: without a baseline nothing can be called a regression",
            "name one with --baseline; `--baseline none` says that there is none yet, and any "
            "failure counts",
        )
    base_run, selection = _baseline(places, config, selection, options.baseline)
    plan = make_plan(config, selection, tuple(ARCHES))
    if options.time_budget is not None:
        plan = replace(plan, time_budget=options.time_budget)
    _check_baseline(plan)
    return execute(places, plan, options, base_run)


def command_of(run_name: str) -> list[str]:
    """The words after ``lab run`` that an earlier run was started with.

    :raises UserError: when there is no such run, or another command made it.
    """
    earlier = results.load(runs.find_run(find_places().reports, run_name))
    words = shlex.split(earlier.run.command)
    if words[:2] != ["lab", "run"]:
        raise UserError(
            f"run {earlier.run.id} cannot be resumed: it was made by {earlier.run.command!r}",
            "start it again",
        )
    return words[2:]


def execute(
    places: Places, plan: Plan, options: RunOptions, base_run: RunResult | None = None
) -> int:
    """Carry out a plan, store and report it, and give the exit status."""
    from orchestrator.host.cache.locks import using

    with using(places.cache):
        if options.boot:
            _compile_workloads(places, plan)
        return _execute(places, plan, options, base_run)


def _compile_workloads(places: Places, plan: Plan) -> None:
    """A workload that does not compile is wrong input: told before a kernel is built.

    :raises UserError: with the compiler's first error.
    """

    for arch in dict.fromkeys(cell.build.arch for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.build.arch == arch]
        specs = tuple(dict.fromkeys(spec for cell in cells for spec in cell.workloads))
        if specs:
            library = programs.library_folder(specs)
            programs.compile_all(specs, library, ARCHES[arch], places.cache)


def _execute(places: Places, plan: Plan, options: RunOptions, base_run: RunResult | None) -> int:
    from orchestrator.commands import progress
    from orchestrator.results.runs import keep_shapes
    from orchestrator.runner import local, stages
    from orchestrator.runner.capsule import leave_capsules

    earlier = None
    if options.resume:
        folder = runs.find_run(places.reports, options.resume)
        earlier = results.load(folder)
    else:
        folder = runs.run_folder(places.reports, options.out)
    run_id = earlier.run.id if earlier else runs.run_id(places.reports, folder)
    started = record.now()
    record.log_to(folder / "lab.log")
    keep_shapes(plan, folder)
    places.cache.folder.mkdir(parents=True, exist_ok=True)
    host = record.host(places)
    command = record.command_line()
    baseline = _baseline_name(places, plan, options)

    def result(state: local.Progress, finished: str, status: int) -> RunResult:
        cells = _in_order(plan, state)
        builds = tuple(state.builds.values())
        info = RunInfo(
            run_id, started, finished, command, status, __version__, plan.profile, host, baseline
        )
        kernels, problems = tuple(state.kernels.values()), tuple(state.problems)
        whole = RunResult(info, kernels, builds, cells, Summary(0, 0, 0, 0), problems)
        return replace(whole, summary=summary_of(whole))

    def store(state: local.Progress) -> None:
        # What a lab that is killed leaves must not read as a success.
        results.save(result(state, "", EXIT_INTERRUPTED), folder)

    how = progress.choose(options.plain, options.as_json, sys.stdout)
    began = time.monotonic()
    with progress.listener(plan, how, sys.stdout) as listener:
        settings = stages.Settings(
            cache=places.cache,
            folder=folder,
            fragments=places.fragments,
            # What `lab rerun` finds the run by: elsewhere than below reports/ that is its folder.
            run_name=run_id if folder.parent == places.reports else str(folder),
            jobs=options.jobs or os.cpu_count() or 1,
            listener=listener,
        )
        if options.seed is not None:
            settings = replace(settings, seed=options.seed)
        state = local.carry_out(
            plan, settings, store, cores=options.jobs, boot=options.boot, done=earlier
        )
    issues = _expect(plan, state)
    draft = replace(result(state, record.now(), 0), known_issues=issues)
    if options.boot and not state.interrupted:
        ran = tuple(state.expanded.get(cell.id, cell) for cell in plan.cells)
        draft = leave_capsules(replace(plan, cells=ran), draft, folder, places.cache)
    comparison = _compare(plan, draft, base_run)
    status = _status(draft, state, comparison, options)
    final = replace(draft, run=replace(draft.run, exit_status=status))
    record.finish(places, final, folder, comparison)
    from orchestrator.commands.summary import print_summary
    from orchestrator.host.cache.trim import keep_budget

    keep_budget(places.cache)

    print_summary(final, comparison, folder, time.monotonic() - began, options.as_json)
    return status


# ---------------------------------------------------------------- parts of a run


def _baseline(
    places: Places, config: LabConfig, selection: Selection, name: str | None
) -> tuple[RunResult | None, Selection]:
    """A baseline is a kernel of lab.yaml, run beside the others, or an earlier run."""
    if name is None or name == "none":
        return None, selection
    if any(kernel.name == name for kernel in config.kernels):
        return None, replace(selection, baseline=name)
    try:
        return results.load(runs.find_run(places.reports, name)), selection
    except UserError as error:
        kernels = ", ".join(kernel.name for kernel in config.kernels)
        raise UserError(
            f"--baseline {name}: {error.message}", f"name a run, or one of the kernels {kernels}"
        ) from error


def _check_baseline(plan: Plan) -> None:
    """One kernel is compared with one.

    :raises UserError: when a kernel is the baseline and not exactly one other is to be run.
    """
    if plan.baseline is None:
        return
    others = dict.fromkeys(b.kernel.name for b in plan.builds if b.kernel.name != plan.baseline)
    if len(others) != 1:
        raise UserError(
            f"--baseline {plan.baseline}: a kernel baseline needs exactly one kernel under test, "
            f"not {len(others)}" + (f" ({', '.join(others)})" if others else ""),
            "name it with --kernel, or give an earlier run as the baseline",
        )


def _baseline_name(places: Places, plan: Plan, options: RunOptions) -> str:
    """The baseline as the run's record keeps it, so that its report can be made again."""
    if plan.baseline or options.baseline in (None, "none"):
        return plan.baseline or ""
    folder = runs.find_run(places.reports, str(options.baseline))
    return folder.name if folder.parent == places.reports.resolve() else str(folder)


def _compare(plan: Plan, run: RunResult, base: RunResult | None) -> Comparison | None:
    from orchestrator.judge.compare import compare

    return compare(base, run) if base is not None else compare_kernels(plan, run)


def compare_kernels(plan: Plan, run: RunResult) -> Comparison | None:
    """The kernel under test beside the plan's baseline; None where one of them is missing."""
    from orchestrator.judge.compare import compare

    if plan.baseline is None:
        return None
    others = [entry.name for entry in run.kernels if entry.name != plan.baseline]
    there = any(entry.name == plan.baseline for entry in run.kernels)
    if len(others) != 1 or not there:
        return None
    return compare(run, run, plan.baseline, others[0])


def _status(run: RunResult, state: Any, comparison: Comparison | None, options: RunOptions) -> int:
    from orchestrator.judge.compare import kernel_regressed
    from orchestrator.judge.outcome import exit_status

    fail_on = options.fail_on or ("regression" if comparison else "any")
    regressions = None
    if fail_on == "regression" and comparison is not None:
        regressions = int(kernel_regressed(comparison))
    return exit_status(
        run.cells,
        run.builds,
        run.kernels,
        regressions=regressions,
        interrupted=state.interrupted,
        usage=state.usage,
        host_problem=bool(state.problems),
        need_cases=options.boot,
    )


def _expect(plan: Plan, state: Any) -> tuple[IssueRecord, ...]:
    """Apply ``expect:`` and ``known_issues:`` to each series, build and cell they concern.

    Gives what became of the known issues.
    """
    from orchestrator.judge.known_issues import settle

    found = RunResult(
        RunInfo("", "", "", "", 0, __version__, plan.profile), tuple(state.kernels.values()),
        tuple(state.builds.values()), tuple(state.cells.values()), Summary(0, 0, 0, 0),
    )  # fmt: skip
    found = settle(found, plan.expectations, plan.known_issues)
    state.kernels.update({kernel.name: kernel for kernel in found.kernels})
    state.builds.update({build.id: build for build in found.builds})
    state.cells.update({cell.id: cell for cell in found.cells})
    return found.known_issues


def _in_order(plan: Plan, state: Any) -> tuple[CellRecord, ...]:
    return tuple(state.cells[cell.id] for cell in plan.cells if cell.id in state.cells)


def plan_text(selection: Selection, as_json: bool, baseline: str | None = None) -> str:
    """What ``lab plan`` prints."""
    from orchestrator.plan.show import explain, plan_to_dict

    places = find_places()
    config = load(places)
    if baseline and any(kernel.name == baseline for kernel in config.kernels):
        selection = replace(selection, baseline=baseline)
    plan = make_plan(config, selection, tuple(ARCHES))
    return json.dumps(plan_to_dict(plan), indent=1) if as_json else explain(plan)
