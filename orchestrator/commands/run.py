# SPDX-License-Identifier: GPL-2.0-only
"""``lab run``, ``lab build`` and ``lab rerun``: plan, carry out, store, report."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator import __version__, results
from orchestrator.arch import ARCHES
from orchestrator.cases import cases_of, summary_of
from orchestrator.commands.places import Places, find_places, load
from orchestrator.errors import EXIT_INTERRUPTED, HostError, UserError
from orchestrator.model import (
    CaseResult,
    CellRecord,
    Comparison,
    LabConfig,
    Plan,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.plan import Selection, make_plan


@dataclass(frozen=True)
class RunOptions:
    """The options of ``lab run`` that are no selection.

    ``baseline`` is a run, a kernel's name or None; ``fail_on`` is ``any``, ``regression`` or None
    (regression where there is a baseline).
    """

    baseline: str | None = None
    fail_on: str | None = None
    out: Path | None = None
    jobs: int | None = None
    plain: bool = False
    as_json: bool = False
    boot: bool = True
    resume: str | None = None


def run(selection: Selection, options: RunOptions) -> int:
    """Do a whole run and give its exit status.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    places = find_places()
    config = load(places)
    base_run, selection = _baseline(places, config, selection, options.baseline)
    plan = make_plan(config, selection, tuple(ARCHES))
    _check_baseline(plan)
    return execute(places, plan, options, base_run)


def command_of(run_name: str) -> list[str]:
    """The words after ``lab run`` that an earlier run was started with.

    :raises UserError: when there is no such run, or another command made it.
    """
    earlier = results.load(results.find_run(find_places().reports, run_name))
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
    from orchestrator.cacheuse import using

    with using(places.cache):
        if options.boot:
            _compile_workloads(places, plan)
        return _execute(places, plan, options, base_run)


def _compile_workloads(places: Places, plan: Plan) -> None:
    """A workload that does not compile is wrong input: told before a kernel is built.

    :raises UserError: with the compiler's first error.
    """
    from orchestrator import workload

    for arch in dict.fromkeys(cell.build.arch for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.build.arch == arch]
        specs = tuple(dict.fromkeys(spec for cell in cells for spec in cell.workloads))
        if specs:
            library = workload.library_folder(specs)
            workload.compile_all(specs, library, ARCHES[arch], places.cache)


def _execute(places: Places, plan: Plan, options: RunOptions, base_run: RunResult | None) -> int:
    from orchestrator import executor, progress
    from orchestrator import run as stages

    earlier = None
    if options.resume:
        folder = results.find_run(places.reports, options.resume)
        earlier = results.load(folder)
    else:
        folder = _run_folder(places, options)
    run_id = earlier.run.id if earlier else _run_id(places, folder)
    started = _now()
    _log_to(folder / "lab.log")
    places.cache.mkdir(parents=True, exist_ok=True)
    host = _host(places)
    command = _command_line()
    baseline = _baseline_name(places, plan, options)

    def result(state: executor.Progress, finished: str, status: int) -> RunResult:
        cells = _in_order(plan, state)
        builds = tuple(state.builds.values())
        info = RunInfo(
            run_id, started, finished, command, status, __version__, plan.profile, host, baseline
        )
        kernels, problems = tuple(state.kernels.values()), tuple(state.problems)
        whole = RunResult(info, kernels, builds, cells, Summary(0, 0, 0, 0), problems)
        return replace(whole, summary=summary_of(whole))

    def store(state: executor.Progress) -> None:
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
        state = executor.carry_out(
            plan, settings, store, cores=options.jobs, boot=options.boot, done=earlier
        )
    _expect(plan, state)
    draft = result(state, _now(), 0)
    comparison = _compare(plan, draft, base_run)
    status = _status(draft, state, comparison, options)
    final = replace(draft, run=replace(draft.run, exit_status=status))
    write_reports(final, folder, comparison)
    if folder.parent == places.reports:
        results.update_latest(places.reports, folder)
    from orchestrator import history

    history.record(places.history, final, folder)
    from orchestrator.commands.summary import print_summary
    from orchestrator.trim import keep_budget

    keep_budget(places.cache)

    print_summary(final, comparison, folder, time.monotonic() - began, options.as_json)
    return status


def write_reports(run: RunResult, folder: Path, comparison: Comparison | None) -> None:
    """Write results.json, junit.xml and index.html into a run's folder."""
    from orchestrator.report import html, junit

    results.save(run, folder)
    (folder / "junit.xml").write_text(junit.render(run, comparison), encoding="utf-8")
    (folder / "index.html").write_text(html.render(run, folder, comparison), encoding="utf-8")


# ---------------------------------------------------------------- rerun


