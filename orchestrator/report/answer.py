# SPDX-License-Identifier: GPL-2.0-only
"""The first thing that a report says: verdict, counts, the first failure.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.grouped import by_cause
from orchestrator.judge.outcome import PlacedCase, cases_of
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.formats import counted
from orchestrator.model.names import CaseId, Verdict
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report import each_patch_text
from orchestrator.report.text import answer, changes_text, headline, verdict_counts
from orchestrator.report.view import anchor, standing


@dataclass(frozen=True)
class Answer:
    """The first thing the report says.  ``state`` is pass, fail, error, unfinished, interrupted."""

    state: str
    sentence: str
    first: str
    anchor: str


def make_answer(
    run: RunResult, comparison: Comparison | None, causes: Sequence[Cause] | None = None
) -> Answer:
    """Verdict, counts and the first failure in one sentence each.

    :param causes: those of the run, where they are known already.
    """
    causes = causes_of(run) if causes is None else causes
    if comparison is not None:
        return _with_patches(_comparison_answer(run, comparison, causes), run)
    return _with_patches(_own_answer(run, causes), run)


def _with_patches(found: Answer, run: RunResult) -> Answer:
    """The same with the first series that cannot be bisected (``--each-patch``)."""
    one = next((one for one in run.each_patch if one.broken), None)
    if one is None:
        return found
    told = f"{found.sentence} The series of {one.kernel} {each_patch_text.sentence(one)}."
    found = replace(found, sentence=told)
    if found.state != "pass":
        return found
    first = one.broken[0]
    return replace(found, state="fail", first=first.case, anchor=anchor(first.case))


def _own_answer(run: RunResult, causes: Sequence[Cause]) -> Answer:
    placed = tuple(p for p in cases_of(run))
    counts = verdict_counts(tuple(p.case for p in placed))
    state = answer(run)
    total = len(placed)
    cells = counted(len(without_prefixes(run).cells), "cell")
    parts = [f"{counts[Verdict.FAIL]} of {total} cases failed" if counts[Verdict.FAIL] else ""]
    if counts[Verdict.ERROR]:
        parts.append(f"{counts[Verdict.ERROR]} could not be judged because the host failed")
    sentence = ", ".join(filter(None, parts)) or (
        f"{counts[Verdict.PASS]} cases passed, none failed" if total else "no case was executed"
    )
    if counts[Verdict.SKIP]:
        sentence += f", {counts[Verdict.SKIP]} skipped"
    sentence += _met_words(placed)
    if not run.run.finished:
        sentence = f"the run did not finish; so far {sentence}"
    if not causes:
        return Answer(state, f"{sentence}, in {cells}.", "", "")
    first = next(p for p in placed if p.case.id == causes[0].first.id)
    return Answer(
        state, f"{sentence}, in {cells}.", _with_family(first, placed), anchor(first.case.id)
    )


def _met_words(placed: tuple[PlacedCase, ...]) -> str:
    """How many cases pass only because lab.yaml foresees them; empty where none does."""
    found = [standing(p.case).words for p in placed if standing(p.case).state == "met"]
    counts = {"fail as expected": found.count("as expected"),
              "have known issues alone": found.count("known issue")}  # fmt: skip
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f" ({told}: counted as passed)" if told else ""


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
        return Answer("error" if errors and state == "pass" else state, sentence, "", "")
    item = by_cause(regressed, causes)[0].items[0]
    if item.after is None:
        return Answer("fail", sentence, "", "")
    state = "error" if item.after.verdict is Verdict.ERROR else "fail"
    siblings = tuple(PlacedCase("", c.key, c.after) for c in regressed if c.after is not None)
    first = PlacedCase("", item.key, item.after)
    return Answer(state, sentence, _with_family(first, siblings), anchor(item.after.id))


def _with_family(first: PlacedCase, placed: tuple[PlacedCase, ...]) -> str:
    """The first failure with what its workload's other failing cases add.

    A counter that drifts and the report the kernel prints about it are two cases of one workload.
    """
    place = (CaseId.parse(first.case.id).cell, first.case.workload)
    family = [
        p.case
        for p in placed
        if p.case.verdict is first.case.verdict
        and (CaseId.parse(p.case.id).cell, p.case.workload) == place
    ]
    merged = replace(
        first.case,
        hits=tuple(hit for case in family for hit in case.hits),
        ledger=tuple(step for case in family for step in case.ledger),
        counters=tuple(counter for case in family for counter in case.counters),
    )
    return f"{first.case.id}: {headline(merged)}"
