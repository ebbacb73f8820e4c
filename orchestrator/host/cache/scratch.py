# SPDX-License-Identifier: GPL-2.0-only
"""Scratch folders in the cache, and what labs that were killed left of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked, try_lock
from orchestrator.model.errors import HostError


@contextlib.contextmanager
def scratch(cache: Cache) -> Iterator[Path]:
    """Give a folder of the cache for the length of a with block."""
    with owned_folder(cache.tmp, "kernel-") as folder:
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


def clean_scratch(cache: Cache) -> int:
    """Remove folders that killed labs left, scratch or half-made; give how many there were."""
    removed = 0
    places = ((cache.tmp, "kernel-*"), (cache.objects, "*.new"), (cache.builds, "*.new"))
    for folder, pattern in places:
        for lock in folder.glob(f"{pattern}.lock"):
            with contextlib.suppress(OSError), lock.open("ab") as file:
                if try_lock(file, fcntl.LOCK_EX):
                    shutil.rmtree(lock.with_name(lock.name.removesuffix(".lock")), True)
                    lock.unlink(missing_ok=True)
                    removed += 1
    return removed


def clean_leftovers(cache: Cache) -> int:
    """Remove what labs that were killed left of the kernel stage; give how many pieces.

    What a running lab still uses is told by its locks and left alone.
    """
    removed = clean_scratch(cache)
    folder = cache.store
    try:
        with locked(cache.import_lock, deadline=0.0):
            for pattern in ("objects/pack/tmp_*", "objects/pack/.tmp-*", "fast_import_crash_*"):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)
                    removed += 1
    except HostError:
        pass  # an import is under way
    return removed
