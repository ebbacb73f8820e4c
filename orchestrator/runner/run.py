# SPDX-License-Identifier: GPL-2.0-only
"""A whole run without a command line: a plan carried out, judged, compared, stored and reported.

Prints nothing: who wants to see it go on hands in a listener.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator import __version__
from orchestrator.guest.loopback import check_loopback
from orchestrator.host import walls
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.trim import keep_budget
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare, kernel_regressed
from orchestrator.judge.each_patch import each_patch, status_with
from orchestrator.judge.outcome import exit_status, is_complete
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.kernel.build import asked
from orchestrator.kernel.build.request import require_tools
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.names import Verdict
from orchestrator.model.results import Comparison, RunInfo, RunResult
from orchestrator.model.spec import LabConfig, Plan
from orchestrator.plan.matrix import Selection
from orchestrator.results import clean, runs, store
from orchestrator.results.unfinished import LOG, going_on
from orchestrator.runner import local, record, retry
from orchestrator.runner.context import (
    Context,
    Listener,
    Machine,
    Places,
    RunValues,
    guarded,
    nobody,
)
from orchestrator.runner.find_files import leave_finds
from orchestrator.runner.first_failure import FirstFailure
from orchestrator.runner.stages import Stages, leave_capsules
from orchestrator.runner.state import RunState

#: Of ``RunOptions.fail_on``.
REGRESSION = "regression"


@dataclass(frozen=True)
class RunOptions:
    """How a plan is run.

    ``out`` is the run's folder (None: a new one below reports/), ``resume`` the folder of an
    unfinished run of the same plan, whose finished cells are kept.  ``jobs`` is how many cores
    there are to use (None: all), ``boot`` is False to stop after the builds, ``seed`` is that of
    the looping workloads (None: a new one).  ``fail_on`` is ``any``, ``regression`` or None
    (regression where there is a baseline).  ``command`` is what is stored as the run's command.
    ``retries`` is how often a case that regressed is tried again at most (None: as lab.yaml says;
    0: never).  With ``fail_fast`` the run ends at its first failure that nobody foresaw, and what
    regressed is tried again only where ``retries`` says so.
    """

    out: Path | None = None
    resume: Path | None = None
    jobs: int | None = None
    boot: bool = True
    seed: int | None = None
    fail_on: str | None = None
    command: str = ""
    retries: int | None = None
    fail_fast: bool = False


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: an earlier run, or (``run`` is None) the plan's own baseline.

    ``name`` is what the run's record keeps, so that its report can be made again.
    """

    run: RunResult | None = None
    name: str = ""


@dataclass(frozen=True)
class Done:
    """A run that is over: what is stored in ``folder``; it took ``seconds``.

    ``told`` is a sentence on what had to be mended for it.
    """

    result: RunResult
    comparison: Comparison | None
    folder: Path
    seconds: float
    told: str = ""

    @property
    def status(self) -> int:
        """The run's exit status."""
        return self.result.run.exit_status


