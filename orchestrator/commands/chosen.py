# SPDX-License-Identifier: GPL-2.0-only
"""Which run and case the words of a command mean that takes [RUN] [CASE]."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.model.errors import UserError
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.report.text import visible
from orchestrator.results import cases, runs, store


@dataclass(frozen=True)
class Chosen:
    """A stored run and one of its cases; ``case`` is None where none was named."""

    folder: Path
    run: RunResult
    case: CaseResult | None


def choose(reports: Path, words: tuple[str, ...]) -> Chosen:
    """The run and the case that ``words`` name: both, one of them, or neither.

    Without a run it is the latest.  One word is a run where there is one called so.

    :raises UserError: when a word means nothing, or several things.
    """
    if len(words) == 2:
        folder = runs.find_run(reports, words[0])
        run = store.load(folder)
        return Chosen(folder, run, _told(cases.find_case(run, words[1]), words[1]))
    called = runs.runs_called(reports, words[0]) if words else ()
    if len(called) == 1:
        return Chosen(called[0], store.load(called[0]), None)
    folder = runs.find_run(reports, runs.LATEST)
    run = store.load(folder)
    if not words:
        return Chosen(folder, run, None)
    word = words[0]
    if cases.cases_called(run, word):
        return Chosen(folder, run, _told(cases.find_case(run, word), word))
    if called:
        raise runs.several_runs(word, called)
    raise UserError(
        f"{word!r} is neither a run nor a case of the latest one, {run.run.id}",
        cases.near_names(run, word, runs.spellings(reports)),
    )


def first_failing(reports: Path, words: tuple[str, ...]) -> tuple[Path, RunResult, CaseResult]:
    """As :func:`choose`, and where no case is named the first that failed.

    :raises UserError: then also when none failed, with the run in which one last did.
    """
    chosen = choose(reports, words)
    if chosen.case is not None:
        return chosen.folder, chosen.run, chosen.case
    case = cases.first_failure(chosen.run)
    if case is not None:
        return chosen.folder, chosen.run, _told(case, "")
    raise UserError(f"no case of run {chosen.run.run.id} failed", _last_failed(reports))


def _last_failed(reports: Path) -> str:
    with contextlib.suppress(UserError):
        folder = runs.find_run(reports, runs.LAST_FAILED)
        return f"the last in which one did is {folder.name}: `{runs.LAST_FAILED}` names it"
    return "name a case, or another run"


def _told(case: CaseResult, word: str) -> CaseResult:
    """The case; which it is, is told where not all of it was typed."""
    if case.id != word:
        click.echo(f"lab: {visible(case.id)}", err=True)
    return case
