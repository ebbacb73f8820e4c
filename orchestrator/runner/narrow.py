# SPDX-License-Identifier: GPL-2.0-only
"""What of its guest a failing case needs: changes tried for real until the statement is smallest.

First the guest as it was, until the case has failed in it: what does not come again cannot be
narrowed.  Then the changes that :mod:`orchestrator.judge.narrowing` asks for, cheap ones before
those that take a build.  Trials of a flaky case in the guest as it was are kept level with those of
the change that is looked at, and serve all changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host.cache.files import write_atomic
from orchestrator.judge import narrowing
from orchestrator.judge.narrowing import Effect, Names, Narrowed, effect_of
from orchestrator.judge.trials import Repeat, Shown, Subject, Trial
from orchestrator.kernel.build import kconfig, kfile
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import LabError, UserError
from orchestrator.model.judging import ErrorRates
from orchestrator.model.names import SERIES
from orchestrator.model.narrowing import ARCH, AXES, FRAGMENTS, SYMBOLS, Change
from orchestrator.model.searched import NARROW, Searched, SearchStep
from orchestrator.model.spec import ConfigSpec
from orchestrator.plan.changes import (
    arch_changes,
    changed,
    fragment_changes,
    guest_changes,
    switched_off,
    symbol_changes,
)
from orchestrator.runner.context import Listener, Places, nobody
from orchestrator.runner.run import Done, RunOptions
from orchestrator.runner.searching import INTERRUPTED, Note, Notes, carry_out
from orchestrator.runner.stages import Stages
from orchestrator.runner.trying import Trying

#: In the run's folder: the trials so far, each of the names of the changes that were made.
NOTES = "narrow.json"
#: In the run's folder: the fragments that switch symbols off.
FRAGMENTS_FOLDER = "narrow"
# Of a flaky case: one that fails in 1 of 5 shows itself in 99 of 100 rows of so many.
_FIRST = 20


@dataclass(frozen=True)
class Row:
    """What was tried: the changes in words, in how many trials the case failed, and what that is.

    ``effect`` is None of the guest as it was, and where it is not decided.  ``why`` tells why it
    cannot be tried.
    """

    changes: tuple[str, ...]
    told: str
    failed: int
    trials: int
    effect: Effect | None = None
    why: str = ""


@dataclass(frozen=True)
class NarrowedDown:
    """What the search came to: ``said`` is one sentence, ``done`` the run it is stored as.

    ``rows`` are all that was tried, the guest as it was first; ``sure`` tells that nothing is left
    to try.
    """

    said: str
    done: Done
    found: Narrowed
    rows: tuple[Row, ...] = ()
    sure: bool = False


def narrow(
    repeat: Repeat,
    old: Path,
    places: Places,
    options: RunOptions = RunOptions(),  # noqa: B008 (frozen)
    *,
    most: int,
    rates: ErrorRates,
    axes: Collection[str] = AXES,
    configs: Iterable[ConfigSpec] = (),
    listener: Listener = nobody,
    stages: Stages | None = None,
) -> NarrowedDown:
    """Search until nothing is left to try, or ``most`` trials were made.

    :param repeat: the case with its guest; only the kernel under test is tried.
    :param old: the folder of the run that the case is of.
    :param options: of these ``out``, ``resume``, ``jobs``, ``seed`` and ``command``.
    :param axes: what may be changed, of :data:`.AXES`; symbols are those of fragments that matter,
        so that fragments are tried with them.
    :param configs: those of lab.yaml, by which some steps are saved.
    :raises UserError: when the case has no guest, a workload does not compile or a fragment cannot
        be read, or the run's folder cannot be that or is of another search.
    :raises HostError: when the folder cannot be made or the results cannot be written.
    """
    subject = repeat.tested
    cell = subject.cell
    if cell.on_host or repeat.case.workload == SERIES:
        raise UserError(f"{repeat.case.id} has no guest that could be changed",
                        "name a case of a build or of a guest")  # fmt: skip
    plan = replace(repeat.plan, builds=(cell.build,), cells=(cell,), baseline=None)
    alone = replace(repeat, subjects=(subject,), plan=plan)
    wanted = {*axes, *((FRAGMENTS,) if SYMBOLS in axes else ())}
    changes = tuple(all_changes(alone, configs))
    looking, done = carry_out(
        alone, old, places, options,
        lambda trying, notes: _Narrowing(alone, changes, wanted, trying, notes, most, rates),
        notes=NOTES,
        about=[cell.build.kernel.source, f"{cell.build.kernel.series}", *(c.name for c in changes)],
        compiled=(cell,), listener=listener, stages=stages,
    )  # fmt: skip
    return NarrowedDown(looking.said, done, looking.found, tuple(looking.rows()), looking.sure)


def all_changes(repeat: Repeat, configs: Iterable[ConfigSpec] = ()) -> Iterator[Change]:
    """All that can be changed, in the order in which it is tried.

    :param configs: see :func:`.fragment_changes`.
    """
    cell = repeat.tested.cell
    if repeat.boots:  # what is built does not depend on it
        yield from guest_changes(cell)
    symbols = _symbols(repeat)
    fragments = fragment_changes(cell, symbols, configs)
    yield from fragments
    yield from arch_changes(cell, ARCHES)
    for fragment in fragments:
        yield from symbol_changes(cell, fragment, symbols[Path(fragment.drop)])


def _symbols(repeat: Repeat) -> dict[Path, tuple[str, ...]]:
    """The fragments that can be left out, each with what it switches on.

    The first is what every guest needs, unless it goes on top of a complete .config.
    """
    build = repeat.tested.cell.build
    record = repeat.tested.record
    version = record.version if record else ""
    config = build.config
    found = {}
    for path in config.fragments[0 if config.full else 1 :]:
        if kfile.is_complete(kfile.read_lines(path)):
            continue
        asked = kconfig.read_fragment(path, version, build.arch)
        found[path] = tuple(dict.fromkeys(r.symbol for r in asked if r.value in ("y", "m")))
    return found


class _Narrowing:
    """The search while it goes on."""

    def __init__(
        self, repeat: Repeat, changes: tuple[Change, ...], axes: Collection[str], trying: Trying,
        notes: Notes, most: int, rates: ErrorRates,
    ) -> None:  # fmt: skip
        self.repeat = repeat
        self.changes = changes
        self.axes = axes
        self.trying = trying
        self.notes = notes
        self.most = most
        self.rates = rates
        self.found = Narrowed()
        self.said = INTERRUPTED
        self.sure = False
        trying.state.searched = self.record
        for note in notes.tried:  # what an interrupted search has left is told too
            self._subject(_names(note))

    def go(self) -> None:
        """Search; there may be nothing to narrow."""
        if not self._repeats():
            return
        changes = self._open()
        while True:
            self.found = narrowing.search(changes, self._effects())
            unchanged = self._failed(frozenset())
            counts = f"fails {sum(unchanged)} of {len(unchanged)} as it was"
            told = narrowing.sentence(self.found)
            if self.found.next is None:
                self.said, self.sure = f"{told} ({counts})", True
                return
            if len(self.notes.tried) >= self.most:
                more = f": {told}" if told else ""
                self.said = f"not finished after {self.most} trials{more} ({counts})"
                return
            self.said = f"{INTERRUPTED}; so far: {told}" if told else INTERRUPTED
            self._step(self.found.next)

    def _repeats(self) -> bool:
        """Whether the case fails in the guest as it was."""
        as_it_was: Names = frozenset()
        first = min(self.most, 1 if self.repeat.steady else _FIRST)
        while not any(self._failed(as_it_was)):
            tried = self._of(as_it_was)
            if len(tried) >= first:
                known = len(self._failed(as_it_was))
                why = next((note.why for note in tried if note.why), "the budget is spent")
                self.said = (
                    f"does not fail again: fails 0 of {known} as it was"
                    if known
                    else f"cannot be tried again: {why}"
                )
                return False
            self._try(as_it_was)
        return True

    def _step(self, names: Names) -> None:
        """One more trial of these changes, beside as many of the guest as it was."""
        if len(self._failed(frozenset())) < len(self._failed(names)):
            self._try(frozenset())
        else:
            self._try(names)

    def _open(self) -> list[Change]:
        """The changes of the axes; no kernel is built of sources that have changed since."""
        own = [one for one in self.changes if one.axis in self.axes]
        if self.trying.prepared(self.repeat.tested).kernel.exact:
            return own
        why = f"the sources are not what they were in {self.trying.old.name}"
        return [replace(one, blocked=one.blocked or why) if one.builds else one for one in own]

    # ------------------------------------------------------------ trials

    def _of(self, names: Names) -> list[Note]:
        return [note for note in self.notes.tried if _names(note) == names]

    def _failed(self, names: Names) -> list[bool]:
        return [note.failed for note in self._of(names) if note.failed is not None]

    def _effects(self) -> dict[Names, Effect]:
        """What is decided by now."""
        unchanged, found = self._failed(frozenset()), {}
        for names in dict.fromkeys(map(_names, self.notes.tried)):
            tried = [note.failed for note in self._of(names)]
            effect = effect_of(unchanged, tried, self.rates, steady=self.repeat.steady)
            if names and effect is not None:
                found[names] = effect
        return found

    def _try(self, names: Names) -> None:
        subject = self._subject(names)
        number = len(self.notes.tried) + 1
        self.trying.tell(subject, f"trial {number} of up to {self.most}: {self._told(names)}")
        self.notes.add(" ".join(sorted(names)), self._attempt(subject, names))

    def _attempt(self, subject: Subject, names: Names) -> Trial:
        changes = self._made(names)
        text = switched_off(changes)
        if text:
            path = subject.cell.build.config.fragments[-1]
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, text.encode())
        try:
            trial = self.trying.attempt(subject)
            if trial.skipped:  # it is no pass of what was not tried
                return Trial(subject, Shown.UNKNOWN, trial.skipped)
            return trial
        except LabError as error:
            # Its compiler or QEMU may be missing here: no reason to end the search.
            if not any(one.axis == ARCH for one in changes):
                raise
            return Trial(subject, Shown.UNKNOWN, error.message)

    def _subject(self, names: Names) -> Subject:
        """The guest with these changes; it is part of the run's plan from now on."""
        tested = self.repeat.tested
        changes = self._made(names)
        folder = self.trying.context.folder / FRAGMENTS_FOLDER
        cell = changed(tested.cell, changes, folder)
        plan = self.trying.repeat.plan
        if not changes:
            return tested
        if all(one.id != cell.id for one in plan.cells):
            plan = replace(plan, cells=(*plan.cells, cell))
            if all(one.id != cell.build.id for one in plan.builds):
                plan = replace(plan, builds=(*plan.builds, cell.build))
            self.trying.repeat = replace(self.trying.repeat, plan=plan)
        if cell.build.id == tested.cell.build.id:
            return replace(tested, cell=cell, command="")
        return Subject(cell)

    def _made(self, names: Names) -> list[Change]:
        return [one for one in self.changes if one.name in names]

    def _told(self, names: Names) -> str:
        return narrowing.in_words(self._made(names))

    def rows(self) -> Iterator[Row]:
        """All that was tried, in its order."""
        effects = self._effects()
        tried = dict.fromkeys((frozenset[str](), *map(_names, self.notes.tried)))
        for names in tried:
            failed, why = self._failed(names), [note.why for note in self._of(names) if note.why]
            yield Row(
                tuple(one.name for one in self._made(names)), self._told(names), sum(failed),
                len(failed), effects.get(names), why[0] if why else "",
            )  # fmt: skip
        for one in self.found.cannot:
            if one.blocked:
                yield Row((one.name,), one.told, 0, 0, Effect.CANNOT, one.blocked)

    def record(self) -> Searched:
        """What it came to by now, as the run keeps it."""
        needed = {one.name for one in self.found.needed}
        steps = []
        for row in self.rows():
            names = frozenset(row.changes)
            cell = self._subject(names).cell.id if row.trials else ""
            note = row.why or (row.effect.value if row.effect else "")
            guilty = len(names) == 1 and names <= needed
            steps.append(SearchStep(row.told, cell, row.failed, row.trials, note, guilty))
        found = self.found
        least = Narrowed(needed=found.needed, rarer=found.rarer, either=found.either)
        return Searched(
            NARROW, self.said, self.sure, tuple(steps),
            narrowing.sentence(least) if self.sure else "",
            case=self.repeat.case.id, of=self.trying.of,
        )  # fmt: skip


def _names(note: Note) -> Names:
    return frozenset(note.what.split())
