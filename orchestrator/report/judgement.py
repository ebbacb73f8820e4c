# SPDX-License-Identifier: GPL-2.0-only
"""The judgement of a run in one sentence: which patch breaks what, how sure, and where.  Pure.

The page, the Markdown, the mail and the terminal say it in these words.  Each piece knows the case
that shows it, to which the page links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.judge.causes import Cause
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.covered import SERIES_OWN, by_patch, share
from orchestrator.judge.grouped import by_cause
from orchestrator.judge.outcome import executed, is_cut
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.judge.reach import Reach, reach_of, reach_of_case
from orchestrator.judge.retried import counts_text
from orchestrator.judge.signs import CauseKind
from orchestrator.model.errors import EXIT_INTERRUPTED
from orchestrator.model.formats import counted, listed
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.names import BUILD, SERIES, CaseId, Verdict
from orchestrator.model.results import (
    CaseComparison,
    Change,
    Comparison,
    EachPatch,
    PatchFinding,
    RunResult,
)
from orchestrator.model.searched import BISECT, NARROW, Searched
from orchestrator.report import each_patch_text
from orchestrator.report.cause_text import headline, titled
from orchestrator.report.mutants_text import caught_text
from orchestrator.report.reach_text import where
from orchestrator.report.text import first_line
from orchestrator.report.view import anchor

_BREAKS = {CauseKind.REPORT: "brings", CauseKind.COUNTER: "brings"}
_DIFFERS = "comparison"
_ONCE = "seen once, not tried again"


@dataclass(frozen=True)
class Piece:
    """A part of the sentence; ``anchor`` is the HTML id of what it quotes, or empty.

    ``said`` tells that somebody else's words are in it: a guest's, a compiler's or a patch's.
    """

    text: str
    anchor: str = ""
    said: bool = False


@dataclass(frozen=True)
class Judgement:
    """The sentence: ``what`` is wrong, ``how`` sure that is and where, and ``more`` besides it."""

    what: tuple[Piece, ...] = ()
    how: tuple[Piece, ...] = ()
    more: int = 0

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of it, with what stands between."""
        found = [*self.what]
        for number, piece in enumerate(self.how):
            found += [Piece(", " if number else ": "), piece]
        if self.more:
            found += [Piece("; "), Piece(f"and {counted(self.more, 'more cause')}", "bad")]
        return tuple(found)

    @property
    def text(self) -> str:
        """All of it as a line, without a full stop."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def short(self) -> str:
        """Only what is wrong, and the patch or series that does it."""
        own = self.what[2:] if self.what and self.what[0].anchor == _DIFFERS else self.what
        return "".join(piece.text for piece in own)


def judgement(run: RunResult, comparison: Comparison | None, causes: Sequence[Cause]) -> Judgement:
    """The sentence; empty where nothing was executed that could be judged.

    :param causes: all of the run's.
    """
    found = _judged(run, comparison, causes)
    cut = _cut(run) if run.searched is None else ""  # a search says so itself
    if not found.text:
        return found
    return Judgement((Piece(cut), *found.what), found.how, found.more) if cut else found


def _cut(run: RunResult) -> str:
    if not run.run.finished:
        return "The run did not finish; so far: "
    if run.run.exit_status == EXIT_INTERRUPTED:
        return "Interrupted; so far: "
    return "Not all was run; so far: " if is_cut(run.cells) else ""


def _judged(run: RunResult, comparison: Comparison | None, causes: Sequence[Cause]) -> Judgement:
    if run.searched is not None:
        return Judgement((Piece(_begin(run.searched.answer), "search", said=True),))
    items: tuple[CaseComparison, ...] = ()
    if comparison is not None:
        items = comparison.regressed
        groups = by_cause(items, causes)
        causes = [group.cause for group in groups if group.cause is not None]
        alone = [item for group in groups if group.cause is None for item in group.items]
    else:
        alone = []
    told = {id(f) for cause in causes for f, _ in _findings(run, cause)}
    broken = [(f, one) for one in run.each_patch for f in one.broken if id(f) not in told]
    count = len(causes) + len(broken)
    host = bool(causes) and causes[0].kind is CauseKind.ERROR
    if causes and not (host and broken):
        return _of_cause(run, comparison, causes[0], items, count - 1)
    if broken:
        return _of_patch(run, *broken[0], count - 1)
    if alone:
        # It is there and does not fail: a skip of what ran before.
        case = alone[0].after
        name, place = (case.id, anchor(case.id)) if case else (alone[0].key, _DIFFERS)
        what = Piece(f"{name}: {alone[0].reason}", place, said=True)
        also = f"and so {counted(len(alone) - 1, 'more case')}"
        return Judgement((what,), (Piece(also, _DIFFERS),) if len(alone) > 1 else ())
    return _of_nothing(run, comparison)


# ---------------------------------------------------------------- a cause


def _of_cause(
    run: RunResult,
    comparison: Comparison | None,
    cause: Cause,
    items: Sequence[CaseComparison],
    more: int,
) -> Judgement:
    shown = anchor(cause.first.id)
    if cause.kind is CauseKind.ERROR:
        host = (Piece("The host failed, "), Piece(headline(cause), shown, said=True))
        return Judgement(host, (), more)
    what: tuple[Piece, ...]
    who = None if _unknown(cause, items) else _who(run, comparison, cause)
    if who is None or cause.first.workload == SERIES:
        what = (Piece(headline(cause), shown, said=True),)
    elif cause.kind is CauseKind.BUILD:
        what = (who, Piece(" does not build: "), Piece(titled(cause), shown, said=True))
    else:
        does = _BREAKS.get(cause.kind, "breaks")
        what = (who, Piece(f" {does} "), Piece(headline(cause), shown, said=True))
    if cause.first.workload == SERIES:
        return Judgement(what, (), more)
    unit = "build" if cause.kind is CauseKind.BUILD else "cell"
    narrowed = _search(run, cause, NARROW)
    needs = (Piece(narrowed.blamed, "searches"),) if narrowed is not None else ()
    how = (*_sure(run, comparison, cause, items), *_where(reach_of(run, cause), unit), *needs,
           *_worth(run, (cause.kernel,), SERIES_OWN))  # fmt: skip
    return Judgement(what, how, more)


def _unknown(cause: Cause, items: Sequence[CaseComparison]) -> bool:
    """Whether the baseline ran none of a cause's cases: it is not known whose they are."""
    ids = {case.id for case in cause.cases}
    own = [item for item in items if item.after is not None and item.after.id in ids]
    return bool(own) and all(item.before is None for item in own)


