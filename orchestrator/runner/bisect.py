# SPDX-License-Identifier: GPL-2.0-only
"""Which patch of a series, or commit of a range, brought a failure: tried for real, step by step.

First both ends, in turn, until it is decided that the case fails more often at the far one.  Then
the place whose outcome tells most, each trial of a flaky case beside one of the known good kernel.
What does not apply, build or boot, or fails in another case before this one ran, is left out, as by
git-bisect(1)'s skip.

Each trial is noted in the run's folder, so that an interrupted search goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import write_atomic
from orchestrator.host.cache.locks import using
from orchestrator.judge.bisection import Culprit, Tried, search
from orchestrator.judge.sequential import decide
from orchestrator.judge.trials import Repeat, Shown, Subject, Trial
from orchestrator.model.errors import (
    EXIT_HOST,
    EXIT_INTERRUPTED,
    EXIT_KERNEL,
    EXIT_OK,
    Interrupted,
    UserError,
)
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.names import CellId
from orchestrator.model.searched import BISECT, Searched, SearchStep
from orchestrator.model.spec import KernelSpec, Plan
from orchestrator.runner.context import Listener, Places, nobody
from orchestrator.runner.run import Done, RunOptions, opened
from orchestrator.runner.stages import Stages
from orchestrator.runner.trying import Trying

#: In the run's folder: the trials so far, as ``[[PLACE, FAILED or null], ...]``.
NOTES = "bisect.json"
#: What a step of a series is called.
PATCH = "patch"


@dataclass(frozen=True)
class Line:
    """What is searched: kernels in their order, the first known good and the last known bad.

    ``titles`` name the step from one kernel to the next, a patch or a commit: one less than there
    are kernels.  ``word`` is what a step is.
    """

    kernels: tuple[KernelSpec, ...]
    titles: tuple[str, ...]
    word: str = PATCH


@dataclass(frozen=True)
class Bisected:
    """What the search came to: ``said`` is one sentence, ``done`` the run it is stored as.

    ``culprit`` is None where the ends do not differ, or nothing could be told.  ``trials`` are all,
    also those of an interrupted search that this one continued; ``left_out`` the places that could
    not be tried.
    """

    said: str
    done: Done
    culprit: Culprit | None = None
    trials: tuple[Tried, ...] = ()
    left_out: tuple[int, ...] = ()


def bisect(
    repeat: Repeat,
    line: Line,
    old: Path,
    places: Places,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    most: int,
    rates: ErrorRates,
    listener: Listener = nobody,
    stages: Stages | None = None,
) -> Bisected:
    """Search until a step is sure, or ``most`` trials were made.

    A step is sure once it is to blame with a probability of 1 less ``rates.false_regressions``.

    :param repeat: the case with its guest; its own kernels are not tried, those of the line are.
    :param old: the folder of the run that the case is of.
    :param options: of these ``out``, ``resume``, ``jobs``, ``seed`` and ``command``.
    :raises UserError: when a workload does not compile, the line has no step, or the run's folder
        cannot be that or is of another search.
    :raises HostError: when the folder cannot be made or the results cannot be written.
    """
    if len(line.kernels) < 2:
        raise UserError(
            f"there is no {line.word} to search", "name a run of a series, or a --range"
        )
    doing = stages or Stages()
    subjects = tuple(_on(repeat, kernel, n == 0) for n, kernel in enumerate(line.kernels))
    ends = replace(repeat, subjects=(subjects[0], subjects[-1]), plan=_plan(repeat, subjects))
    with using(places.cache):
        doing.compile((subjects[-1].cell,), places.cache)
        with opened(ends.plan, places, options, "") as book:
            context = book.context(options, listener)
            notes = _Notes.read(book.folder / NOTES, repeat.case.id, line)
            trying = Trying(ends, old, context, doing)
            if book.earlier is not None:
                trying.state.take(book.earlier)
            looking = _Search(ends, subjects, line, trying, notes)
            found = looking.go(most, rates)
            book.refuse_wrong_input(trying.state)
            done = book.close(
                trying.state, context, boots=repeat.boots,
                status=lambda *_: _status(looking),
            )  # fmt: skip
    trials = tuple(Tried(place, failed) for place, failed in notes.tried if failed is not None)
    return Bisected(looking.said, done, found, trials, tuple(sorted(looking.left_out)))


def _on(repeat: Repeat, kernel: KernelSpec, good: bool) -> Subject:
    """The case's guest with a kernel of the line; one that the run had keeps its image."""
    for subject in repeat.subjects:
        if subject.cell.build.kernel == kernel:
            return subject
    old = repeat.tested.cell
    place = CellId(kernel.name, old.build.config.name, old.build.arch).build
    build = replace(old.build, id=place, kernel=kernel)
    return Subject(replace(old, id=f"{place}/{old.shape.name}", build=build), is_base=good)


