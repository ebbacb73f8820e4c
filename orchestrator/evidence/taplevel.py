# SPDX-License-Identifier: GPL-2.0-only
"""One level of nesting in a TAP stream: its cases, its plan, and whether the two fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from orchestrator.evidence.tapline import NO_REASON, Plan, Result
from orchestrator.model.evidence import KtapCase
from orchestrator.model.names import Verdict

MAX_DIAGNOSTICS = 500
_BAD = (Verdict.FAIL, Verdict.ERROR)


@dataclass
class Level:
    """A level while it is read.

    ``prefix`` is what stands before each of its lines where the output of a child program goes
    behind hashes.  ``own`` are the places in ``cases`` of its own results, the others are those
    of levels below; ``bare`` are those of its own that may be prose.
    """

    indent: int
    name: str = ""
    prefix: str = ""
    announced: bool = False  # by a version line or a Subtest line
    tap: bool = False  # by a version line of TAP, which asks for no number in results
    child: str = ""  # the name that a Subtest line gave to the level to come
    from_above: bool = False  # its name stood a level above it, or more
    other: str = ""  # its own name, perhaps, where Subtest lines stand in two places
    planned: int | None = None
    skip_all: str = ""
    cases: list[KtapCase] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    bare: set[int] = field(default_factory=set)
    numbers: Counter[int] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    opened: bool = False  # the last result opened a brace, or one follows it

    @property
    def untouched(self) -> bool:
        """Whether nothing of it was seen but diagnostics."""
        return not (self.announced or self.cases or self.planned is not None)

    @property
    def complete(self) -> bool:
        """Whether its plan is met."""
        return self.planned == len(self.own)

    def plan(self, found: Plan) -> Iterator[str]:
        """Take a plan; yields what is wrong with it."""
        if self.planned == found.count:
            yield f"the plan 1..{found.count} stands there twice{self.where}"
        elif self.planned is not None:
            yield f"two plans{self.where}: 1..{self.planned} and 1..{found.count}"
        self.planned = max(found.count, self.planned or 0)
        self.skip_all = self.skip_all or found.skip_all

    def note(self, text: str) -> None:
        """Keep a diagnostic for the result to come."""
        if len(self.notes) < MAX_DIAGNOSTICS:
            self.notes.append(text)

    def add(self, result: Result, below: Level | None) -> None:
        """Append a result, the level below it before it."""
        name = result.name or (below.name if below else "") or f"case {len(self.own) + 1}"
        case = KtapCase(name, result.verdict, result.reason, tuple(self.notes), result.known)
        if result.number is not None:
            self.numbers[result.number] += 1
        if below is not None:
            case = self._adopt(case, below)
        self._append(case, result.bare)
        self.opened = result.opens
        if self.notes:
            self.notes = []

    def add_below_last(self, below: Level | None) -> None:
        """Put what stood in braces behind the last result under it."""
        last, bare = self.cases.pop(), self.own.pop() in self.bare
        self.bare.discard(len(self.cases))
        reason = _unbraced(last.reason)
        if last.verdict is Verdict.SKIP:
            reason = reason or NO_REASON
        last = replace(last, name=_unbraced(last.name) or last.name, reason=reason)
        if below is not None:
            last = self._adopt(last, below)
        self._append(last, bare)
        self.opened = False

    def add_lost(self, below: Level) -> None:
        """Take the cases of a level whose parent has no result."""
        self.cases += _named(below.name or "a subtest", below.cases)

    def finish(self) -> Iterator[str]:
        """End the level; yields what makes it incomplete or ambiguous."""
        if self.notes and self.cases:
            self.cases[-1] = with_notes(self.cases[-1], self.notes)
            self.notes = []
        yield from self._settle()
        seen = len(self.own)
        if self.planned is None:
            if seen or self.announced or self.where:
                yield f"no plan{self.where}, {seen} result lines"
        elif self.planned != seen:
            yield f"{self.planned} cases planned{self.where}, {seen} seen"
        for number, times in sorted(self.numbers.items()):
            if times > 1:
                yield f"case number {number} appears {times} times{self.where}"
            elif number < 1 or number > max(seen, self.planned or 0):
                yield f"case number {number} is outside the plan{self.where}"

    @property
    def where(self) -> str:
        """The level for the end of a sentence; nothing for the outermost."""
        if self.name:
            return f" in {self.name}"
        return " in a subtest" if self.indent else ""

    def _append(self, case: KtapCase, bare: bool) -> None:
        if bare:
            self.bare.add(len(self.cases))
        self.own.append(len(self.cases))
        self.cases.append(case)

    def _adopt(self, parent: KtapCase, below: Level) -> KtapCase:
        """Put the level's cases under their parent; the parent's verdict follows theirs."""
        self.cases += _named(parent.name, below.cases)
        bad = [c for c in below.cases if c.verdict in _BAD]
        if parent.verdict in (Verdict.PASS, Verdict.SKIP) and bad:
            worst = Verdict.FAIL if any(c.verdict is Verdict.FAIL for c in bad) else Verdict.ERROR
            return replace(parent, verdict=worst, reason=f"its subtest {bad[0].name} failed")
        if parent.reason == NO_REASON and below.skip_all:
            return replace(parent, reason=below.skip_all)
        if parent.verdict is Verdict.PASS and below._skipped():
            why = below.skip_all or "all its subtests were skipped"
            return replace(parent, verdict=Verdict.SKIP, reason=parent.reason or why)
        return parent

    def _skipped(self) -> bool:
        if not self.own:
            return self.planned == 0
        return all(all_skipped(self.cases[at]) for at in self.own)

    def _settle(self) -> Iterator[str]:
        """Decide whether lines of "ok" without a number are results: as the plan says.

        TAP numbers no result that has none; KTAP asks for numbers, and programs print the word.
        """
        numbered = len(self.own) - len(self.bare)
        if not self.bare:
            return
        if not numbered:
            results = self.planned is not None or self.tap
        else:  # they fill the gaps between the numbers, or the plan has room for them
            filled = max(self.numbers, default=0) == len(self.own)
            results = filled or (self.planned or 0) >= len(self.own)
        if results:
            return
        lost = [self.cases[at] for at in sorted(self.bare)]
        if any(case.verdict in _BAD for case in lost):
            yield f"a 'not ok' without a number{self.where}"
        self._drop(self.bare)

    def _drop(self, places: set[int]) -> None:
        kept: list[KtapCase] = []
        own: list[int] = []
        notes: tuple[str, ...] = ()
        mine = set(self.own)
        for at, case in enumerate(self.cases):
            if at in places:
                notes += case.diagnostics
                continue
            if at in mine:
                own.append(len(kept))
            kept.append(replace(case, diagnostics=(*notes, *case.diagnostics)) if notes else case)
            notes = ()
        if notes and kept:
            kept[-1] = with_notes(kept[-1], notes)
        self.cases, self.own, self.bare = kept, own, set()


def all_skipped(case: KtapCase) -> bool:
    """Whether a case was not run, unlike one whose failure a TODO excuses."""
    return case.verdict is Verdict.SKIP and not case.known


def with_notes(case: KtapCase, notes: Iterable[str]) -> KtapCase:
    """A case with further diagnostics, as many as are kept."""
    added = tuple(notes)
    if not added:
        return case
    return replace(case, diagnostics=(*case.diagnostics, *added)[:MAX_DIAGNOSTICS])


def _named(parent: str, cases: Iterable[KtapCase]) -> list[KtapCase]:
    return [replace(case, name=f"{parent}.{case.name}") for case in cases]


def _unbraced(text: str) -> str:
    return text.removesuffix("{").rstrip()
