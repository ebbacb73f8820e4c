# SPDX-License-Identifier: GPL-2.0-only
"""``lab report``: a stored run's reports anew, as files, for a forge, a mail or Patchwork."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import click

from orchestrator.commands.workspace import read, stored_places
from orchestrator.judge.compare import FigureChange, figure_changes, kernel_regressed
from orchestrator.judge.compare import compare as set_beside
from orchestrator.judge.each_patch import each_patch, status_with
from orchestrator.judge.outcome import exit_status, kernels_of
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.errors import (
    EXIT_HOST,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    HostError,
    UserError,
)
from orchestrator.model.results import Comparison, RunResult
from orchestrator.report import kcidb, mail, markdown, patchwork
from orchestrator.report.text import visible
from orchestrator.results import runs, store
from orchestrator.runner.context import Places
from orchestrator.runner.record import known_noise

# Without what could end a link in Markdown, or begin one's title.
_URL = re.compile(r"https?://[^\s<>\"'`\\|]+", re.ASCII)
_WHO = re.compile(r"[^<>\n]+ <[^<>@\s]+@[^<>@\s]+>")
RUN_IN_URL = "{run}"


@dataclass(frozen=True)
class ReportOptions:
    """What a report is set against, and what is made of it.

    ``baseline`` is a run or a kernel of the run; None for the one it had, ``none`` for none.  With
    ``markdown``, ``mail`` or ``patchwork`` nothing is written but standard output.  ``url`` is
    where the run's page is published, ``context`` what the check is called, ``tested_by`` who
    stands for a clean run in its mail.  ``kcidb`` prints a report to KCIDB, in the name of
    ``origin`` where lab.yaml's is not meant.
    """

    baseline: str | None = None
    as_json: bool = False
    markdown: bool = False
    patchwork: bool = False
    mail: bool = False
    tested_by: str = ""
    url: str = ""
    context: str = ""
    kcidb: bool = False
    origin: str = ""


def report(name: str, options: ReportOptions) -> int:
    """Write a run's junit.xml and index.html again, or print what a forge or Patchwork takes.

    :raises UserError: when a run is unknown or damaged, or the URL is none.
    """
    places = stored_places(name)
    folder = runs.find_run(places.reports, name)
    run = store.load(folder)
    if run.searched is not None and (options.kcidb or options.patchwork):
        raise UserError(
            f"{run.run.id} is a search (lab {run.searched.kind}), whose trials check no series",
            f"report the run that it was about, which has the answer: lab report {run.searched.of}",
        )
    if options.kcidb:
        origin = options.origin or _origin(places)
        click.echo(json.dumps(kcidb.report(run, origin, _url(options.url, run)), allow_nan=False))
        return EXIT_OK
    comparison = _against(places.reports, run, options.baseline)
    if options.markdown or options.patchwork or options.mail:
        if options.baseline is not None:
            run = _judged_anew(run, comparison)
        url = _url(options.url, run)
        if options.markdown:
            click.echo(markdown.render(run, comparison, url), nl=False)
        elif options.mail:
            _mail(run, comparison, url, _who(options.tested_by))
        else:
            click.echo(json.dumps(patchwork.check(run, comparison, url, options.context)))
        return EXIT_OK
    changes = figure_changes(comparison, known_noise(places)) if comparison else ()
    written = write_reports(
        run, folder, comparison, folder / "index.html", folder / "junit.xml", changes
    )
    if options.as_json:
        click.echo(json.dumps({"run": run.run.id, "written": list(map(str, written))}, indent=1))
    else:
        for problem in run.problems:
            click.echo(f"lab: {visible(problem)}", err=True)
        click.echo("\n".join(map(str, written)))
    return EXIT_OK


def index(as_json: bool) -> int:
    """Write the pages over all runs: ``reports/index.html`` and ``trends.html``.

    :raises HostError: when one cannot be written.
    """
    from orchestrator.runner import overview

    done = overview.write(stored_places().reports)
    if as_json:
        files = list(map(str, done.written))
        click.echo(json.dumps({"written": files, "passed_over": list(done.notes)}, indent=1))
    else:
        for note in done.notes:
            click.echo(f"lab: passed over: {visible(note)}", err=True)
        click.echo("\n".join(map(str, done.written)))
    return EXIT_OK


def _origin(places: Places) -> str:
    """What lab.yaml calls this lab in KCIDB; empty where there is none, or it has no word."""
    return read(places).kcidb_origin if places.lab_yaml.is_file() else ""


def _mail(run: RunResult, comparison: Comparison | None, url: str, tested_by: str) -> None:
    click.echo(mail.render(run, comparison, url, tested_by), nl=False)
    if tested_by and not mail.is_clean(run, comparison):
        click.echo("lab: no Tested-by: not all is well", err=True)


def _who(text: str) -> str:
    """Who was typed, as a trailer of git has it."""
    if text and not _WHO.fullmatch(text):
        raise UserError(f"--tested-by {text}: expected NAME <MAIL>")
    return text


def _url(text: str, run: RunResult) -> str:
    """The URL that was typed, with the run's id in place of ``{run}``."""
    if text and not _URL.fullmatch(text):
        raise UserError(f"--url {text}: expected http:// or https:// and what stands behind it")
    return text.replace(RUN_IN_URL, quote(run.run.id, safe=""))


def _judged_anew(run: RunResult, comparison: Comparison | None) -> RunResult:
    """The run with the exit status that it has against this baseline."""
    if not run.run.finished or run.run.exit_status == EXIT_INTERRUPTED:
        return run
    whole = without_prefixes(run)
    run = replace(run, each_patch=each_patch(run, comparison))
    status = exit_status(
        whole.cells, whole.builds, whole.kernels,
        regressions=int(kernel_regressed(comparison)) if comparison else None,
        need_cases=bool(whole.cells),
        usage=run.run.exit_status == EXIT_USAGE,
        host_problem=run.run.exit_status == EXIT_HOST,
    )  # fmt: skip
    status = status_with(status, run.each_patch, run)
    return replace(run, run=replace(run.run, exit_status=status))


def _against(reports: Path, run: RunResult, baseline: str | None) -> Comparison | None:
    wanted = run.run.baseline if baseline is None else baseline
    if wanted in ("", "none"):
        return None
    kernels = kernels_of(run)
    if wanted in kernels:
        others = [kernel for kernel in kernels if kernel != wanted]
        if len(others) != 1:
            raise UserError(
                f"run {run.run.id} has {len(others)} kernels beside {wanted}",
                "use `lab compare RUN RUN --kernel-a A --kernel-b B`",
            )
        return set_beside(run, run, wanted, others[0])
    try:
        return set_beside(store.load(runs.find_run(reports, wanted)), run)
    except UserError as error:
        raise UserError(
            f"baseline {wanted}: {error.message}",
            "name another with --baseline, or `--baseline none` for a report without one",
        ) from error


def write_reports(
    run: RunResult, folder: Path, comparison: Comparison | None, html: Path | None,
    junit: Path | None, changes: tuple[FigureChange, ...] = (),
) -> tuple[Path, ...]:  # fmt: skip
    """Write a page and a JUnit file where they are asked for; gives the files.

    :raises HostError: when one cannot be written.
    """
    from orchestrator.report import html as html_report
    from orchestrator.report import junit as junit_report

    texts = []
    if html is not None:
        texts.append((html, html_report.render(run, folder, comparison, changes)))
    if junit is not None:
        texts.append((junit, junit_report.render(run, comparison)))
    for path, text in texts:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}") from error
    return tuple(path.absolute() for path, _ in texts)
