# SPDX-License-Identifier: GPL-2.0-only
"""Trials of one case of an earlier run, on its base first, carried out as a run carries out a cell.

Prints nothing: who wants to see it go on hands in a listener.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.guest.loopback import check_loopback
from orchestrator.host.cache.locks import using
from orchestrator.judge.outcome import exit_status
from orchestrator.judge.sequential import Decided, decide
from orchestrator.judge.trials import (
    Repeat,
    Shown,
    Trial,
    answer,
    decided_answer,
    pairs_of,
)
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK, UserError
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.names import SERIES, Verdict
from orchestrator.runner.context import Context, Listener, Places, nobody
from orchestrator.runner.run import Done, RunOptions, opened
from orchestrator.runner.stages import Stages
from orchestrator.runner.trying import Trying

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
                tries.state, context, boots=repeat.boots,
                status=lambda *_: _status(tries, decided), searching=decided is not None,
            )  # fmt: skip
            return Answered(said, tuple(tries.trials), done, decided)


class _Trials:
    """The trials of one case while they go on."""

    def __init__(
        self, repeat: Repeat, old: Path, context: Context, most: int, stages: Stages,
        rates: ErrorRates | None = None,
    ) -> None:  # fmt: skip
        self.repeat = repeat
        self.most = most
        self.rates = rates
        self.trying = Trying(repeat, old, context, stages)
        self.state = self.trying.state
        self.trials: list[Trial] = []

    def go(self) -> None:
        """Until a trial does not pass; what goes wrong on the way is the state's to tell."""
        with self.trying.guarded():
            self._all()

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
                    self.trying.tell(subject, f"{number} of up to {self.most}")
                self.trials.append(self.trying.attempt(subject))
            if self.rates is not None:
                if self._enough(self.rates):
                    return
            elif any(trial.shown is not Shown.NO for trial in self.trials):
                return

    def decided(self, pairs: Iterable[tuple[bool, bool]], rates: ErrorRates) -> Decided:
        """What the pairs show by now."""
        return decide(pairs, rates, deterministic=self.repeat.steady)

    def _enough(self, rates: ErrorRates) -> bool:
        """Whether the trials decide, or tell nothing time after time."""
        last = self.trials[-2 * _BLIND :]
        if len(last) == 2 * _BLIND and not pairs_of(last):
            return True
        pairs = pairs_of(self.trials)
        return bool(pairs) and self.decided(pairs, rates).decision is not Decision.UNDECIDED


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
