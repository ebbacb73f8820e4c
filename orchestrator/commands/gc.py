# SPDX-License-Identifier: GPL-2.0-only
"""``lab gc``: trim the cache."""

from __future__ import annotations

import json

import click

from orchestrator.host.cache import trim
from orchestrator.host.cache.place import check_path, check_place
from orchestrator.host.cache.survey import Entry
from orchestrator.runner.context import cache_folder

_SHOWN = 20


def gc(
    max_size: int | None, older_than: float | None, everything: bool, dry_run: bool, as_json: bool
) -> int:
    """Trim and tell what was freed.

    Without any wish the cache is brought within its budget.

    :param max_size: bytes.
    :param older_than: days.
    :raises UserError, HostError: when there can be no cache at its place.
    """
    cache = cache_folder()
    if check_path(cache.folder) == cache.folder and not dry_run:
        check_place(cache.folder)
    if max_size is None and older_than is None and not everything:
        max_size = trim.budget()
    age = older_than * 86400 if older_than is not None else None
    done = trim.trim(cache, trim.Wish(max_size, age, everything), dry_run=dry_run)
    if as_json:
        told = {
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
