# SPDX-License-Identifier: GPL-2.0-only
"""Within a run: what fails with the series and passes without is tried again on both kernels.

Trials of both alternate, each in a fresh copy of a guest that was booted once for them, until the
sequential test decides, there were enough, or the time for it is spent.  Prints nothing, and fails
no run: what cannot be tried is told beside the case.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.host import process
from orchestrator.judge.causes import Cause
from orchestrator.judge.known_issues import settle
from orchestrator.judge.retried import Suspect, Tally, retried_text, suspects, to_try
from orchestrator.judge.trials import Shown, Subject, by_series, judge_trial, telling
from orchestrator.model.errors import Interrupted, LabError
from orchestrator.model.judging import Decision, ErrorRates, Retried
from orchestrator.model.names import CellId, Verdict
from orchestrator.model.results import CaseResult, Comparison, LoopRecord, Records
from orchestrator.model.spec import Cell, KnownIssue, WorkloadSpec
from orchestrator.plan.budget import as_ran
from orchestrator.runner.context import Context, Event, nobody
from orchestrator.runner.stages import Stages
from orchestrator.runner.standing import Once
from orchestrator.runner.state import RunState

#: Where the trials that failed leave their logs, below the run's folder.
FOLDER = "trials"
#: What the time budget allows where there is none: as long as the run took so far, or this (s).
LEAST_SECONDS = 120.0
# Trials in a row that tell nothing, after which no further one is made.
_BLIND = 3
# So many pairs each workload gets in turn, which tells what is clear; then one after another, since
# two that are decided half tell nothing when the time is spent.
_EVEN = 6
_SPENT = "the time for it was spent"


@dataclass(frozen=True)
class Limits:
    """How long to go on: ``most`` pairs at most, until the monotonic clock says ``until`` (s)."""

    rates: ErrorRates
    most: int
    until: float


def try_again(
    comparison: Comparison, base: str, state: RunState, context: Context, stages: Stages,
    limits: Limits, known: Iterable[KnownIssue] = (), causes: Sequence[Cause] = (),
) -> None:  # fmt: skip
    """Try the cases that regressed again, and put beside each in ``state`` what came of it.

    :param base: the kernel of this run to try them on too; empty where the baseline is another run.
    :param known: the plan's known issues: what they excuse is no failure.
    :param causes: the run's: of one that is decided no other case is tried.
    """
    tested = {name: cell for name, cell in state.as_ran.items() if cell.build.kernel.name != base}
    found = suspects(comparison, tested)
    of = {case.id: number for number, cause in reversed(list(enumerate(causes)))
          for case in (*cause.cases, *cause.followers)}  # fmt: skip
    tallies = [_tally(one, base, limits, tested[one.cell], of) for one in found]
    groups: dict[str, list[Tally]] = {}
    for tally in tallies:
        if not tally.enough:
            groups.setdefault(tally.suspect.cell, []).append(tally)
    try:
        for cell, group in groups.items():
            place = _Place(
                tested[cell], base, group, tallies, state, context, stages, limits, tuple(known)
            )
            place.go()
    except (KeyboardInterrupt, Interrupted):
        state.interrupted = True
        process.cancel()
        for tally in tallies:
            tally.note = tally.note or ("" if tally.enough else "interrupted")
    _keep(state, {tally.suspect.case.id: tally.retried() for tally in tallies})


def _tally(one: Suspect, base: str, limits: Limits, cell: Cell, causes: Mapping[str, int]) -> Tally:
    kernel = cell.build.kernel
    cause = causes.get(one.case.id)
    return Tally(one, limits.rates, limits.most, base, by_series(kernel), cause)


def _keep(state: RunState, found: dict[str, Retried]) -> None:
    """Put the outcomes beside their cases."""
    for name, record in state.cells.items():
        if any(case.id in found for case in record.cases):
            cases = tuple(
                replace(case, retried=found.get(case.id, case.retried)) for case in record.cases
            )
            state.cells[name] = replace(record, cases=cases)


class _Place:
    """The trials in one cell while they go on."""

    def __init__(
        self, cell: Cell, base: str, tallies: Sequence[Tally], everywhere: Sequence[Tally],
        state: RunState, context: Context, stages: Stages, limits: Limits,
        known: tuple[KnownIssue, ...],
    ) -> None:  # fmt: skip
        names = {tally.suspect.spec.name for tally in tallies}
        record = state.cells[cell.id]
        self.state = state
        self.context = context
        self.stages = stages
        self.limits = limits
        self.known = known
        self.tallies = tallies
        self.everywhere = everywhere
        self.cells = [self._only(cell, names, record.loops)]
        if base:
            place = str(replace(CellId.parse(cell.id), kernel=base))
            other = state.as_ran.get(place)
            if other is not None:
                self.cells.insert(0, self._only(other, names, record.loops))
            else:
                self._stop(f"{base} has no such guest in this run")
        self.took: dict[str, float] = {}
        self.blind: dict[str, int] = {}
        self.pairs = 0

    @staticmethod
    def _only(cell: Cell, names: set[str], loops: Iterable[LoopRecord]) -> Cell:
        """The cell with these workloads alone, each with the seed and time that it had."""
        mine = tuple(spec for spec in cell.workloads if spec.name in names)
        return as_ran(replace(cell, workloads=mine), loops)

    def _stop(self, why: str, workload: str = "") -> None:
        for tally in self.tallies:
            if not tally.enough and workload in ("", tally.suspect.spec.name):
                tally.note = why

    def go(self) -> None:
        """Until every case is decided, or cannot be."""
        names = self._open()
        if not names:
            return
        self._tell(names[0], "booting for further trials")
        try:
            with contextlib.ExitStack() as stack:
                guests = [stack.enter_context(self._standing(cell)) for cell in self.cells]
                rounds = 0
                while names := self._open():
                    for name in names if rounds < _EVEN else names[:1]:
                        self._pair(name, guests)
                    rounds += 1
        except (LabError, OSError) as error:
            if isinstance(error, Interrupted):
                raise
            self._stop(error.message if isinstance(error, LabError) else str(error))
        for name in self.took:
            self._told(name)

    def _open(self) -> tuple[str, ...]:
        """The workloads to try next."""
        return to_try(self.tallies, self.everywhere)

    @contextlib.contextmanager
    def _standing(self, cell: Cell) -> Iterator[Once]:
        built = self.state.built.get(cell.build.id)
        if built is None:
            raise LabError("its kernel was built by the part of the run before it was cut")
        folder = self.context.folder / FOLDER / "boot"
        try:
            with self.stages.again(cell, built, self._quiet("boot")) as once:
                yield once
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _quiet(self, name: str) -> Context:
        """The run's context with a folder of its own, whose cases nobody counts."""
        folder = self.context.folder / FOLDER / name
        machine = replace(self.context.machine, folder=folder)
        return Context(self.context.values, machine, nobody)

    def _pair(self, name: str, guests: Sequence[Once]) -> None:
        """One trial of a workload on each kernel, the base first."""
        began = time.monotonic()
        if began + self.took.get(name, 0.0) > self.limits.until:
            self._stop(_SPENT, name)
            return
        self.pairs += 1
        number = max(len(t.pairs) for t in self.tallies if t.suspect.spec.name == name) + 1
        self._tell(name, f"{number} of up to {self.limits.most}")
        at = self._quiet(str(self.pairs))
        sides = [self._cases(cell, name, once, at)
                 for cell, once in zip(self.cells, guests, strict=True)]  # fmt: skip
        excused = [{case.id for case in found if case.known} for found in sides]
        told = failed = False
        why = ""
        for tally in self.tallies:
            if tally.suspect.spec.name != name or tally.enough:
                continue
            case = tally.suspect.case
            shown = [
                judge_trial(case, Subject(cell), telling(found, case, known))
                for cell, found, known in zip(self.cells, sides, excused, strict=True)
            ]
            blind = next((one.reason for one in shown if one.shown is Shown.UNKNOWN), None)
            if blind is not None:
                why = blind
                continue
            told = True
            again = [one.shown is Shown.AGAIN for one in shown]
            failed |= any(again)
            tally.pairs.append((again[-1], len(again) > 1 and again[0]))
        self.blind[name] = 0 if told else self.blind.get(name, 0) + 1
        if self.blind[name] == _BLIND:
            self._stop(f"{_BLIND} trials told nothing: {why}", name)
        if not failed:
            shutil.rmtree(at.folder, ignore_errors=True)
        self.took[name] = time.monotonic() - began

    def _cases(self, cell: Cell, name: str, once: Once, at: Context) -> tuple[CaseResult, ...]:
        """What a trial came to, its known issues excused."""
        spec = _spec(cell, name)
        if spec is None:
            raise LabError(f"{cell.build.kernel.name} has no {name}")
        cases = once(spec, at)
        record = replace(self.state.cells[cell.id], cases=cases)
        kernel = self.state.kernels.get(cell.build.kernel.name)
        records = Records(kernels=(kernel,) if kernel else (), cells=(record,))
        return settle(records, (), self.known).cells[0].cases

    def _tell(self, name: str, text: str) -> None:
        self.context.listener(Event("trials", f"{self.cells[-1].id}:{name}", "again", text))

    def _told(self, name: str) -> None:
        """Tell what the trials of a workload came to: of the case that speaks most against it."""
        mine = [t.retried() for t in self.tallies if t.suspect.spec.name == name]
        bad = (Decision.REGRESSION, Decision.UNDECIDED)
        worst = next((one for one in mine for word in bad if one.decision is word), mine[0])
        found = Verdict.FAIL if worst.decision in bad else Verdict.PASS
        self.context.listener(
            Event("trials", f"{self.cells[-1].id}:{name}", "done", retried_text(worst), None, found)
        )


def _spec(cell: Cell, name: str) -> WorkloadSpec | None:
    return next((spec for spec in cell.workloads if spec.name == name), None)