def rerun(run_name: str, case_id: str, options: RunOptions, on: str | None = None) -> int:
    """Run the workload of one case again: same kernel, config, architecture, shape.

    :param on: the name of another kernel of lab.yaml to run it on.
    :raises UserError: when the run or the case is unknown.
    """
    places = find_places()
    config = load(places)
    earlier = results.load(results.find_run(places.reports, run_name))
    case = _find_case(earlier, case_id)
    place = case.id.split(":", 1)[0]
    kernel, config_name, arch, shape = place.split("/")
    record = next((entry for entry in earlier.kernels if entry.name == kernel), None)
    known = any(entry.name == kernel for entry in config.kernels)
    stage = case.workload not in {spec.name for spec in config.workloads}
    selection = Selection(
        arches=() if arch == "-" else (arch,),
        configs=() if config_name == "-" else (config_name,),
        shapes=() if shape == "-" else (shape,),
        workloads=() if stage else (case.workload,),
    )
    if on:
        selection = replace(selection, kernels=(on,))
    elif known:
        selection = replace(selection, kernels=(kernel,))
    elif record is not None:
        selection = replace(selection, source=record.source, series=record.series_origin or None)
    plan = make_plan(config, selection, tuple(ARCHES))
    plan = replace(
        plan, cells=tuple(cell for cell in plan.cells if shape in ("-", cell.shape.name))
    )
    return execute(places, plan, options)


def _find_case(earlier: RunResult, case_id: str) -> CaseResult:
    cases = [placed.case for placed in cases_of(earlier)]
    for case in cases:
        if case.id == case_id:
            return case
    import difflib

    near = difflib.get_close_matches(case_id, [case.id for case in cases], 1, 0.5)
    raise UserError(
        f"run {earlier.run.id} has no case {case_id!r}",
        f"did you mean {near[0]!r}?" if near else "its cases are in results.json",
    )


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
        return results.load(results.find_run(places.reports, name)), selection
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
    folder = results.find_run(places.reports, str(options.baseline))
    return folder.name if folder.parent == places.reports.resolve() else str(folder)


def _compare(plan: Plan, run: RunResult, base: RunResult | None) -> Comparison | None:
    from orchestrator.compare import compare

    if base is not None:
        return compare(base, run)
    if plan.baseline is None:
        return None
    others = [entry.name for entry in run.kernels if entry.name != plan.baseline]
    there = any(entry.name == plan.baseline for entry in run.kernels)
    if len(others) != 1 or not there:
        return None
    return compare(run, run, plan.baseline, others[0])


def _status(run: RunResult, state: Any, comparison: Comparison | None, options: RunOptions) -> int:
    from orchestrator.compare import kernel_regressed
    from orchestrator.outcome import exit_status

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


def _expect(plan: Plan, state: Any) -> None:
    """Apply lab.yaml's ``expect:`` to each series, build and cell it concerns."""
    from orchestrator.expectations import expect_of_run

    found = RunResult(
        RunInfo("", "", "", "", 0, __version__, plan.profile), tuple(state.kernels.values()),
        tuple(state.builds.values()), tuple(state.cells.values()), Summary(0, 0, 0, 0),
    )  # fmt: skip
    kernels, builds, cells = expect_of_run(found, plan.expectations)
    state.kernels.update({kernel.name: kernel for kernel in kernels})
    state.builds.update({build.id: build for build in builds})
    state.cells.update({cell.id: cell for cell in cells})


def _in_order(plan: Plan, state: Any) -> tuple[CellRecord, ...]:
    return tuple(state.cells[cell.id] for cell in plan.cells if cell.id in state.cells)


def _run_folder(places: Places, options: RunOptions) -> Path:
    """Make the run's folder: --out, or a new one below reports/ that no other lab has taken."""
    stamp, number = _stamp(), 1
    while True:
        folder = places.reports / (stamp if number == 1 else f"{stamp}-{number}")
        if options.out is not None:
            folder = options.out.resolve()
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            if options.out is None:
                number += 1
                continue
            if not folder.is_dir() or any(folder.iterdir()):
                raise UserError(
                    f"--out {options.out}: it exists and is no empty folder", "name a new one"
                ) from error
        except OSError as error:
            raise HostError(
                f"cannot make {folder}: {error.strerror}", "name another with --out"
            ) from error
        return folder


def _run_id(places: Places, folder: Path) -> str:
    """The folder's name below reports/; elsewhere an id that no other run can have."""
    if folder.parent == places.reports:
        return folder.name
    return f"{_stamp()}-{secrets.token_hex(3)}"


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


def _host(places: Places) -> dict[str, str]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cpus": str(os.cpu_count()),
        "memory_mib": str(pages * size >> 20),
        "python": platform.python_version(),
        "cache": str(places.cache),
    }


def _command_line() -> str:
    return shlex.join(["lab", *sys.argv[1:]])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _log_to(path: Path) -> None:
    """Every command that is started, and every surprise, goes into the run's lab.log."""
    import logging

    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    lab = logging.getLogger("lab")
    lab.setLevel(logging.DEBUG)
    lab.addHandler(handler)
    lab.propagate = False


def plan_text(selection: Selection, as_json: bool, baseline: str | None = None) -> str:
    """What ``lab plan`` prints."""
    from orchestrator.plan_text import explain, plan_to_dict

    places = find_places()
    config = load(places)
    if baseline and any(kernel.name == baseline for kernel in config.kernels):
        selection = replace(selection, baseline=baseline)
    plan = make_plan(config, selection, tuple(ARCHES))
    return json.dumps(plan_to_dict(plan), indent=1) if as_json else explain(plan)
