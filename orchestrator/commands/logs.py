# SPDX-License-Identifier: GPL-2.0-only
"""``lab logs``: what the kernel and the workload of a case said, in a pager on a terminal."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from orchestrator.commands.chosen import Chosen, choose, first_failing
from orchestrator.commands.entry import no_interrupts
from orchestrator.commands.workspace import reports_folder
from orchestrator.evidence.klog.window import stored_window
from orchestrator.host import process
from orchestrator.model.errors import EXIT_OK, HostError, UserError
from orchestrator.model.names import BUILD, SERIES, STAGES
from orchestrator.model.results import CaseResult
from orchestrator.report.text import visible
from orchestrator.report.trace import annotated
from orchestrator.results import cases

# Somebody reads: the pager is left alone for as long.
_DEADLINE = 3 * 86400.0


@dataclass(frozen=True)
class LogsOptions:
    """``build`` asks for the log of the build, ``path`` for the names of the files alone."""

    build: bool = False
    path: bool = False


def logs(words: tuple[str, ...], options: LogsOptions) -> int:
    """Show the logs of a case: its reports, its part of the console, what its workload printed.

    :param words: a run and a case, one of them or none (:mod:`orchestrator.commands.chosen`).
    :raises UserError: when the run or case is unknown, or no log of it is kept.
    """
    reports = reports_folder(*words[:1])
    if options.build:
        return _build_log(choose(reports, words), options)
    folder, run, case = first_failing(reports, words)
    files = cases.files_of(folder, run, case)
    if case.workload in (BUILD, SERIES):
        if files.build_log is not None and case.workload == BUILD:
            return _show_build(files.build_log, options)
        raise UserError(f"{case.id}: {case.reason}", "it has no log: nothing was built or booted")
    console, first, text = _console(files.consoles, case)
    paths = [path for path in (console, files.output) if path is not None]
    if not paths:
        raise UserError(f"{case.id}: {folder} keeps no log of it", "`lab rerun` makes one anew")
    if options.path:
        click.echo("\n".join(map(str, paths)))
        return EXIT_OK
    parts = [f"{case.verdict.value.upper()}  {case.id}", *case.reason.splitlines()]
    for hit in case.hits:
        parts += [_heading(f"report: {hit.title}"), annotated(hit)]
    if console is not None:
        last = first + text.count("\n")
        parts += [_heading(f"{console}, lines {first} to {last}"), text]
    if files.output is not None:
        said = files.output.read_text("utf-8", "replace").rstrip("\n")
        parts += [_heading(str(files.output)), said]
    _page("\n".join(parts))
    return EXIT_OK


def _console(consoles: tuple[Path, ...], case: CaseResult) -> tuple[Path | None, int, str]:
    """The console with the case's workload in it, and what of it belongs to that.

    All of the likeliest where none has a mark of it, as of a boot.
    """
    texts = ((path, path.read_text("utf-8", "replace")) for path in consoles)
    whole: tuple[Path, str] | None = None
    for path, text in texts:
        whole = whole or (path, text)
        if case.workload in STAGES:
            break
        if (found := stored_window(text, case.workload)) is not None:
            return (path, *found)
    return (whole[0], 1, whole[1].rstrip("\n")) if whole else (None, 1, "")


def _build_log(chosen: Chosen, options: LogsOptions) -> int:
    """That of the case, else of what failed first, else of the only build of the run."""
    case = chosen.case or cases.first_failure(chosen.run)
    files = cases.files_of(chosen.folder, chosen.run, case) if case else cases.CaseFiles()
    if files.build_log is not None:
        return _show_build(files.build_log, options)
    kept = [build for build in chosen.run.builds if (chosen.folder / build.log).is_file()]
    if case is None and len(kept) == 1:
        return _show_build(chosen.folder / kept[0].log, options)
    if case is None and kept:
        names = ", ".join(f"{build.id}/-:{BUILD}:{BUILD}" for build in kept)
        raise UserError(f"run {chosen.run.run.id} has {len(kept)} builds", f"name one: {names}")
    raise UserError(
        f"run {chosen.run.run.id} keeps no build log of {case.id if case else 'any kernel'}",
        "a kernel that was in the cache was not built in that run",
    )


def _show_build(path: Path, options: LogsOptions) -> int:
    if options.path:
        click.echo(str(path))
    else:
        _page("\n".join((_heading(str(path)), path.read_text("utf-8", "replace").rstrip("\n"))))
    return EXIT_OK


def _heading(text: str) -> str:
    return f"\n---- {text}"


def _page(text: str) -> None:
    """Show a text, in the user's pager on a terminal; nothing of a guest may steer that."""
    shown = visible(text).strip("\n") + "\n"
    pager = shlex.split(os.environ.get("PAGER", "less"))
    if not sys.stdout.isatty() or not pager or process.find_tool(pager[0]) is None:
        click.echo(shown, nl=False)
        return
    path = process.temp_folder() / "logs"
    path.write_text(shown, encoding="utf-8", errors="replace")
    env = {name: os.environ[name] for name in ("TERM", "LESS", "LESSCHARSET") if name in os.environ}
    try:
        with no_interrupts():
            process.run([*pager, path], deadline=_DEADLINE, env={"LESS": "FRX", **env},
                        check=False, terminal=True)  # fmt: skip
    except HostError:
        click.echo(shown, nl=False)
    finally:
        path.unlink(missing_ok=True)
