# SPDX-License-Identifier: GPL-2.0-only
"""Trim the cache: what was used least recently goes first, what a lab at work uses stays.

Everything in the cache can be made again, so deleting costs time and nothing else.  An entry is
renamed away while nobody looks things up (:mod:`.locks`), and then deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked, trimming
from orchestrator.host.cache.scratch import clean_leftovers
from orchestrator.host.cache.survey import RUBBISH, Entry, disk_size, last_use, mtime, survey
from orchestrator.model.errors import HostError, LabError, UserError
from orchestrator.model.formats import parse_size_mib

log = logging.getLogger("lab.trim")

BUDGET_ENV = "LAB_CACHE_BUDGET"
DEFAULT_BUDGET = 30 << 30
# Measuring the cache costs a look at each of its files: a second or so, but not after every run.
CHECK_INTERVAL = 3600.0
_CCACHE_DEADLINE = 300.0
# ccache takes 0 for "no limit"; below this it is as well cleared.
_CCACHE_LEAST = 64 << 20
# What a build or a root leaves when its lab is killed; nothing is at work on one for so long.
_UNFINISHED = 86400.0


@dataclass(frozen=True)
class Wish:
    """What to remove: everything, what was unused for ``max_age`` s, what is beyond ``max_size``.

    ``max_size`` is in bytes.
    """

    max_size: int | None = None
    max_age: float | None = None
    everything: bool = False


@dataclass(frozen=True)
class Trimmed:
    """What came of it.  Sizes are bytes; ``in_use`` are entries wanted away that a lab uses."""

    removed: tuple[Entry, ...]
    in_use: tuple[Entry, ...]
    freed: int
    left: int


def budget() -> int:
    """The disk budget in bytes: ``$LAB_CACHE_BUDGET`` (``20G``), else 30 GiB.

    :raises UserError: when the variable holds no size.
    """
    text = os.environ.get(BUDGET_ENV)
    if not text:
        return DEFAULT_BUDGET
    try:
        return parse_size(text)
    except ValueError as error:
        raise UserError(f"{BUDGET_ENV}={text}: {error}", f"unset {BUDGET_ENV}") from error


def parse_size(text: str) -> int:
    """Bytes from ``500M``, ``20G``, or a number of MiB.

    :raises ValueError: when it is no size.
    """
    return parse_size_mib(int(text) if text.isascii() and text.isdigit() else text) << 20


def keep_budget(cache: Cache, limit: int | None = None) -> Trimmed | None:
    """Keep the cache within its budget; for the end of a run, so it never raises.

    Gives None where it was checked less than an hour ago, or could not be.

    :param limit: bytes; default :func:`budget`.
    """
    stamp = cache.budget_checked
    try:
        if process.cancelled() or time.time() - mtime(stamp) < CHECK_INTERVAL:
            return None
        done = trim(cache, Wish(max_size=budget() if limit is None else limit))
        stamp.touch()
    except (LabError, OSError) as error:
        log.warning("the cache was not trimmed: %s", error)
        return None
    return done


# ---------------------------------------------------------------- trim


def choose(entries: tuple[Entry, ...], wish: Wish, now: float) -> tuple[Entry, ...]:
    """Which entries to remove, least recently used first.  Pure.

    ccache trims itself to what the others leave it, so that its whole size counts here.
    """
    total = sum(entry.size for entry in entries)
    chosen = []
    for entry in sorted(entries, key=lambda entry: (not _is_rubbish(entry, now), entry.used)):
        old = wish.max_age is not None and entry.used < now - wish.max_age
        big = wish.max_size is not None and total > wish.max_size
        if wish.everything or old or big or _is_rubbish(entry, now):
            chosen.append(entry)
            total -= entry.size
    return tuple(chosen)


def _is_rubbish(entry: Entry, now: float) -> bool:
    """Whether an entry is what a killed lab left."""
    unfinished = ".new" in Path(entry.name).suffixes and entry.used < now - _UNFINISHED
    return entry.kind == "tmp" or unfinished


def trim(cache: Cache, wish: Wish, *, dry_run: bool = False) -> Trimmed:
    """Remove what is wished away and is not in use.

    :raises HostError: when the cache cannot be written, or another lab holds it for minutes.
    """
    if not cache.folder.is_dir():
        return Trimmed((), (), 0, 0)
    entries = survey(cache)
    total = sum(entry.size for entry in entries)
    chosen = choose(entries, wish, time.time())
    taken: dict[Entry, Path] = {}
    with trimming(cache) as oldest:
        free = [entry for entry in chosen if _is_free(cache, entry, oldest)]
        if not dry_run:
            cache.tmp.mkdir(exist_ok=True)
            for entry in free:
                if entry.kind not in _IN_PLACE and _take(cache, entry, oldest):
                    taken[entry] = _rubbish_name(cache, entry)
    freed: dict[Entry, int] = {}
    for entry in free:
        gone: int | None = None
        if dry_run:
            gone = entry.size
        elif entry.kind in _IN_PLACE:
            gone = _IN_PLACE[entry.kind](cache, entry, wish, total - sum(freed.values()))
        elif entry in taken:
            _delete(taken[entry])
            gone = entry.size
        if gone is not None:
            freed[entry] = gone
    if not dry_run:
        _drop_locks(cache)
    removed = tuple(replace(entry, size=size) for entry, size in freed.items())
    sum_freed = sum(freed.values())
    return Trimmed(
        removed, tuple(e for e in chosen if e not in freed), sum_freed, total - sum_freed
    )


def _is_free(cache: Cache, entry: Entry, oldest: float | None) -> bool:
    """Whether no lab at work can have used an entry; its last use is looked up again."""
    if oldest is None or entry.kind in ("tmp", "ccache"):  # these two have locks of their own
        return True
    return entry.kind != "sources" and last_use(cache, entry.kind, entry.path) < oldest


def _rubbish_name(cache: Cache, entry: Entry) -> Path:
    # No folder is made for it: on a full disk there is room for a name and not for a folder.
    return cache.tmp / f"{RUBBISH}{entry.kind}-{entry.name}-{os.getpid()}"


def _take(cache: Cache, entry: Entry, oldest: float | None) -> bool:
    """Rename an entry away; False where somebody holds its lock, or did a moment ago."""
    target = _rubbish_name(cache, entry)
    lock = _lock_of(cache, entry)
    try:
        with contextlib.ExitStack() as stack:
            if lock is not None:
                stack.enter_context(locked(lock, deadline=0.0))
                if not _is_free(cache, entry, oldest):
                    return False
            if entry.kind == "sources":
                # First what points into the store: records of trees that are gone would mislead.
                records = target.with_name(f"{target.name}-records")
                with contextlib.suppress(FileNotFoundError):
                    cache.records.rename(records)
                _delete(records)
            entry.path.rename(target)
    except (HostError, OSError) as error:
        log.info("%s stays: %s", entry.path, error)
        return False
    return True


def _lock_of(cache: Cache, entry: Entry) -> Path | None:
    """The lock that whoever makes or writes the entry holds."""
    locks = {
        "obj": cache.build_lock(entry.path),
        "roots": cache.root_lock(entry.name.partition("-")[0]),
        "workloads": entry.path.with_suffix(".lock"),
        "sources": cache.import_lock,
    }
    return locks.get(entry.kind)


def _drop_locks(cache: Cache) -> None:
    """Remove the locks of workloads that are gone; who waits for one looks for it again."""
    for lock in cache.workloads.glob("*.lock"):
        if not lock.with_suffix("").exists():
            with contextlib.suppress(HostError), locked(lock, deadline=0.0):
                if not lock.with_suffix("").exists():
                    lock.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_scratch(cache: Cache, entry: Entry, _wish: Wish, _total: int) -> int | None:
    """What a killed lab left, or a killed trim."""
    clean_leftovers(cache)
    if entry.name.startswith(RUBBISH) or not cache.lock_beside(entry.path).exists():
        _delete(entry.path)
    return None if entry.path.exists() else entry.size


def _remove_tree(cache: Cache, entry: Entry, _wish: Wish, _total: int) -> int | None:
    """A work tree has a lock of its own; it can be deleted in place."""
    return entry.size if remove_slot(entry.name, cache) else None


def _trim_ccache(_cache: Cache, entry: Entry, wish: Wish, total: int) -> int | None:
    """Let ccache trim itself; gives the bytes that freed, None where it freed nothing.

    :param total: what all of the cache takes now, ccache included.
    """
    if not process.find_tool("ccache"):
        shutil.rmtree(entry.path, ignore_errors=True)
        return entry.size - disk_size(entry.path)
    old = wish.max_age is not None and entry.used < time.time() - wish.max_age
    left = 0
    if wish.max_size is not None and not wish.everything and not old:
        left = entry.size - max(0, total - wish.max_size)
    env = {"CCACHE_DIR": str(entry.path)}
    command = ["ccache", "--clear"]
    if left >= _CCACHE_LEAST:
        env["CCACHE_MAXSIZE"] = f"{left // 1000}k"
        command = ["ccache", "--cleanup"]
    process.run(command, deadline=_CCACHE_DEADLINE, env=env)
    return max(0, entry.size - disk_size(entry.path)) or None


_IN_PLACE: dict[str, Callable[[Cache, Entry, Wish, int], int | None]] = {
    "trees": _remove_tree,
    "ccache": _trim_ccache,
    "tmp": _remove_scratch,
}


def remove_build(build: Path, cache: Cache) -> None:
    """Delete a kept build of which it is known that nobody else can ask for it.

    :param build: its folder.
    """
    if not cache.build_record(build).exists():
        return
    with contextlib.suppress(OSError):
        cache.tmp.mkdir(exist_ok=True)
        target = cache.tmp / f"{RUBBISH}builds-{build.name}-{os.getpid()}"
        build.rename(target)
        _delete(target)


def remove_slot(slot: str, cache: Cache) -> bool:
    """Delete a slot's work tree unless it is in use; tell whether it is gone."""
    place = cache.slot(slot)
    try:
        with locked(place.lock, deadline=0.0):
            place.stamp.unlink(missing_ok=True)
            place.index.unlink(missing_ok=True)
            shutil.rmtree(place.folder, ignore_errors=True)
    except HostError:
        return False
    return not place.folder.exists()