def run_plan(
    plan: Plan,
    places: Places,
    options: RunOptions = RunOptions(),
    *,
    baseline: Baseline = Baseline(),
    listener: Listener = nobody,
    stages: Stages | None = None,
    engine: local.Engine | None = None,
) -> Done:
    """Carry out a plan, settle what lab.yaml expects and knows, compare, store and report.

    :param stages: what is done for each step (default: the lab's own stages).
    :param engine: who carries it out (default: this machine).
    :raises UserError: when a workload does not compile, a fragment, source or series cannot be read
        and nothing was built, or the run's folder cannot be that.  There is no run then.
    :raises HostError: when the folder cannot be made or the results cannot be written, or a
        compiler is missing, or the walls that lab.yaml wants cannot be had.
    """
    doing = stages or Stages()
    if not options.boot and plan.cells and all(cell.on_host for cell in plan.cells):
        raise UserError("there is no kernel to build: what was asked for runs on the host",
                        "`lab run` runs it")  # fmt: skip
    walls.put_up(plan.walls)
    with using(places.cache):
        check_compilers(plan)
        if options.boot:
            check_loopback()
            doing.compile(plan.cells, places.cache)
        check_fragments(plan)
        name = baseline.name or plan.baseline or ""
        with opened(plan, places, options, name, whole=True) as book:
            context = going = book.context(options, listener)
            if options.fail_fast:
                regressions = _counts(options, plan.baseline or baseline.run) == REGRESSION
                first = FirstFailure(
                    plan, context.listener, baseline.run, book.earlier, regressions=regressions
                )
                going = context.ended_by(first.ending, guarded(first))
            carry_out = engine.carry_out if engine else local.carry_out
            state = carry_out(
                plan, going, book.store, cores=options.jobs, boot=options.boot,
                done=book.earlier, stages=doing,
            )  # fmt: skip
            state.ended = going.ending.is_set()
            book.refuse_wrong_input(state)
            if options.boot and not state.interrupted:
                again = engine.stages(doing) if engine else doing
                book.try_again(state, context, again, options, baseline.run)
            return book.close(
                state, context, boots=options.boot, against=baseline.run,
                status=lambda run, comparison: _status(run, state, comparison, options),
            )  # fmt: skip


# ---------------------------------------------------------------- a run's folder and record


@dataclass(frozen=True)
class Book:
    """A run's record while it goes on: its folder, who and when, and what it continues.

    ``began`` is when, on the monotonic clock (s).
    """

    plan: Plan
    places: Places
    folder: Path
    info: RunInfo
    began: float
    earlier: RunResult | None = None

    def context(self, options: RunOptions, listener: Listener) -> Context:
        """What the stages of this run share."""
        # What `lab rerun` finds the run by: elsewhere than below reports/ that is its folder.
        below = self.folder.parent == self.places.reports
        jobs = options.jobs or record.cpu_count()
        name = self.info.id if below else str(self.folder)
        values = RunValues(name, jobs, known=self.plan.known_kernels)
        if options.seed is not None:
            values = replace(values, seed=options.seed)
        machine = Machine(self.places.cache, self.folder, self.places.fragments)
        return Context(values, machine, guarded(listener))

    def result(self, state: RunState, finished: str, status: int) -> RunResult:
        """All there is by now."""
        return state.result(self.plan, replace(self.info, finished=finished, exit_status=status))

    def store(self, state: RunState) -> None:
        """Store what there is; what a lab that is killed leaves must not read as a success."""
        store.save(self.result(state, "", EXIT_INTERRUPTED), self.folder)

    def refuse_wrong_input(self, state: RunState) -> None:
        """Take a run back that came to nothing since its input is wrong: its folder goes.

        A run that was interrupted, or goes on from an earlier one, stays.

        :raises UserError: then, with what is wrong.
        """
        tried = (
            any(cell.cases for cell in state.cells.values())
            or any(one.verdict is not Verdict.ERROR for one in state.builds.values())
            or any(kernel.failure is not None for kernel in state.kernels.values())
        )
        if not state.usage or tried or state.interrupted or self.earlier is not None:
            return
        runs.clear_folder(self.places.reports, self.folder)
        raise UserError("\n".join(state.problems), "nothing was built, and no run was made")

    def try_again(
        self, state: RunState, context: Context, stages: Stages, options: RunOptions,
        against: RunResult | None = None,
    ) -> None:  # fmt: skip
        """Try what regressed again, as long as the time budget and the options allow.

        :param against: an earlier run to compare with; else the plan's own baseline, if any.
        """
        judging, began = self.plan.judging, time.monotonic()
        usual = 0 if options.fail_fast else judging.trials
        most = usual if options.retries is None else options.retries
        if not most or (against is None and self.plan.baseline is None):
            return
        draft = self._draft(state)
        comparison = self._compared(draft, against)
        if comparison is None or not comparison.regressed:
            return
        longest = self.plan.time_budget or max(2 * (began - self.began), retry.LEAST_SECONDS)
        limits = retry.Limits(judging.rates, most, self.began + longest)
        base = "" if against is not None else self.plan.baseline or ""
        known, causes = self.plan.known_issues, causes_of(draft)
        retry.try_again(comparison, base, state, context, stages, limits, known, causes)

    def _draft(self, state: RunState) -> RunResult:
        """What there is, settled, and with what the history has of its failures."""
        issues = state.settle(self.plan)
        draft = replace(self.result(state, record.now(), 0), known_issues=issues)
        return record.recalled(self.places, draft)

    def _compared(self, draft: RunResult, against: RunResult | None) -> Comparison | None:
        return compare_kernels(self.plan, draft) if against is None else compare(against, draft)

    def close(
        self,
        state: RunState,
        context: Context,
        *,
        boots: bool,
        status: Callable[[RunResult, Comparison | None], int],
        against: RunResult | None = None,
        searching: bool = False,
    ) -> Done:
        """Settle, leave capsules, compare, store and report: what is left once all is tried.

        :param boots: False for what has no guests, and so no capsules.
        :param status: gives the run's exit status.
        :param against: an earlier run to compare with; else the plan's own baseline, if any.
        :param searching: the status tells of a search, whatever failed in it: it is no clean run.
        """
        draft = self._draft(state)
        if boots and not state.interrupted:
            draft = leave_capsules(self.plan, draft, state.as_ran.values(), context)
        comparison = self._compared(draft, against)
        draft = replace(draft, each_patch=each_patch(draft, comparison))
        final = replace(draft, run=replace(draft.run, exit_status=status(draft, comparison)))
        final = replace(
            final, run=replace(final.run, complete=not searching and is_complete(final))
        )
        leave_finds(final, self.folder)
        told = record.finish(self.places, final, self.folder, comparison)
        keep_budget(self.places.cache)
        return Done(final, comparison, self.folder, time.monotonic() - self.began, told)


