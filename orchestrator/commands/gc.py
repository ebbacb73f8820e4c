# SPDX-License-Identifier: GPL-2.0-only
"""``lab gc``: trim the cache, and the stored runs."""

from __future__ import annotations

import json

import click

from orchestrator.commands.workspace import stored_places
from orchestrator.host.cache import trim
from orchestrator.host.cache.place import check_path, check_place
from orchestrator.host.cache.survey import Entry
from orchestrator.model.formats import counted
from orchestrator.results.prune import KEEP, prune
from orchestrator.results.runs import list_runs
from orchestrator.runner.context import cache_folder

_SHOWN = 20


def gc(
    max_size: int | None,
    older_than: float | None,
    everything: bool,
    reports: bool,
    keep_reports: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Trim and tell what was freed.

    Without any wish the cache is brought within its budget.

    :param max_size: bytes.
    :param older_than: days.
    :param reports: the stored runs alone are trimmed, and not the cache.
    :param keep_reports: how many runs are kept; None for all of them, with ``reports`` for 30.
    :raises UserError, HostError: when there can be no cache at its place, or no lab here has runs.
    """
    about_runs: dict[str, object] = {}
    if reports or keep_reports is not None:
        about_runs = _prune(KEEP if keep_reports is None else keep_reports, dry_run, as_json)
    if reports:
        if as_json:
            click.echo(json.dumps(about_runs, indent=1))
        return 0
    cache = cache_folder()
    if check_path(cache.folder) == cache.folder and not dry_run:
        check_place(cache.folder)
    if max_size is None and older_than is None and not everything:
        max_size = trim.budget()
    age = older_than * 86400 if older_than is not None else None
    done = trim.trim(cache, trim.Wish(max_size, age, everything), dry_run=dry_run)
    if as_json:
        told = {
            **about_runs,
            "cache": str(cache.folder),
            "dry_run": dry_run,
            "freed": done.freed,
            "left": done.left,
            "removed": [_as_dict(entry) for entry in done.removed],
            "in_use": [_as_dict(entry) for entry in done.in_use],
        }
        click.echo(json.dumps(told, indent=1))
        return 0
    _print("would remove" if dry_run else "removed", done.removed)
    _print("in use:", done.in_use)
    freed = "would free" if dry_run else "freed"
    click.echo(
        f"{freed} {size_text(done.freed)}; {size_text(done.left)} are left in {cache.folder}"
    )
    return 0


def _prune(keep: int, dry_run: bool, as_json: bool) -> dict[str, object]:
    """Trim the stored runs; gives what is told of it in JSON, and prints it otherwise."""
    folder = stored_places().reports
    gone = prune(folder, keep, dry_run=dry_run)
    freed = sum(one.size for one in gone)
    if not as_json:
        for one in gone[:_SHOWN]:
            verb = "would remove" if dry_run else "removed"
            click.echo(f"{verb} run {one.folder.name}, {size_text(one.size)}")
        if len(gone) > _SHOWN:
            click.echo(f"... and {counted(len(gone) - _SHOWN, 'more run')}")
        left = len(list_runs(folder)) - (len(gone) if dry_run else 0)
        verb = "would free" if dry_run else "freed"
        click.echo(f"{verb} {size_text(freed)}; {counted(left, 'run')} left in {folder}")
    return {
        "reports": str(folder),
        "dry_run": dry_run,
        "runs": [{"run": one.folder.name, "size": one.size} for one in gone],
        "freed_of_runs": freed,
    }


def _print(verb: str, entries: tuple[Entry, ...]) -> None:
    """One line an entry; the many small workload programs in one together."""
    single = [entry for entry in entries if entry.kind != "workloads"]
    for entry in single[:_SHOWN]:
        click.echo(f"{verb} {_name(entry)}, {size_text(entry.size)}")
    small = [entry for entry in entries if entry not in single[:_SHOWN]]
    if small:
        what = "workload programs" if len(single) <= _SHOWN else "more"
        size = sum(entry.size for entry in small)
        click.echo(f"{verb} {len(small)} {what}, {size_text(size)}")


def size_text(size: int) -> str:
    """Bytes as people read them: ``1.7 GiB``."""
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.1f} {unit}"
    return f"{size} bytes"


def _name(entry: Entry) -> str:
    return entry.name if entry.kind in ("ccache", "sources") else f"{entry.kind}/{entry.name}"


def _as_dict(entry: Entry) -> dict[str, object]:
    return {"kind": entry.kind, "name": entry.name, "size": entry.size, "used": entry.used}
