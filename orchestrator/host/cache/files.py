# SPDX-License-Identifier: GPL-2.0-only
"""Where things are in the cache: its folders, scratch folders and small records; and its room."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.host.cache.locks import locked, try_lock
from orchestrator.model.errors import HostError


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
def scratch(cache: Path) -> Iterator[Path]:
    """Give a folder of the cache for the length of a with block."""
    with owned_folder(cache / "tmp", "kernel-") as folder:
        yield folder


@contextlib.contextmanager
def owned_folder(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Make a folder with a name of its own; what is not renamed is gone after the with block.

    A lock beside it tells :func:`clean_scratch` that its owner is alive.
    """
    while True:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=f"{suffix}.lock", dir=parent)
        except OSError as error:
            raise HostError(f"cannot use the cache: {parent}: {error.strerror}") from error
        lock, folder = Path(name), Path(name.removesuffix(".lock"))
        with os.fdopen(descriptor, "wb") as file:
            # A cleaner may have taken the lock first and unlinked it: then start over.
            if not try_lock(file, fcntl.LOCK_EX) or os.fstat(file.fileno()).st_nlink == 0:
                continue
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)
            return


def clean_scratch(cache: Path) -> int:
    """Remove folders that killed labs left, scratch or half-made; give how many there were."""
    removed = 0
    for pattern in ("tmp/kernel-*.lock", "obj/*.new.lock", "builds/*.new.lock"):
        for lock in cache.glob(pattern):
            with contextlib.suppress(OSError), lock.open("ab") as file:
                if try_lock(file, fcntl.LOCK_EX):
                    shutil.rmtree(lock.with_name(lock.name.removesuffix(".lock")), True)
                    lock.unlink(missing_ok=True)
                    removed += 1
    return removed


def store_path(cache: Path) -> Path:
    """Give the bare repository of a cache folder; :func:`open_store` creates it."""
    return cache / "kernels.git"


def clean_leftovers(cache: Path) -> int:
    """Remove what labs that were killed left of the kernel stage; give how many pieces.

    What a running lab still uses is told by its locks and left alone.
    """
    removed = clean_scratch(cache)
    folder = store_path(cache)
    try:
        with locked(cache / "locks" / "import", deadline=0.0):
            for pattern in ("objects/pack/tmp_*", "objects/pack/.tmp-*", "fast_import_crash_*"):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)
                    removed += 1
    except HostError:
        pass  # an import is under way
    return removed
