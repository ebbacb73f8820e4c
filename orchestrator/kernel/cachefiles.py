# SPDX-License-Identifier: GPL-2.0-only
"""The kernel stage's housekeeping in the cache folder: locks, scratch folders, small records."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from orchestrator import process
from orchestrator.errors import HostError

Notice = Callable[[str], None]


def need_space(cache: Path, need: int) -> None:
    """Check that the cache's disk has ``need`` bytes free.

    :raises HostError: when it has not.
    """
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < need:
        raise HostError(
            f"{cache} has {free >> 20} MiB free, {need >> 20} MiB are needed for kernel sources",
            "free some space (`lab gc`), or set LAB_CACHE to a folder on a larger disk",
        )


def load_record(cache: Path, kind: str, key: str) -> dict[str, Any] | None:
    """Load what :func:`save_record` kept; None where there is nothing or it is unreadable."""
    try:
        record = json.loads(_record_path(cache, kind, key).read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def save_record(cache: Path, kind: str, key: str, record: Mapping[str, Any]) -> None:
    """Keep a small record under a key, atomically."""
    path = _record_path(cache, kind, key)
    write_atomic(path, json.dumps({**record, "key": key}, indent=1).encode())


def _record_path(cache: Path, kind: str, key: str) -> Path:
    name = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:32]
    return cache / "records" / kind / f"{name}.json"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", "is the disk full?") from error


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    deadline: float,
    shared: bool = False,
    on_wait: Notice | None = None,
    what: str = "the cache",
) -> Iterator[IO[bytes]]:
    """Hold an flock(2) on ``path`` for a with block; it ends with the process at the latest.

    :param deadline: seconds to wait for other labs.
    :param on_wait: told once when the lock is held by someone else.
    :raises HostError: when the lock did not come free in time or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise HostError(
            f"cannot use the cache: {path}: {error.strerror}", "set LAB_CACHE to a folder of yours"
        ) from error
    with file:
        until, told = time.monotonic() + deadline, False
        while not _try_lock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if on_wait and not told:
                on_wait(f"waiting for {what}: another lab is using it")
                told = True
            if time.monotonic() > until:
                raise HostError(
                    f"{what} was in use by another lab for {deadline:.0f} s ({path})",
                    f"wait for it to end; `fuser -v {path}` names it",
                )
            process.sleep(0.1)
        yield file


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """Give a folder of the cache for the length of a with block.

    A lock beside it tells :func:`clean_scratch` that its owner is alive.
    """
    parent = cache / "tmp"
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix="kernel-", suffix=".lock", dir=parent)
        except OSError as error:
            raise HostError(f"cannot use the cache: {parent}: {error.strerror}") from error
        lock, folder = Path(name), Path(name).with_suffix("")
        with os.fdopen(descriptor, "wb") as file:
            # A cleaner may have taken the lock first and unlinked it: then start over.
            if not _try_lock(file, fcntl.LOCK_EX) or os.fstat(file.fileno()).st_nlink == 0:
                continue
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)
            return


def clean_scratch(cache: Path) -> int:
    """Remove scratch folders whose lab was killed; give how many there were."""
    removed = 0
    for lock in (cache / "tmp").glob("kernel-*.lock"):
        with contextlib.suppress(OSError), lock.open("ab") as file:
            if _try_lock(file, fcntl.LOCK_EX):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                removed += 1
    return removed
