# SPDX-License-Identifier: GPL-2.0-only
"""Trials of one case of an earlier run, on its base first, carried out as a run carries out a cell.

Prints nothing: who wants to see it go on hands in a listener.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.guest.loopback import check_loopback
from orchestrator.host import process
from orchestrator.host.cache.locks import using
from orchestrator.judge.outcome import apply_reason, cases_of, exit_status
from orchestrator.judge.sequential import Decided, decide
from orchestrator.judge.trials import (
    Repeat,
    Shown,
    Subject,
    Trial,
    answer,
    decided_answer,
    judge_trial,
    pairs_of,
)
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK, Interrupted, UserError
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import SERIES, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.results import runs
from orchestrator.runner.context import Context, Event, Kernel, Listener, Places, nobody
from orchestrator.runner.repeat import command_difference, same_kernel
from orchestrator.runner.run import Done, RunOptions, opened
from orchestrator.runner.stages import (
    Stages,
    record_build,
    record_kernel,
    record_unbooted,
)
from orchestrator.runner.state import RunState

# Pairs in a row that tell nothing, after which no further one is tried.
_BLIND = 3


@dataclass(frozen=True)
class Answered:
    """What trials came to: ``said`` is one sentence, ``done`` the run that they are stored as.

    The run's exit status is that of the kernel under test alone; what the base did is told.  Where
    a decision was asked for, ``decided`` has it, and the exit status is 1 for a regression alone.
    """

    said: str
    trials: tuple[Trial, ...]
    done: Done
    decided: Decided | None = None


def run_trials(
    repeat: Repeat,
    old: Path,
    places: Places,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    most: int = 1,
    rates: ErrorRates | None = None,
    listener: Listener = nobody,
    stages: Stages | None = None,
) -> Answered:
    """Try a case on each of its kernels until a trial does not pass, or until it is decided.

    All kernels get as many trials, so that they compare.

    :param old: the folder of the run that the case is of.
    :param most: the most trials that there may be of each kernel.
    :param rates: go on, whatever a trial comes to, until it is decided at these error rates whether
        the case fails more often than on the base.
    :param options: of these ``out``, ``jobs``, ``seed`` and ``command``.
    :raises UserError: when a workload does not compile, or the run's folder cannot be that.
    :raises HostError: when the folder cannot be made or the results cannot be written.
    """
    if options.resume is not None or options.fail_on is not None or not options.boot:
        raise UserError("trials know no resume, fail_on or boot=False", "leave these options out")
    if rates is not None and repeat.base is None:
        raise UserError("there is no base to decide against: the case's kernel has no series",
                        "name the base with --base, or run with --baseline")  # fmt: skip
    doing = stages or Stages()
    with using(places.cache):
        if repeat.boots:
            check_loopback()
            doing.compile(repeat.plan.cells, places.cache)
        with opened(repeat.plan, places, options, repeat.plan.baseline or "") as book:
            context = book.context(options, listener)
            tries = _Trials(repeat, old, context, most, doing, rates)
            tries.go()
            book.refuse_wrong_input(tries.state)
            said, decided = answer(repeat, tries.trials), None
            if rates is not None and (pairs := pairs_of(tries.trials)):
                decided = tries.decided(pairs, rates)
                said = decided_answer(repeat, decided, rates)
            tries.note(f"again from {old.name}: {said}")
            done = book.close(
                tries.state, context, boots=repeat.boots, status=lambda *_: _status(tries, decided)
            )
            return Answered(said, tuple(tries.trials), done, decided)


@dataclass(frozen=True)
class _Ready:
    """A subject's kernel and build; ``built`` is None where it does not apply or was not wanted."""

    kernel: Kernel
    built: BuildResult | None
    note: str


