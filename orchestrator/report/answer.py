# SPDX-License-Identifier: GPL-2.0-only
"""The first thing that a report says: verdict, what is wrong, counts.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.counts import counts_of
from orchestrator.judge.grouped import by_cause
from orchestrator.judge.outcome import PlacedCase, cases_of
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.formats import counted
from orchestrator.model.names import Verdict
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report import each_patch_text
from orchestrator.report.judgement import Judgement, judgement
from orchestrator.report.text import answer, changes_text
from orchestrator.report.view import standing


@dataclass(frozen=True)
class Answer:
    """The first thing the report says.

    ``state`` is pass, fail, error, unfinished, interrupted or searched.

    ``judged`` is the judgement, empty where nothing was executed; ``sentence`` has the counts.
    """

    state: str
    sentence: str
    judged: Judgement = Judgement()  # noqa: RUF009 (frozen)


def make_answer(
    run: RunResult, comparison: Comparison | None, causes: Sequence[Cause] | None = None
) -> Answer:
    """Verdict, what is wrong, and counts.

    :param causes: those of the run, where they are known already.
    """
    causes = causes_of(run) if causes is None else causes
    if comparison is not None:
        found = _comparison_answer(run, comparison, causes)
    else:
        found = Answer(answer(run), _looked(run) or _counted(run))
    found = replace(found, judged=judgement(run, comparison, causes))
    one = next((one for one in run.each_patch if one.broken), None)
    if one is None:
        return found
    # A series that cannot be bisected (``--each-patch``) is told of beside what it does as a whole.
    first = each_patch_text.headline(one.broken[0], one)
    leads = found.judged.short.lower() == first.lower()
    what = each_patch_text.outcome(one) if leads else each_patch_text.sentence(one)
    told = f"{found.sentence} The series of {one.kernel} {what}."
    return replace(found, sentence=told, state="fail" if found.state == "pass" else found.state)


def _looked(run: RunResult) -> str:
    """What a search was about; empty for every other run."""
    found = run.searched
    if found is None:
        return ""
    return f"Searched for {found.case} of run {found.of} in {counted(found.trials, 'trial')}."


def _counted(run: RunResult) -> str:
    """How many cases came to what, of a run that is compared with nothing."""
    placed = tuple(p for p in cases_of(run))
    counts = counts_of(p.case for p in placed)
    total = len(placed)
    parts = [f"{counts.failed} of {total} cases failed" if counts.failed else ""]
    if counts.errors:
        parts.append(f"{counts.errors} could not be judged because the host failed")
    sentence = ", ".join(filter(None, parts)) or (
        f"{counted(counts.passed, 'case')} passed, none failed" if total else "no case was executed"
    )
    if counts.known:
        sentence += f", {counted(counts.known, 'known failure')}"
    if counts.skipped:
        sentence += f", {counts.skipped} skipped"
    sentence += _met_words(placed)
    if not run.run.finished:
        sentence = f"the run did not finish; so far {sentence}"
    cells = counted(len(without_prefixes(run).cells), "cell")
    return f"{sentence}, in {cells}."


def _met_words(placed: tuple[PlacedCase, ...]) -> str:
    """How many cases pass only because they fail as lab.yaml expects; empty where none does."""
    count = sum(standing(p.case).words == "as expected" for p in placed)
    return f" ({count} fail as expected: counted as passed)" if count else ""


def _comparison_answer(
    run: RunResult, comparison: Comparison, causes: Sequence[Cause]
) -> Answer:  # fmt: skip
    changes = changes_text(comparison) or "no case on either side"
    sentence = f"Against {comparison.baseline}: {changes}."
    regressed = comparison.regressed
    if not regressed:
        state = "unfinished" if not run.run.finished else "pass"
        errors = any(c.after is not None and c.after.verdict is Verdict.ERROR
                     for c in comparison.cases)  # fmt: skip
        return Answer("error" if errors and state == "pass" else state, sentence)
    groups = by_cause(regressed, causes)
    after = groups[0].items[0].after
    state = "error" if after is not None and after.verdict is Verdict.ERROR else "fail"
    return Answer(state, sentence)
