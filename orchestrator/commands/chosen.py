# SPDX-License-Identifier: GPL-2.0-only
"""Which run and case the words of a command mean that takes [RUN] [CASE]."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.workspace import command_line, load, stored_places
from orchestrator.model.errors import UserError
from orchestrator.model.names import CaseId, Verdict
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.model.spec import LabConfig
from orchestrator.report.text import visible
from orchestrator.results import cases, runs, store
from orchestrator.runner.context import Places

if TYPE_CHECKING:
    from orchestrator.commands.run import Options
    from orchestrator.judge.trials import Repeat
    from orchestrator.runner.run import RunOptions


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


def _refuse_good(found: Failing) -> None:
    """A search is for what failed: of another case each trial would only say so again."""
    verdict = found.case.verdict
    if verdict is Verdict.PASS or (verdict is Verdict.SKIP and not found.case.known):
        did = "passed" if verdict is Verdict.PASS else "was skipped"
        raise UserError(
            f"{found.case.id} {did} in run {found.run.run.id}: there is no failure to search",
            f"name a case that failed; this one is tried again by "
            f"`lab rerun {found.run.run.id} {found.case.id} --until-fail N`",
        )


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


@dataclass(frozen=True)
class Failing:
    """A case that is to be tried again, its run and that one's folder, and where the lab is."""

    places: Places
    config: LabConfig
    folder: Path
    run: RunResult
    case: CaseResult

    def repeat(self, *, on: str | None = None, with_base: bool = True) -> Repeat:
        """What is tried: the guest as it was in the run.

        :param on: another kernel of lab.yaml.
        :param with_base: whether the kernel that it is set beside is tried too.
        :raises UserError: when lab.yaml lacks what it takes.
        """
        from orchestrator.runner.narrowed import original, with_changes
        from orchestrator.runner.repeat import make_repeat

        was = original(self.folder, self.case)
        case = was or self.case
        shape = runs.stored_shape(self.folder, str(CaseId.parse(case.id).cell))
        found = make_repeat(self.config, self.run, case, on=on, shape=shape, with_base=with_base)
        return found if was is None else with_changes(found, self.case, self.run, self.folder)

    def options(self, typed: Options) -> RunOptions:
        """How the trials are run, as the command line has it.

        :raises UserError: when there is no run to resume.
        """
        from orchestrator.runner.run import RunOptions

        found = runs.find_run(self.places.reports, typed.resume) if typed.resume else None
        return RunOptions(out=typed.out, resume=found, jobs=typed.jobs, command=command_line())


def failing(words: tuple[str, ...], resume: str | None = None, notes: str = "") -> Failing:
    """The case that the words of a command mean which tries it again (:func:`first_failing`).

    :param resume: a search that goes on: without words its own case is meant.
    :param notes: what the notes of such a search are called; empty for what is no search, and may
        try a case again that did not fail.
    :raises UserError: when the run or the case is unknown, or lab.yaml is wrong.
    """
    places = stored_places()
    config = load(places)
    if words or resume is None:
        found = Failing(places, config, *first_failing(places.reports, words))
        if notes and resume is None:
            _refuse_good(found)
        return found
    from orchestrator.runner.searching import searched

    folder = runs.find_run(places.reports, resume)
    run = store.load(folder)
    return Failing(places, config, folder, run, cases.find_case(run, searched(folder / notes)))
