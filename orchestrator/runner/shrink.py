# SPDX-License-Identifier: GPL-2.0-only
"""Make the program of a find smaller, each trial in a fresh guest, until no step can go.

The explorer has done so for up to a minute, in the guest in which it found it.  Here each trial has
a guest that nothing happened in, several run beside each other, and what fails now and then is
tried as often as its rate asks for.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host.memory import memory_for
from orchestrator.judge.shrinking import Program, Search, Tried, search
from orchestrator.judge.trials import Repeat, Shown, Trial
from orchestrator.model.errors import UserError
from orchestrator.model.finds import Find
from orchestrator.model.formats import counted
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.searched import SHRINK, Searched, SearchStep
from orchestrator.plan.explore import replaying
from orchestrator.runner.context import Context, Listener, Places, nobody
from orchestrator.runner.record import cpu_count
from orchestrator.runner.run import Done, RunOptions
from orchestrator.runner.searching import INTERRUPTED, Notes, carry_out
from orchestrator.runner.stages import Stages
from orchestrator.runner.standing import Once
from orchestrator.runner.trying import Trying

#: In the run's folder: the trials so far, each of a program's lines joined by ``;``.
NOTES = "shrink.json"
# In the run's folder: what a trial leaves while it goes on.
_TRIALS = "trials"
_BETWEEN = ";"


@dataclass(frozen=True)
class Shrunk:
    """What the search came to: ``said`` is one sentence, ``done`` the run it is stored as.

    ``program`` is the smallest that has failed; ``sure`` tells that nothing of it can go.
    """

    said: str
    done: Done
    program: Program
    sure: bool


def shrink(
    repeat: Repeat,
    old: Path,
    places: Places,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    most: int,
    seconds: float | None = None,
    listener: Listener = nobody,
    stages: Stages | None = None,
) -> Shrunk:
    """Search until nothing can go, ``most`` trials were made, or the time is spent.

    :param repeat: the case of the find with its guest; only the kernel under test is tried.
    :param old: the folder of the run that the case is of.
    :param options: of these ``out``, ``resume``, ``jobs``, ``seed`` and ``command``.
    :param seconds: no trial is begun after so long; None: without a limit.
    :raises UserError: when the case is no find, or the run's folder is of another search.
    :raises HostError: when the folder cannot be made or the results cannot be written.
    """
    find = repeat.case.find
    if find is None:
        raise UserError(f"{repeat.case.id} is no find: it has no program", "name one that has")
    cell = repeat.tested.cell
    plan = replace(repeat.plan, builds=(cell.build,), cells=(cell,), baseline=None)
    alone = replace(repeat, subjects=(repeat.tested,), plan=plan)
    jobs = options.jobs or cpu_count()
    until = math.inf if seconds is None else time.monotonic() + seconds
    looking, done = carry_out(
        alone, old, places, options,
        lambda trying, notes: _Shrinking(alone, find, trying, notes, most, until, jobs),
        notes=NOTES, about=[f"{cell.build.kernel.source}", *find.program], compiled=(cell,),
        listener=listener, stages=stages,
    )  # fmt: skip
    return Shrunk(looking.said, done, looking.found.smallest, looking.sure)


class _Shrinking:
    """The search while it goes on."""

    def __init__(
        self, repeat: Repeat, find: Find, trying: Trying, notes: Notes, most: int, until: float,
        jobs: int,
    ) -> None:  # fmt: skip
        self.repeat = repeat
        self.find = find
        self.trying = trying
        self.notes = notes
        self.most = most
        self.until = until
        self.program: Program = tuple(line.partition("#")[0].strip() for line in find.program)
        self.width = max(1, jobs // repeat.tested.cell.shape.cpus)
        self.found = self._search()
        self.said = INTERRUPTED
        self.sure = False
        self.lock = threading.Lock()
        trying.state.searched = self.record

    def go(self) -> None:
        """Search, and try the smallest once more as a run does: that is the record of it."""
        tested = self.repeat.tested
        ready = self.trying.prepared(tested)
        if ready.built is None or ready.built.verdict is not Verdict.PASS:
            self.said = "its kernel cannot be had again"
            return
        with self.trying.stages.again(tested.cell, ready.built, self.trying.context) as once:
            while self.found.next and self._goes_on():
                self._round(once)
                self.found = self._search()
                self.said = self._so_far()
        self.said = self._so_far()
        if not self.found.again:
            return
        self.sure = not self.found.next
        spec = replaying(tested.cell.workloads[0], [(self.repeat.case.case, self.found.smallest)])
        subject = replace(tested, cell=replace(tested.cell, workloads=(spec,)), command="")
        last = self.trying.attempt(subject)
        if last.case_failed is not True:
            self.said += f"; the last trial of it: {last.reason or last.shown.value}"

    def _goes_on(self) -> bool:
        return len(self.notes.tried) < self.most and time.monotonic() < self.until

    def _search(self) -> Search:
        return search(self.program, self._tried(), self.width)

    def _tried(self) -> dict[Program, Tried]:
        known = [note for note in self.notes.tried if note.failed is not None]
        trials = Counter(note.what for note in known)
        failed = Counter(note.what for note in known if note.failed)
        return {tuple(what.split(_BETWEEN)): Tried(failed[what], trials[what]) for what in trials}

    def _round(self, once: Once) -> None:
        """One trial of each program that is next, beside each other as memory allows."""
        fits = memory_for(self.repeat.tested.cell.shape.memory_mib)
        programs = self.found.next[: self.most - len(self.notes.tried)]
        programs = programs if fits else programs[:1]
        number = len(self.notes.tried)
        smallest = counted(len(self.found.smallest), "step")
        told = f"trial {number + 1} of up to {self.most}; the smallest so far has {smallest}"
        self.trying.tell(self.repeat.tested, told)
        with ThreadPoolExecutor(len(programs)) as pool:
            jobs = [
                pool.submit(self._attempt, once, program, number + place)
                for place, program in enumerate(programs)
            ]
        for job, program in zip(jobs, programs, strict=True):
            self.notes.add(_BETWEEN.join(program), job.result())

    def _attempt(self, once: Once, program: Program, number: int) -> Trial:
        tested = self.repeat.tested
        spec = replaying(tested.cell.workloads[0], [(self.repeat.case.case, program)])
        context = self.trying.context
        folder = context.folder / _TRIALS / str(number)
        machine = replace(context.machine, folder=folder)
        return self._judged(once(spec, Context(context.values, machine, nobody)))

    def _judged(self, cases: tuple[CaseResult, ...]) -> Trial:
        """Whether it failed in the same way: the same rule, at the same kind of step."""
        subject = self.repeat.tested
        own = [case for case in cases if case.case == self.repeat.case.case]
        finds = [case.find for case in own if case.find is not None]
        if any(find.signature == self.find.signature for find in finds):
            return Trial(subject, Shown.AGAIN)
        if any(case.verdict in (Verdict.PASS, Verdict.FAIL) for case in own):
            return Trial(subject, Shown.NO, passed=True)
        why = next((case.reason for case in cases if case.verdict is Verdict.ERROR), "")
        return Trial(subject, Shown.UNKNOWN, why or "the program was not carried out")

    def _so_far(self) -> str:
        tried = self._tried()
        if not self.found.again:
            first = tried.get(self.program, Tried())
            return f"does not fail again: fails 0 of {first.trials} as it was"
        left, all_ = len(self.found.smallest), len(self.program)
        rate = tried.get(self.found.smallest, Tried())
        told = f"{left} of {counted(all_, 'step')} left"
        often = f"fails {rate.failed} of {rate.trials}"
        end = "nothing of it can go" if not self.found.next else "not finished: --resume goes on"
        return f"{told}, {often}; {end}"

    def record(self) -> Searched:
        """What it came to by now, as the run keeps it."""
        tried = self._tried()
        cell = self.repeat.tested.cell.id
        smallest, none = self.found.smallest, Tried()
        others = [known for program, known in tried.items()
                  if program not in (self.program, smallest)]  # fmt: skip
        rows = [
            ("the program as it was found", tried.get(self.program, none)),
            ("others, smaller", Tried(sum(one.failed for one in others),
                                      sum(one.trials for one in others))),
        ]  # fmt: skip
        if smallest != self.program:
            rows.append((f"the smallest: {'; '.join(smallest)}", tried.get(smallest, none)))
        steps = tuple(
            SearchStep(told, cell, known.failed, known.trials) for told, known in rows
            if known.trials
        )  # fmt: skip
        return Searched(
            SHRINK, self.said, self.sure, steps, case=self.repeat.case.id, of=self.trying.of,
            blamed=f"{counted(len(self.found.smallest), 'step')}" if self.sure else "",
        )  # fmt: skip
