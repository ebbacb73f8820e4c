# SPDX-License-Identifier: GPL-2.0-only
"""A run as one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from orchestrator.judge import grouped, outcome, own_selftests, retried, tested
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import FigureChange
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.results import BuildRecord, CellRecord, Comparison, RunResult
from orchestrator.report import (
    bars,
    cause_text,
    covered_view,
    each_patch_text,
    figures,
    finds_text,
    ledger_plot,
    mutants_text,
    overlay,
    pages,
    plot,
    sections,
    sources,
    text,
    trace,
    view,
)
from orchestrator.report.answer import make_answer
from orchestrator.report.kconfig_diff import ConfigTable, config_tables, parse_config

# A kernel config has 300 KB at most; anything larger below that name is none.
_MAX_CONFIG = 4 << 20
_TAIL_LINES, _TAIL_WIDTH, _TAIL_BYTES = 40, 300, 16 << 10


@dataclass(frozen=True)
class Limits:
    """How much of what is endless goes into the page; the rest is in the files beside it.

    Of a run with more cases than ``boxes``, what passed has no boxes.
    """

    boxes: int = 10_000
    hits: int = 20
    lines: int = 150
    messages: int = 20
    bad: int = 30
    open_causes: int = 3
    cases: int = 200
    patches: int = 12
    figures: int = 60
    files: int = 50
    functions: int = 100
    hunks: int = 200
    open_lines: int = 400


def render(
    run: RunResult,
    folder: Path | None,
    comparison: Comparison | None = None,
    changes: tuple[FigureChange, ...] = (),
) -> str:
    """The page for ``run``.

    :param folder: the run's folder, for the stored kernel configs; without it their differences are
        left out.  Nothing outside it is read, whatever paths the stored results name.
    :param comparison: makes it a regression report, which leads with what got worse.
    :param changes: the comparison's measurements, judged by the noise that the history knows.
    """
    return pages.render(
        "report.html.j2",
        ("report.css",),
        "report.js",
        run=run,
        whole=without_prefixes(run),
        comparison=comparison,
        changes=changes,
        causes=causes_of(run),
        config_tables=_config_tables(without_prefixes(run), folder),
        console_tail=lambda case, cell: _console_tail(folder, case.console or cell.console_log),
        workloads={workload.name: workload for workload in run.workloads},
        limits=Limits(),
        brief=sum(len(cell.cases) for cell in run.cells) > Limits.boxes,
        href=href,
        # What the templates work out they ask of these by name: `figures.number(value)`.
        bars=bars,
        cause_text=cause_text,
        covered=covered_view,
        covered_series=covered_view.shown_series(run),
        figures=figures,
        finds=finds_text,
        mutants=mutants_text,
        grouped=grouped,
        outcome=outcome,
        own_selftests=own_selftests,
        patches=each_patch_text,
        retried=retried,
        counts_of_run=counts_of_run,
        sections=sections,
        sources=sources,
        ledger_plot=ledger_plot,
        overlay=overlay,
        size=plot,
        tested=tested,
        texts=text,
        traces=trace,
        make_answer=make_answer,
        view=view,
    )


def href(path: str) -> str:
    """A link to a file of the run; empty for a path that is none or leads elsewhere."""
    pure = PurePosixPath(path)
    if pure.parts[:1] not in _FOLDERS or ".." in pure.parts:
        return ""
    try:
        return quote(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no file can be called so
        return ""


_FOLDERS = (("cells",), ("builds",))


def _config_tables(run: RunResult, folder: Path | None) -> tuple[ConfigTable, ...]:
    if folder is None:
        return ()
    configs: dict[tuple[str, str, str], dict[str, str]] = {}
    records: list[CellRecord | BuildRecord] = [*run.cells, *run.builds]
    for record in records:
        key = (record.kernel, record.config, record.arch)
        if key not in configs and (found := _read_config(folder, record.kernel_config)):
            configs[key] = parse_config(found)
    return config_tables(configs)


def _console_tail(folder: Path | None, relative: str) -> str:
    """The last lines of a console, which a page that is mailed has no file of; empty for none."""
    try:
        path = (folder / relative).resolve() if folder is not None and href(relative) else None
        if folder is None or path is None or not path.is_relative_to(folder.resolve()):
            return ""
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = log.read(_TAIL_BYTES).decode("utf-8", "surrogateescape").splitlines()
    except (OSError, ValueError):
        return ""
    return "\n".join(line[:_TAIL_WIDTH] for line in lines[-_TAIL_LINES:])


def _read_config(folder: Path, relative: str) -> str:
    """The text of a stored config; empty where there is none: a report is made of what is there."""
    try:
        path = (folder / relative).resolve()
        if not href(relative) or not path.is_relative_to(folder.resolve()):
            return ""
        if path.stat().st_size > _MAX_CONFIG:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
