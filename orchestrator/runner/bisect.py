# SPDX-License-Identifier: GPL-2.0-only
"""Which patch of a series, or commit of a range, brought a failure: tried for real, step by step.

First both ends, in turn, until it is decided that the case fails more often at the far one.  Then
the place whose outcome tells most, each trial of a flaky case beside one of the known good kernel.
What does not apply, build or boot, or fails in another case before this one ran, is left out, as by
git-bisect(1)'s skip.

Each trial is noted in the run's folder, so that an interrupted search goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.judge.bisection import Culprit, Tried, search
from orchestrator.judge.sequential import decide
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model.errors import UserError
from orchestrator.model.judging import Decision, ErrorRates
from orchestrator.model.names import CellId
from orchestrator.model.searched import BISECT, Searched, SearchStep, likely
from orchestrator.model.spec import KernelSpec, Plan
from orchestrator.runner.context import Listener, Places, nobody
from orchestrator.runner.run import Done, RunOptions
from orchestrator.runner.searching import INTERRUPTED, Notes, carry_out
from orchestrator.runner.stages import Stages
from orchestrator.runner.trying import Trying

#: In the run's folder: the trials so far, each of a place.
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
    subjects = tuple(_on(repeat, kernel, n == 0) for n, kernel in enumerate(line.kernels))
    ends = replace(repeat, subjects=(subjects[0], subjects[-1]), plan=_plan(repeat, subjects))
    looking, done = carry_out(
        ends, old, places, options,
        lambda trying, notes: _Search(ends, subjects, line, trying, notes, most, rates),
        notes=NOTES,
        about=[f"{kernel.name} {kernel.source} {kernel.series or ''}" for kernel in line.kernels],
        compiled=(subjects[-1].cell,), listener=listener, stages=stages,
    )  # fmt: skip
    return Bisected(
        looking.said, done, looking.found, tuple(looking.trials), tuple(sorted(looking.left_out))
    )


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


class _Search:
    """The search while it goes on."""

    def __init__(
        self, repeat: Repeat, subjects: tuple[Subject, ...], line: Line, trying: Trying,
        notes: Notes, most: int, rates: ErrorRates,
    ) -> None:  # fmt: skip
        self.subjects = subjects
        self.line = line
        self.trying = trying
        self.notes = notes
        self.most = most
        self.rates = rates
        self.last = len(subjects) - 1
        self.steady = repeat.steady
        self.left_out = {int(one.what): one.why for one in notes.tried if one.failed is None}
        self.said = INTERRUPTED
        self.found: Culprit | None = None
        self.sure = False
        self.culprit: Culprit | None = None
        trying.state.searched = self.record

    @property
    def trials(self) -> list[Tried]:
        """What was found out, at every place."""
        return [
            Tried(int(one.what), one.failed) for one in self.notes.tried if one.failed is not None
        ]

    def go(self) -> None:
        """Search; there may be nothing to find."""
        if self._ends_differ():
            self.found = self._between()

    def _ends_differ(self) -> bool:
        """Try both ends in turn until it is known that the far one is worse."""
        while True:
            tested = [one.failed for one in self.trials if one.place == self.last]
            good = [one.failed for one in self.trials if one.place == 0]
            pairs = list(zip(tested, good, strict=False))
            if pairs:
                decided = decide(pairs, self.rates, deterministic=self.steady)
                if decided.decision is Decision.REGRESSION:
                    return True
                counts = (
                    f"fails {decided.failed} of {decided.pairs} at the end, "
                    f"{decided.failed_base} of {decided.pairs} at the beginning"
                )
                if decided.decision is not Decision.UNDECIDED:
                    self.said = f"nothing to search: {counts} ({decided.decision.value})"
                    return False
                if len(self.trials) >= self.most:
                    self.said = f"undecided after {self.most} trials: {counts}"
                    return False
            for place in (0, self.last):
                self._try(place)
                if place in self.left_out:
                    word = "beginning" if place == 0 else "end"
                    self.said = f"the {word} cannot be tried: {self.left_out[place]}"
                    return False

    def _between(self) -> Culprit:
        sure = 1 - self.rates.false_regressions
        while True:
            found = search(self.last, self.trials, self.left_out, deterministic=self.steady)
            self.culprit = likeliest = found.culprit
            self.said = self._saying(likeliest)
            self.sure = likeliest.probability >= sure
            if self.sure or found.place is None:
                return likeliest
            if len(self.trials) >= self.most:
                self.said = f"not sure after {self.most} trials: {self.said}"
                return likeliest
            self._try(found.place)
            if not self.steady:
                self._try(0)

    def _try(self, place: int) -> None:
        subject = self.subjects[place]
        self.trying.tell(subject, f"{self.line.word} {place} of {self.last}: {self._title(place)}")
        note = self.notes.add(str(place), self.trying.attempt(subject))
        if note.failed is None:
            self.left_out[place] = note.why

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
        return f"{named} (probability {likely(found.probability)}; {counts})"

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
                    subject.cell.id, sum(tried), len(tried), self.left_out.get(place, ""),
                    found is not None and found.last == place,
                ))  # fmt: skip
        numbers = tuple(range(found.first, found.last + 1)) if found else ()
        return Searched(
            BISECT, self.said, self.sure, tuple(steps), self._blamed(found) if found else "",
            numbers if self.line.word == PATCH else (), found.probability if found else 0.0,
            self.trying.repeat.case.id, self.trying.of,
        )  # fmt: skip