def _plan(repeat: Repeat, subjects: Iterable[Subject]) -> Plan:
    cells = tuple(subject.cell for subject in subjects)
    builds = tuple(dict.fromkeys(cell.build for cell in cells if not cell.on_host))
    return replace(repeat.plan, builds=builds, cells=cells, baseline=None)


@dataclass
class _Notes:
    """What was tried, in its order: a place, and whether the case failed; None: not to be tried."""

    path: Path
    case: str
    kernels: list[str]
    tried: list[tuple[int, bool | None]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, case: str, line: Line) -> _Notes:
        """Those of an interrupted search, or none yet.

        :raises UserError: when they are of another search, or no notes.
        """
        names = [f"{kernel.name} {kernel.source} {kernel.series or ''}" for kernel in line.kernels]
        if not path.exists():
            return cls(path, case, names)
        try:
            known = json.loads(path.read_text("utf-8"))
            tried = [(int(place), failed) for place, failed in known["tried"]]
            same = (known["case"], known["kernels"]) == (case, names)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the notes of a search", "search anew") from error
        if not same:
            raise UserError(f"{path.parent.name} searched something else", "search anew")
        return cls(path, case, names, tried)

    def add(self, place: int, failed: bool | None) -> None:
        self.tried.append((place, failed))
        told = {"case": self.case, "kernels": self.kernels, "tried": self.tried}
        write_atomic(self.path, json.dumps(told).encode())