def _where(found: Reach, unit: str) -> Iterator[Piece]:
    for text, proof in where(found, unit):
        yield Piece(text, anchor(proof) if proof else "")


def _who(run: RunResult, comparison: Comparison | None, cause: Cause) -> Piece | None:
    """What is to blame: a patch, the series, or all that differs; None where nobody can tell."""
    findings = _findings(run, cause)
    if findings:
        patches = {each_patch_text.who(f, len(one.rows)): f for f, one in findings}
        named = " and ".join(patches)
        return Piece(_begin(named), anchor(next(iter(patches.values())).case))
    searched = _search(run, cause)
    if searched is not None:
        return Piece(_begin(searched.blamed), "searches")
    if comparison is None:
        return None
    if _by_series(run, comparison, cause.kernel):
        several = len([k for k in without_prefixes(run).kernels if k.series]) > 1
        return Piece(f"The series of {cause.kernel}" if several else "The series", "patches")
    return Piece(f"What differs from {comparison.baseline}", _DIFFERS)


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]


def _findings(run: RunResult, cause: Cause) -> list[tuple[PatchFinding, EachPatch]]:
    """What ``--each-patch`` says of a cause that the whole series has too.

    A patch that may as well have nothing to do with it, since it was not tried before it, is none.
    """
    keys = {CaseId.parse(case.id).key for case in cause.cases}
    return [
        (f, one)
        for one in run.each_patch
        if one.kernel == cause.kernel
        for f in one.findings
        if f.kind != "warning" and not f.mended and CaseId.parse(f.case).key in keys
        and (f.base_known or f.since > 1)
    ]  # fmt: skip


def _search(run: RunResult, cause: Cause, kind: str = BISECT) -> Searched | None:
    """The search that says which patch brought a case of this cause, or what the case needs."""
    ids = {case.id for case in cause.cases}
    sure = (one for one in run.searches if one.kind == kind and one.sure and one.blamed)
    return next((one for one in sure if one.case in ids), None)


def _by_series(run: RunResult, comparison: Comparison, kernel: str) -> bool:
    """Whether the two sides differ by the kernel's series, as far as the run knows."""
    records = {one.name: one for one in run.kernels}
    base = records.get(run.run.baseline)
    own = records.get(kernel)
    if own is None or not own.series:
        return False
    tried = [
        item.after.retried.series
        for item in comparison.cases
        if item.after is not None and item.after.retried is not None
    ]
    if tried:
        return all(tried)
    return base is not None and not base.series and base.source == own.source


# ---------------------------------------------------------------- how sure