class _Trials:
    """The trials of one case while they go on."""

    def __init__(
        self, repeat: Repeat, old: Path, context: Context, most: int, stages: Stages,
        rates: ErrorRates | None = None,
    ) -> None:  # fmt: skip
        self.repeat = repeat
        self.old = old
        self.context = context
        self.most = most
        self.stages = stages
        self.rates = rates
        self.state = RunState()
        self.trials: list[Trial] = []
        self.ready: dict[str, _Ready] = {}

    def go(self) -> None:
        """Until a trial does not pass; what goes wrong on the way is the state's to tell."""
        try:
            self._all()
        except (KeyboardInterrupt, Interrupted):
            self.state.interrupted = True
            process.cancel()
        except Exception as error:
            self.state.explain("", error)

    def note(self, text: str) -> None:
        """Note something at the record of the kernel under test."""
        cell = self.repeat.tested.cell.id
        if cell in self.state.cells:
            done = self.state.cells[cell]
            self.state.cells[cell] = replace(done, notes=(*done.notes, text))

    def _all(self) -> None:
        for number in range(1, self.most + 1):
            for subject in self.repeat.subjects:
                if self.most > 1:
                    self._tell(subject, f"{number} of up to {self.most}")
                self._try(subject)
            if self.rates is not None:
                if self._enough(self.rates):
                    return
            elif any(trial.shown is not Shown.NO for trial in self.trials):
                return

    def decided(self, pairs: Iterable[tuple[bool, bool]], rates: ErrorRates) -> Decided:
        """What the pairs show by now."""
        workloads = self.repeat.tested.cell.workloads
        steady = bool(workloads) and all(spec.deterministic for spec in workloads)
        return decide(pairs, rates, deterministic=steady)

    def _enough(self, rates: ErrorRates) -> bool:
        """Whether the trials decide, or tell nothing time after time."""
        last = self.trials[-2 * _BLIND :]
        if len(last) == 2 * _BLIND and not pairs_of(last):
            return True
        pairs = pairs_of(self.trials)
        return bool(pairs) and self.decided(pairs, rates).decision is not Decision.UNDECIDED

    def _try(self, subject: Subject) -> None:
        cell, found = subject.cell, RunState()
        ready = self._prepared(subject)
        found.kernels[cell.build.kernel.name] = self.state.kernels[cell.build.kernel.name]
        if cell.on_host and ready.kernel.tree.failure is None:
            self._run(subject, ready)
            found.cells[cell.id] = self.state.cells[cell.id]
        elif ready.built is not None:
            found.builds[cell.build.id] = self.state.builds[cell.build.id]
            if self.repeat.boots and ready.built.verdict is Verdict.PASS:
                self._run(subject, ready)
                found.cells[cell.id] = self.state.cells[cell.id]
            elif self.repeat.boots and ready.built.mismatches:
                record = record_unbooted(
                    cell, Verdict.FAIL, "not booted: its build failed", self.context, ready.built
                )
                found.cells[cell.id] = self.state.cells[cell.id] = record
        cases = [placed.case for placed in cases_of(found.records())]
        self.trials.append(judge_trial(self.repeat.case, subject, self._telling(cases, found)))

    def _telling(self, cases: Iterable[CaseResult], found: RunState) -> list[CaseResult]:
        """The cases without the failures that are known: they tell nothing of the one in question.

        :param found: the trial's records, which are settled here.
        """
        asked = (self.repeat.case.workload, self.repeat.case.case)
        found.settle(self.repeat.plan)
        known = {placed.case.id for placed in cases_of(found.records()) if placed.case.known}
        return [one for one in cases if one.id not in known or (one.workload, one.case) == asked]

    def _run(self, subject: Subject, ready: _Ready) -> None:
        cell = subject.cell
        # The last trial is the one that is shown: it is the one that did not pass.
        shutil.rmtree(self.context.folder / runs.cell_folder(cell.id), ignore_errors=True)
        runs.keep_shapes(self.repeat.plan, self.context.folder)
        if ready.built is None:
            ran = self.stages.host(cell, ready.kernel, self.context)
        else:
            ran = self.stages.run(cell, ready.built, ready.kernel, self.context)
        differs = command_difference(subject.command, ran.record.qemu_command)
        notes = [ready.note] if ready.note else []
        if differs:
            notes.append(f"QEMU's command line is not that of the run: {differs}")
        done = replace(ran.record, notes=(*ran.record.notes, *notes))
        for text in notes:
            self._tell(subject, text)
        self._tell(subject, "", done.verdict)
        self.state.cells[cell.id] = done
        self.state.as_ran[cell.id] = ran.cell

    def _prepared(self, subject: Subject) -> _Ready:
        """Find or build a subject's kernel, once."""
        build = subject.cell.build
        if build.id in self.ready:
            return self.ready[build.id]
        if self.repeat.case.workload == SERIES or subject.cell.on_host:
            ready = _Ready(self.stages.prepare(build.kernel, self.context), None, "")
        else:
            ready = _Ready(*same_kernel(subject, self.old, self.context, self.stages))
        kernel, built = ready.kernel, ready.built
        self.state.kernels[build.kernel.name] = record_kernel(kernel, build.kernel)
        if kernel.tree.failure is not None:
            self._tell(subject, apply_reason(kernel.tree.failure), Verdict.FAIL)
        if built is not None:
            ready = replace(ready, note=ready.note or self._other_config(subject, built))
            kept = record_build(built, self.context, boots=self.repeat.boots)
            notes = (*kept.notes, ready.note) if ready.note else kept.notes
            self.state.builds[build.id] = replace(kept, notes=notes)
            told = "cached" if built.cached else built.reason
            self.context.listener(
                Event("build", build.id, "done", told, 1.0, built.verdict, built.seconds)
            )
        self.ready[build.id] = ready
        return ready

    def _other_config(self, subject: Subject, built: BuildResult) -> str:
        """A note where the base could not be had with the config that the run's kernel has."""
        if subject.is_base or built.kernel_config is None:
            return ""
        base_built = next((one.built for one in self.ready.values() if one.built), None)
        if base_built is None or base_built.kernel_config is None:
            return ""
        paths = (base_built.kernel_config, built.kernel_config)
        old, new = (path.read_text("utf-8", "replace") for path in paths)
        base, mine = parse_dotconfig(old), parse_dotconfig(new)
        # A symbol that the base has not heard of is the series' own.
        known = set(re.findall(r"\bCONFIG_(\w+)", old))
        other = sorted(name for name in known if mine.get(name) != base.get(name))
        if not other:
            return ""
        named = ", ".join(other[:4]) + (" ..." if len(other) > 4 else "")
        return f"the base was built with another config: {named} differ"

    def _tell(self, subject: Subject, text: str, verdict: Verdict | None = None) -> None:
        stage = "trial" if verdict is None else "done"
        self.context.listener(Event("cell", subject.cell.id, stage, text, verdict=verdict))


def _status(tries: _Trials, decided: Decided | None = None) -> int:
    """The exit status of a run with the kernel under test alone; what is decided is its own."""
    state, tested = tries.state, tries.repeat.tested.cell
    status = exit_status(
        [cell for cell in state.cells.values() if cell.id == tested.id],
        [build for build in state.builds.values() if build.id == tested.build.id],
        [kernel for kernel in state.kernels.values() if kernel.name == tested.build.kernel.name],
        interrupted=state.interrupted,
        usage=state.usage,
        host_problem=bool(state.problems),
        need_cases=tries.repeat.boots,
    )
    if tries.repeat.case.workload == SERIES and status == EXIT_HOST and tries.trials:
        return EXIT_OK  # it applies, and nothing else was asked for
    if decided is not None and decided.decision is not Decision.UNDECIDED and status in (
        EXIT_OK, EXIT_KERNEL,
    ):  # fmt: skip
        return EXIT_KERNEL if decided.decision is Decision.REGRESSION else EXIT_OK
    wrong = any(cell.verdict is Verdict.ERROR for cell in state.cells.values())
    return EXIT_HOST if wrong and status in (EXIT_OK, EXIT_KERNEL) else status