@contextlib.contextmanager
def opened(
    plan: Plan, places: Places, options: RunOptions, baseline: str, *, whole: bool = False
) -> Iterator[Book]:
    """Make or take the run's folder; its log is written for the length of a with block.

    :param whole: whether the plan has all that a run that is gone on with may have: that of a
        search does not.
    :raises UserError, HostError: when the folder cannot be made, read or written.
    """
    began = time.monotonic()
    if options.resume and going_on(options.resume):
        raise UserError(f"run {options.resume.name} goes on: another lab is at work on it",
                        "wait for its end, or stop that one")  # fmt: skip
    earlier = store.load(options.resume) if options.resume else None
    if earlier and whole:
        local.refuse_other_plan(earlier, plan)
    folder = options.resume or runs.run_folder(places.reports, options.out)
    run_id = earlier.run.id if earlier else runs.run_id(places.reports, folder)
    with record.log_to(folder / LOG):
        runs.keep_shapes(plan, folder)
        places.cache.folder.mkdir(parents=True, exist_ok=True)
        # What was asked for is what it was started with: a resumed run can be resumed again.
        command = earlier.run.command if earlier else options.command
        started = earlier.run.started if earlier else record.now()
        info = RunInfo(
            run_id, started, "", command, EXIT_INTERRUPTED, __version__, plan.profile,
            record.host(places), baseline,
        )  # fmt: skip
        yield Book(plan, places, folder, info, began, earlier)


def _status(
    run: RunResult, state: RunState, comparison: Comparison | None, options: RunOptions
) -> int:
    regressions = None
    if _counts(options, comparison) == REGRESSION and comparison is not None:
        regressions = int(kernel_regressed(comparison))
    whole = without_prefixes(run)
    status = exit_status(
        whole.cells,
        whole.builds,
        whole.kernels,
        regressions=regressions,
        interrupted=state.interrupted,
        usage=state.usage,
        host_problem=bool(state.problems),
        need_cases=options.boot,
    )
    status = status_with(status, run.each_patch, run)
    # What the failure is worth beside its baseline may show only in the rest.
    return status or (EXIT_KERNEL if state.ended else EXIT_OK)


