# SPDX-License-Identifier: GPL-2.0-only
"""What every run leaves: its reports, its place in the history, its log, and who ran it where."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.judge.compare import FigureChange, figure_changes
from orchestrator.judge.noise import NoiseTable
from orchestrator.model.errors import HostError, LabError, UserError
from orchestrator.model.mutants import Campaign
from orchestrator.model.results import Comparison, RunResult
from orchestrator.results import digests, runs, searches, series_mutants, store, unfinished
from orchestrator.runner.context import Places

# How many of the newest runs are looked through for one of a campaign's sources.
_NEWEST = 20


def write_reports(
    run: RunResult,
    folder: Path,
    comparison: Comparison | None,
    changes: tuple[FigureChange, ...] = (),
) -> None:
    """Write results.json, junit.xml and index.html into a run's folder.

    :raises HostError: when one cannot be written.
    """
    store.save(run, folder)
    _write_pages(run, folder, comparison, changes)


def _write_pages(
    run: RunResult,
    folder: Path,
    comparison: Comparison | None,
    changes: tuple[FigureChange, ...],
) -> None:
    from orchestrator.report import html, junit

    pages = {
        "junit.xml": junit.render(run, comparison),
        "index.html": html.render(run, folder, comparison, changes),
    }
    _write_texts(pages, folder, f"lab report {folder}")


def write_mutants(campaign: Campaign, folder: Path, places: Places) -> None:
    """Write the reports on a campaign of mutants beside its mutants.json, and tell the newest run
    of the same series what it came to.

    :raises HostError: when one of the campaign's own cannot be written.
    """
    from orchestrator.report import junit, mutants_markdown, mutants_page

    pages = {
        "junit.xml": junit.render_mutants(campaign),
        "index.html": mutants_page.render(campaign),
        "mutants.md": mutants_markdown.render(campaign),
    }
    _write_texts(pages, folder, f"lab mutate --resume {campaign.name}")
    with _best_effort(folder):
        _tell_of_mutants(places, campaign)


def _write_texts(pages: Mapping[str, str], folder: Path, again: str) -> None:
    """Write reports by their names; ``again`` is the command that makes them anew."""
    for name, text in pages.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise HostError(
                f"cannot write {folder / name}: {error.strerror}",
                f"free some space, then `{again}` makes it",
            ) from error


def recalled(places: Places, run: RunResult) -> RunResult:
    """The run, its failures with what the history has of them; without one, the run as it is."""
    from orchestrator.results import steadiness

    with contextlib.suppress(LabError):
        return steadiness.with_earlier(places.history, run)
    return run


def finish(places: Places, run: RunResult, folder: Path, comparison: Comparison | None) -> str:
    """Keep a run that is over: its reports, the link ``latest``, the history.

    Gives one sentence where the history was damaged and had to be made anew.

    :raises UserError, HostError: the history cannot be used; the reports are written by then.
    """
    from orchestrator.results import history, mended
    from orchestrator.results.history_file import Damaged
    from orchestrator.runner import overview

    if run.searched is None and (known := series_mutants.known(places.reports, run)):
        series_mutants.keep(folder, known)
        run = replace(run, mutants=known)
    changes = figure_changes(comparison, known_noise(places)) if comparison else ()
    write_reports(run, folder, comparison, changes)
    if run.searched is not None:
        _tell(places, run)
    if folder.parent == places.reports:
        runs.update_latest(places.reports, folder)
    overview.after_run(places.reports, run, folder, comparison)
    try:
        history.record(places.history, run, folder)
    except Damaged as error:
        told = mended.made_anew(places.history, places.reports, error)
        history.record(places.history, run, folder)
        return told
    return ""


def _tell(places: Places, search: RunResult) -> None:
    """Tell the run that a search is about what it came to, and make that one's reports again.

    It is one below reports/, or is not told; a search does not fail for it.
    """
    assert search.searched is not None
    folder = places.reports / (search.searched.of or "-")
    if not (folder / runs.RESULTS).is_file():
        return
    with _best_effort(folder):
        searches.keep(folder, search)
        _retell(places, folder)


def _tell_of_mutants(places: Places, campaign: Campaign) -> None:
    for folder in runs.by_age(places.reports)[:_NEWEST]:
        try:
            run = store.load(folder, evidence=False)
        except UserError:  # of another lab, or damaged
            continue
        if run.searched is None and any(series_mutants.of_run(run, campaign)):
            series_mutants.keep(folder, series_mutants.known(places.reports, run))
            _retell(places, folder)
            return


def _retell(places: Places, folder: Path) -> None:
    """Make the reports of a stored run again, of which more is known now."""
    run = store.load(folder)
    comparison = digests.compared(places.reports, run)
    changes = figure_changes(comparison, known_noise(places)) if comparison else ()
    _write_pages(run, folder, comparison, changes)


@contextlib.contextmanager
def _best_effort(folder: Path) -> Iterator[None]:
    """Nothing fails because another run could not be told of it: that is logged."""
    try:
        yield
    except LabError as error:
        logging.getLogger("lab.run").warning("%s: %s", folder.name, error.message)


def known_noise(places: Places) -> NoiseTable:
    """What the history knows of noise; a comparison needs none, so nor does it need a history."""
    from orchestrator.results import history

    with contextlib.suppress(LabError):
        return history.noise(places.history)
    return {}


def host(places: Places) -> dict[str, str]:
    """The machine, as results.json tells it."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "cpus": str(cpu_count()),
        "memory_mib": str(pages * size >> 20),
        "python": platform.python_version(),
        "cache": str(places.cache.folder),
    }


def cpu_count() -> int:
    """How many cores this machine has."""
    return os.cpu_count() or 1


def now() -> str:
    """This instant, UTC ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """For a with block every command that is started, and every surprise, goes into a run's log.

    :raises HostError: when it cannot be written.
    """
    try:
        handler = logging.FileHandler(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", "name another --out") from error
    if handler.stream is not None:
        unfinished.hold(handler.stream.fileno())
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    lab = logging.getLogger("lab")
    kept = lab.level, lab.propagate
    lab.setLevel(logging.DEBUG)
    lab.addHandler(handler)
    lab.propagate = False
    try:
        yield
    finally:
        lab.removeHandler(handler)
        handler.close()
        lab.setLevel(kept[0])
        lab.propagate = kept[1]
