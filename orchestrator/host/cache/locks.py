# SPDX-License-Identifier: GPL-2.0-only
"""Locks of the cache: on its files, and on the cache as a whole.

Locks end with their process, and waiting for one has an end too.  Three rules make it safe to trim
while other labs work.  A lab registers before its first look into the cache (:func:`using`).
Looking something up and marking it as used happens within :func:`looking`.  Trimming removes,
within :func:`trimming`, only what was last used before the oldest lab at work began.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.place import check_place
from orchestrator.model.errors import HostError

Notice = Callable[[str], None]

# The longest that one side keeps the other waiting is a few renames; a stopped process may be more.
_PATIENCE = 120.0
_WHAT = "the cache"


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
    :raises Interrupted: when the lab is being stopped.
    """
    until, told = time.monotonic() + deadline, False
    while True:
        with _open(path) as file:
            if try_lock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                if not _is_at(file, path):
                    continue  # trimming removed it with what it guards
                yield file
                return
        if on_wait and not told:
            on_wait(f"waiting for {what}: another lab is using it")
            told = True
        if time.monotonic() > until:
            raise HostError(
                f"{what} was in use by another lab for {deadline:.0f} s ({path})",
                f"wait for it to end; `fuser -v {path}` names it",
            )
        process.sleep(0.1)


def _open(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise HostError(
            f"cannot use the cache: {path}: {error.strerror}", "set LAB_CACHE to a folder of yours"
        ) from error


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def try_lock(file: IO[bytes], kind: int) -> bool:
    """Take an flock(2) without waiting; False where somebody else has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def using(cache: Cache) -> Iterator[None]:
    """Be a user of the cache for a with block, which ends with the process at the latest.

    :raises UserError, HostError: when there can be no cache at its place.
    """
    check_place(cache.folder)
    folder = cache.labs
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot use the cache: {folder}: {error.strerror}",
            "set LAB_CACHE to a folder of yours",
        ) from error
    with looking(cache):
        descriptor, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=folder)
        file = os.fdopen(descriptor, "wb")
        try_lock(file, fcntl.LOCK_EX)
    with file:
        try:
            yield
        finally:
            Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def looking(cache: Cache) -> Iterator[None]:
    """Look something up and mark it as used, while nothing is being removed.  Keep it short."""
    with locked(cache.trim_lock, deadline=_PATIENCE, shared=True, what=_WHAT):
        yield


@contextlib.contextmanager
def trimming(cache: Cache) -> Iterator[float | None]:
    """Remove things for the length of a with block: nobody registers or looks anything up.

    Gives the instant (seconds since the epoch) before which a thing must have been used last to be
    free, or None when no lab is at work.  Keep it short: rename, and delete afterwards.
    """
    with locked(cache.trim_lock, deadline=_PATIENCE, what=_WHAT):
        yield _oldest_start(cache)


def _oldest_start(cache: Cache) -> float | None:
    starts = []
    for path in cache.labs.glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open("ab") as file:
            if try_lock(file, fcntl.LOCK_EX):
                path.unlink(missing_ok=True)  # its lab was killed
            else:
                starts.append(os.fstat(file.fileno()).st_mtime)
    return min(starts, default=None)
