# SPDX-License-Identifier: GPL-2.0-only
"""``lab history``: earlier runs, or what one case came to in each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from orchestrator.commands.workspace import stored_places
from orchestrator.model import lookup
from orchestrator.model.codec import plain
from orchestrator.model.names import Verdict
from orchestrator.model.past import HistoryCase, HistoryRun
from orchestrator.report.figures import figures
from orchestrator.report.text import printable, visible
from orchestrator.results import history as store
from orchestrator.results import steadiness
from orchestrator.results.cases import near_cases
from orchestrator.results.unfinished import Unfinished, unfinished
from orchestrator.runner.context import Places


def history(
    case_glob: str | None, verdict: str | None, limit: int, rebuild: bool, as_json: bool
) -> int:
    """Print runs, or with a glob or verdict the cases that fit, newest first.

    :raises UserError: when there is no lab.yaml, or the file is no history of ours.
    """
    places = _places(rebuild)
    if case_glob is None and verdict is None:
        left = {one.run.run.id: one for one in unfinished(places.reports)}
        known = {run.id: run for run in store.runs(places.history, limit)}
        known |= {name: store.as_history(one.run, one.folder) for name, one in left.items()}
        runs = sorted(known.values(), key=lambda run: (run.started, run.id), reverse=True)[:limit]
        if as_json:
            click.echo(json.dumps([plain(run) for run in runs], indent=1))
        else:
            _print_runs(runs, left)
        return 0
    wanted = Verdict(verdict) if verdict else None
    cases = store.query(places.history, case_glob or "*", wanted, limit)
    if as_json:
        click.echo(json.dumps([plain(case) for case in cases], indent=1))
    elif cases:
        _print_cases(cases)
    else:
        click.echo(_nothing(places.history, case_glob or "*"), err=True)
    return 0


def flaky(case_glob: str | None, limit: int, rebuild: bool, as_json: bool) -> int:
    """Print the cases that came to both on one kernel, the one that fails most first.

    :raises UserError: when there is no lab.yaml, or the file is no history of ours.
    """
    found = steadiness.flaky(_places(rebuild).history)
    if case_glob:
        fitting = set(lookup.fitting(case_glob, [case.key for case in found]))
        found = tuple(case for case in found if case.key in fitting)
    found = found[:limit]
    if as_json:
        click.echo(json.dumps([plain(case) for case in found], indent=1))
        return 0
    for case in found:
        runs = f"{case.failed} of {case.failed + case.passed}"
        click.echo(f"failed in {runs:>10} runs, last {visible(case.last)}  {visible(case.key)}")
    if not found:
        click.echo("no case of the history both passed and failed on one kernel", err=True)
    return 0


def _places(rebuild: bool) -> Places:
    """Where the runs are; with ``rebuild`` the history is read from them first."""
    places = stored_places()
    if rebuild:
        for problem in store.rebuild(places.history, places.reports):
            click.echo(f"lab: left out: {problem}", err=True)
    return places


def _nothing(db: Path, wanted: str) -> str:
    """Why there is nothing to show: the name, or the verdict asked for."""
    ids = store.case_ids(db)
    if lookup.fitting(wanted, ids):
        return "no case that fits came to that"
    near = near_cases(ids, wanted)
    return f"no case fits{f'; {near}' if near else ''}"


def _print_runs(runs: Sequence[HistoryRun], left: Mapping[str, Unfinished]) -> None:
    if not runs:
        click.echo("no run yet; `lab history --rebuild` reads the stored ones again", err=True)
        return
    width = max(len(run.id) for run in runs)
    click.echo(f"{'run':<{width}}  {'started':<20}  exit  pass  fail  skip error  command")
    for run in runs:
        status = str(run.exit_status) if run.finished else "cut"
        status = "now" if run.id in left and left[run.id].going_on else status
        numbers = [run.passed, run.failed, run.skipped, run.errors]
        # Of a search they count trials of what it suspects.
        counts = "  ".join(f"{'-' if run.searched else number:>4}" for number in numbers)
        told = f": searched: {visible(printable(run.searched))}" if run.searched else ""
        click.echo(
            f"{visible(run.id):<{width}}  {run.started:<20}  {status:>4}  {counts}"
            f"  {visible(run.command)}{told}"
        )
    for run in runs:
        if run.id in left:
            click.echo(f"lab: {visible(left[run.id].told)}", err=True)


def _print_cases(cases: tuple[HistoryCase, ...]) -> None:
    width = max(len(case.run) for case in cases)
    for case in cases:
        reason = visible(case.reason).partition("\n")[0]
        told = f": {reason}" if reason else ""
        click.echo(
            f"{case.verdict.value.upper():<5}  {visible(case.run):<{width}}  "
            f"{visible(case.id)}{told}"
        )
        for figure in figures(case.measurements):
            spread = f"  {figure.spread_text}" if figure.spread_text else ""
            click.echo(
                f"       {visible(figure.name)} {figure.text} {visible(figure.unit)}{spread}"
            )