class _Search:
    """The search while it goes on."""

    def __init__(
        self, repeat: Repeat, subjects: tuple[Subject, ...], line: Line, trying: Trying,
        notes: _Notes,
    ) -> None:  # fmt: skip
        self.repeat = repeat
        self.subjects = subjects
        self.line = line
        self.trying = trying
        self.notes = notes
        self.last = len(subjects) - 1
        workloads = repeat.tested.cell.workloads
        self.steady = bool(workloads) and all(spec.deterministic for spec in workloads)
        self.left_out = {place for place, failed in notes.tried if failed is None}
        self.why: dict[int, str] = {}
        self.said = "interrupted: --resume goes on"
        self.sure = False
        self.culprit: Culprit | None = None
        trying.state.searched = self.record

    @property
    def trials(self) -> list[Tried]:
        """What was found out, at every place."""
        return [Tried(place, failed) for place, failed in self.notes.tried if failed is not None]

    def go(self, most: int, rates: ErrorRates) -> Culprit | None:
        """Search; None where there is nothing to find.  What goes wrong is the state's to tell."""
        state = self.trying.state
        try:
            if not self._ends_differ(most, rates):
                return None
            return self._between(most, rates)
        except (KeyboardInterrupt, Interrupted):
            state.interrupted = True
            process.cancel()
        except Exception as error:
            state.explain("", error)
        return None

    def _ends_differ(self, most: int, rates: ErrorRates) -> bool:
        """Try both ends in turn until it is known that the far one is worse."""
        while True:
            tested = [one.failed for one in self.trials if one.place == self.last]
            good = [one.failed for one in self.trials if one.place == 0]
            pairs = list(zip(tested, good, strict=False))
            if pairs:
                decided = decide(pairs, rates, deterministic=self.steady)
                if decided.decision is Decision.REGRESSION:
                    return True
                counts = (
                    f"fails {decided.failed} of {decided.pairs} at the end, "
                    f"{decided.failed_base} of {decided.pairs} at the beginning"
                )
                if decided.decision is not Decision.UNDECIDED:
                    self.said = f"nothing to search: {counts} ({decided.decision.value})"
                    return False
                if len(self.trials) >= most:
                    self.said = f"undecided after {most} trials: {counts}"
                    return False
            for place in (0, self.last):
                self._try(place)
                if place in self.left_out:
                    word = "beginning" if place == 0 else "end"
                    why = self.why.get(place, "it cannot be tried")
                    self.said = f"the {word} cannot be tried: {why}"
                    return False

    def _between(self, most: int, rates: ErrorRates) -> Culprit:
        sure = 1 - rates.false_regressions
        while True:
            found = search(self.last, self.trials, self.left_out, deterministic=self.steady)
            self.culprit = likeliest = found.culprit
            self.said = self._saying(likeliest)
            self.sure = likeliest.probability >= sure
            if self.sure or found.place is None:
                return likeliest
            if len(self.trials) >= most:
                self.said = f"not sure after {most} trials: {self.said}"
                return likeliest
            self._try(found.place)
            if not self.steady:
                self._try(0)

    def _try(self, place: int) -> None:
        subject = self.subjects[place]
        self.trying.tell(subject, f"{self.line.word} {place} of {self.last}: {self._title(place)}")
        trial = self.trying.attempt(subject)
        failed = _failed(trial)
        if failed is None:
            self.left_out.add(place)
            self.why[place] = trial.reason
        self.notes.add(place, failed)

    def _title(self, place: int) -> str:
        return self.line.titles[place - 1] if place else "none of them"

    def _saying(self, found: Culprit) -> str:
        """One sentence: which it is, how sure, and the counts on both sides of it."""
        alone = found.first == found.last
        why = self._title(found.first) if alone else "what lies between cannot be tried"
        named = f"{self._blamed(found)} brought it: {why}"
        bad = [one.failed for one in self.trials if one.place >= found.last]
        good = [one.failed for one in self.trials if one.place < found.first]
        counts = f"fails {sum(bad)} of {len(bad)} with it, {sum(good)} of {len(good)} before"
        return f"{named} (probability {found.probability:.1%}; {counts})"

    def _blamed(self, found: Culprit) -> str:
        word = self.line.word
        if found.first == found.last:
            return f"{word} {found.first} of {self.last}"
        return f"one of {word} {found.first} to {found.last} of {self.last}"

    def record(self) -> Searched:
        """What it came to by now, as the run keeps it."""
        found, trials, steps = self.culprit, self.trials, []
        for place, subject in enumerate(self.subjects):
            tried = [one.failed for one in trials if one.place == place]
            if tried or place in self.left_out:
                steps.append(SearchStep(
                    f"{self.line.word} {place} of {self.last}: {self._title(place)}"
                    if place else f"without any {self.line.word}",
                    subject.cell.id, sum(tried), len(tried), self.why.get(place, ""),
                    found is not None and found.last == place,
                ))  # fmt: skip
        numbers = tuple(range(found.first, found.last + 1)) if found else ()
        return Searched(
            BISECT, self.said, self.sure, tuple(steps), self._blamed(found) if found else "",
            numbers if self.line.word == PATCH else (), found.probability if found else 0.0,
            self.repeat.case.id, self.trying.old.name,
        )  # fmt: skip


def _failed(trial: Trial) -> bool | None:
    """Whether the case failed; None where the kernel tells nothing of it."""
    if trial.shown is Shown.AGAIN:
        return True
    return False if trial.passed else None


def _status(looking: _Search) -> int:
    """0: it is sure which; 1: nothing to search, or not sure; 3 and 130 as of a run."""
    state = looking.trying.state
    if state.interrupted:
        return EXIT_INTERRUPTED
    if state.problems:
        return EXIT_HOST
    return EXIT_OK if looking.sure else EXIT_KERNEL