def _sure(
    run: RunResult,
    comparison: Comparison | None,
    cause: Cause,
    items: Sequence[CaseComparison],
) -> Iterator[Piece]:
    """How sure it is, by the trials; what was not tried again is no more than seen."""
    if cause.kind is CauseKind.BUILD:
        before = {item.after.id: item.before for item in items if item.after is not None}
        base = before.get(cause.first.id)
        if base is not None and base.verdict is Verdict.PASS:
            yield Piece("sure (it builds without)", anchor(base.id))
        return
    tried = [(case, case.retried) for case in cause.cases if case.retried is not None]
    if tried:
        case, found = min(tried, key=lambda pair: _rank(pair[1]))
        yield Piece(sure_text(found), anchor(case.id))
        return
    searched = _search(run, cause)
    if searched is not None:
        told = "; ".join(filter(None, (searched.likely, searched.sides)))
        yield Piece(f"sure ({told})" if told else "sure", "searches")
        return
    once = _ONCE if len(cause.cases) == 1 else f"each case {_ONCE}"
    passed = [case.earlier for case in cause.cases if case.earlier and case.earlier.passed]
    if any(past.failed for past in passed):
        once = f"{once}, flaky in earlier runs"
    elif passed:
        once = f"{once}, passed on this very kernel before"
    if comparison is None:
        once = f"{once}, and compared with nothing"
    elif _unknown(cause, items):
        once = f"{once}, and the baseline did not run it"
    yield Piece(once, anchor(cause.first.id))


def _rank(found: Retried) -> tuple[bool, bool, int]:
    """What is decided comes first, then what was tried, then what was tried more often."""
    decided = found.decision is Decision.REGRESSION
    return not decided, not found.trials, -found.trials if not found.steady else 0


def sure_text(found: Retried) -> str:
    """``sure (fails 7 of 9 with the series, 0 of 40 without)``, by what the trials came to."""
    counts = counts_text(found)
    if found.steady:
        return f"sure ({counts}; its workload is deterministic)"
    if not found.trials:
        return f"{_ONCE} ({found.note})" if found.note else _ONCE
    if not found.trials_base:
        each = "fails each time" if found.failed == found.trials else "not sure"
        return f"{each} ({counts}; the baseline was not tried)"
    if found.decision is Decision.REGRESSION:
        return f"sure ({counts})"
    return f"not sure ({found.decision.value}: {counts})"


# ---------------------------------------------------------------- a patch of a series, or nothing


def _of_patch(run: RunResult, finding: PatchFinding, one: EachPatch, more: int) -> Judgement:
    """A series that cannot be bisected, by the first patch that breaks something."""
    shown = anchor(finding.case)
    what = Piece(_begin(each_patch_text.headline(finding, one)), shown, said=True)
    sure = {"build": (), "boot": (Piece(_ONCE, shown),),
            "test": (Piece("seen once, in a workload that is deterministic", shown),)}  # fmt: skip
    unit = "build" if CaseId.parse(finding.case).workload == BUILD else "cell"
    places = _where(reach_of_case(run, finding.case), unit)
    return Judgement((what,), (*sure[finding.kind], *places), more)


def _of_nothing(run: RunResult, comparison: Comparison | None) -> Judgement:
    """What passed, with what is flaky or known to fail beside it."""
    whole = without_prefixes(run)
    if run.problems:
        return Judgement(
            (Piece("The host failed: "), Piece(first_line(run.problems[0]), said=True))
        )
    tested = [c for c in whole.cells if c.kernel != run.run.baseline]
    arches = dict.fromkeys(cell.arch for cell in tested if any(map(executed, cell.cases)))
    if not arches:
        return Judgement()
    tried = Piece(f"tried on {listed(arches)}", "matrix")
    known = counts_of_run(run).known
    also = [Piece(counted(known, "known failure"), "known")] if known else []
    kernels = dict.fromkeys(cell.kernel for cell in tested)
    if comparison is None:
        own = _worth(whole, kernels, SERIES_OWN)
        return Judgement((Piece("No case failed"),), (tried, *own, *also))
    flaky = [item.after for item in comparison.cases if item.change is Change.FLAKY and item.after]
    if flaky:
        first = flaky[0]
        counts = f" ({counts_text(first.retried)})" if first.retried and len(flaky) == 1 else ""
        words = "case is flaky" if len(flaky) == 1 else "cases are flaky"
        also.insert(0, Piece(f"{len(flaky)} {words}{counts}", anchor(first.id)))
    failing = sum(item.change is Change.STILL_FAILING for item in comparison.cases)
    if failing:
        also.insert(0, Piece(f"{counted(failing, 'case')} failing as before", "comparison"))
    series = all(_by_series(run, comparison, kernel) for kernel in kernels)
    what = Piece("The series breaks nothing", "patches") if series else Piece("Nothing regressed")
    own = _worth(whole, kernels, "its" if series else SERIES_OWN)
    return Judgement((what,), (tried, *own, *also))


def _worth(run: RunResult, kernels: Iterable[str], whose: str) -> list[Piece]:
    """What the tests are worth, where that is known: how much of what is tested ran, and how many
    of its mutants were caught."""
    names = tuple(kernels)
    cells = without_prefixes(run).cells
    ran = ((name, share(by_patch(cells, name), whose), "coverage") for name in names)
    caught = ((one.kernel, caught_text(one), "mutants") for one in run.mutants)
    told = [one for one in (*ran, *caught) if one[1] and one[0] in names]
    several = len({name for name, _, _ in told}) > 1
    return [Piece(f"{text} in {name}" if several else text, place) for name, text, place in told]
