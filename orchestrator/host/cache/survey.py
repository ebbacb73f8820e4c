# SPDX-License-Identifier: GPL-2.0-only
"""What lies in the cache: each thing that can be removed by itself, its size and its last use."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import try_lock

#: What trimming renames things to before it deletes them, below the cache's tmp.
RUBBISH = "rubbish-"


@dataclass(frozen=True)
class Entry:
    """One thing that can be removed by itself.

    ``kind`` is the cache's sub-folder it lies in (``ccache`` and ``sources`` are one entry each),
    ``size`` its bytes on disk, ``used`` when it was used last, in seconds since the epoch.
    """

    kind: str
    name: str
    path: Path
    size: int
    used: float


def survey(cache: Cache) -> tuple[Entry, ...]:
    """Everything removable in the cache, least recently used first."""
    found = [entry for kind in _READERS for entry in survey_kind(cache, kind)]
    return tuple(sorted(found, key=lambda entry: entry.used))


def survey_kind(cache: Cache, kind: str) -> tuple[Entry, ...]:
    """What lies in one sub-folder; of ``tmp`` only what killed labs left."""
    try:
        return tuple(_READERS[kind](cache, kind))
    except FileNotFoundError:
        return ()


def disk_size(path: Path) -> int:
    """Bytes that a file or a folder takes on disk; what vanishes meanwhile counts nothing."""
    total, folders = 0, [] if path.is_symlink() else [str(path)]
    with contextlib.suppress(OSError):
        total = os.lstat(path).st_blocks * 512
    while folders:
        for entry in _entries(folders.pop()):
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return total


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, as far as it can be read."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from entries


def _entry(cache: Cache, kind: str, path: Path) -> Entry:
    return Entry(kind, path.name, path, disk_size(path), last_use(cache, kind, path))


def _plain(cache: Cache, kind: str) -> Iterator[Entry]:
    for path in (cache.folder / kind).iterdir():
        if path.suffix != ".lock":
            yield _entry(cache, kind, path)


def _folders(cache: Cache, kind: str) -> Iterator[Entry]:
    for path in (cache.folder / kind).iterdir():
        if path.is_dir() and not path.is_symlink():
            yield _entry(cache, kind, path)


def _scratch(cache: Cache, kind: str) -> Iterator[Entry]:
    """What a killed lab left: scratch folders whose lock is free, and what trimming renamed."""
    for path in (cache.folder / kind).iterdir():
        lock = cache.lock_beside(path)
        if path.name.startswith(RUBBISH) or (path.is_dir() and not _held(lock)):
            yield Entry(kind, path.name, path, disk_size(path), mtime(path))


def _held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            return not try_lock(file, fcntl.LOCK_SH)
    except OSError:
        return False


def _ccache(cache: Cache, kind: str) -> Iterator[Entry]:
    if (cache.folder / kind).is_dir():
        yield _entry(cache, kind, cache.folder / kind)


def _sources(cache: Cache, kind: str) -> Iterator[Entry]:
    """The object store with the records that point into it: of use together only."""
    store = cache.store
    if store.is_dir():
        size = disk_size(store) + disk_size(cache.records)
        yield Entry(kind, store.name, store, size, last_use(cache, kind, store))


_READERS: dict[str, Callable[[Cache, str], Iterator[Entry]]] = {
    "builds": _plain,
    "obj": _folders,
    "trees": _folders,
    "roots": _plain,
    "workloads": _plain,
    "selftests": _folders,
    "inputs": _folders,
    "ccache": _ccache,
    "sources": _sources,
    "tmp": _scratch,
}


def last_use(cache: Cache, kind: str, path: Path) -> float:
    """When an entry was used last."""
    if kind == "builds":
        return max(mtime(cache.build_record(path)), mtime(path))
    if kind == "obj":
        return max(mtime(cache.build_lock(path)), mtime(path))
    if kind == "trees":
        # Whoever builds from a tree uses one of its build folders.
        folders = cache.build_folders(path.name, "*", "*", fenced=True)
        objects = [mtime(cache.build_lock(folder)) for folder in folders]
        return max([mtime(cache.slot(path.name).stamp), mtime(path), *objects])
    if kind == "sources":
        # Looked into whenever a kernel is prepared, which leaves no trace: as used as its users.
        users = [
            *map(cache.build_lock, cache.objects.glob("*")),
            *cache.build_records(),
        ]
        return max([mtime(path), *map(mtime, users)])
    if kind == "ccache":
        return max([mtime(path), *(mtime(part) for part in path.glob("?"))])
    return mtime(path)


def mtime(path: Path) -> float:
    """When a file was written last; 0 where there is none."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