def _counts(options: RunOptions, baseline: object) -> str:
    """What of the kernel's failures counts: ``any``, or a ``regression`` beside a baseline."""
    return options.fail_on or (REGRESSION if baseline else "any")


def check_compilers(plan: Plan) -> None:
    """See that each compiler that was asked for is there, before anything is made.

    :raises HostError: with the command that installs the first that is not.
    """
    for arch, toolchain in dict.fromkeys((b.arch, b.config.toolchain) for b in plan.builds):
        require_tools(toolchain, ARCHES[arch])


def check_fragments(plan: Plan) -> None:
    """See that every file of a config can be read, before anything is made of one.

    :raises UserError: with the first that cannot be, or is for another architecture.
    """
    for config, arch in dict.fromkeys((build.config, build.arch) for build in plan.builds):
        asked.check(config, ARCHES[arch])


# ---------------------------------------------------------------- baselines


def choose_baseline(
    places: Places, config: LabConfig, selection: Selection, name: str | None
) -> tuple[Baseline, Selection]:
    """A baseline is a kernel of lab.yaml, run beside the others, or an earlier run.

    Gives it, and the selection with it; of ``last-clean`` the plan decides (:func:`last_clean`).

    :raises UserError: when there is neither such a run nor such a kernel.
    """
    if name in (None, "none", runs.LAST_CLEAN):  # of the last, the plan is asked: last_clean()
        return Baseline(), selection
    assert name is not None
    if any(kernel.name == name for kernel in config.kernels):
        return Baseline(name=name), replace(selection, baseline=name)
    try:
        folder = runs.find_run(places.reports, name)
        earlier = store.load(folder)
    except UserError as error:
        kernels = ", ".join(kernel.name for kernel in config.kernels)
        raise UserError(
            f"--baseline {name}: {error.message}", f"name a run, or one of the kernels {kernels}"
        ) from error
    return _earlier(places, folder, earlier), selection


def last_clean(places: Places, plan: Plan, beside: Iterable[Path] = ()) -> Baseline:
    """The last clean and complete run that tried what a plan is to try; none where none did.

    :param beside: folders of runs elsewhere that count too.
    :raises UserError: when it cannot be read.
    """
    folder = clean.last_clean(places.reports, plan, beside)
    return Baseline() if folder is None else _earlier(places, folder, store.load(folder))


def _earlier(places: Places, folder: Path, run: RunResult) -> Baseline:
    folder = folder.resolve()
    below = folder.parent == places.reports.resolve()
    return Baseline(run, folder.name if below else str(folder))


def check_baseline(plan: Plan) -> None:
    """One kernel is compared with one.

    :raises UserError: when a kernel is the baseline and not exactly one other is to be run.
    """
    if plan.baseline is None:
        return
    # What runs on the host has no build; a part of a series is told by the whole.
    kernels = [one.build.kernel for one in plan.cells]
    names = [kernel.name for kernel in kernels if not kernel.prefix_of]
    others = dict.fromkeys(name for name in names if name != plan.baseline)
    if len(others) != 1:
        raise UserError(
            f"--baseline {plan.baseline}: a kernel baseline needs exactly one kernel under test, "
            f"not {len(others)}" + (f" ({', '.join(others)})" if others else ""),
            "name it with --kernel, or give an earlier run as the baseline",
        )


def compare_kernels(plan: Plan, run: RunResult) -> Comparison | None:
    """The kernel under test beside the plan's baseline; None where one of them is missing."""
    if plan.baseline is None:
        return None
    kernels = [entry.name for entry in without_prefixes(run).kernels]
    others = [name for name in kernels if name != plan.baseline]
    if len(others) != 1 or plan.baseline not in kernels:
        return None
    return compare(run, run, plan.baseline, others[0])
