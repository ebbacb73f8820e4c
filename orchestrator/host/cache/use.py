# SPDX-License-Identifier: GPL-2.0-only
"""Who uses the cache: labs at work register, and trimming keeps what any of them may have used.

Three rules make it safe to trim while other labs work.  A lab registers before its first look into
the cache (:func:`using`).  Looking something up and marking it as used happens within
:func:`looking`.  Trimming removes, within :func:`trimming`, only what was last used before the
oldest lab at work began.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.host.cache.locks import locked
from orchestrator.model.errors import HostError

# The longest that one side keeps the other waiting is a few renames; a stopped process may be more.
_PATIENCE = 120.0
_WHAT = "the cache"


@contextlib.contextmanager
def using(cache: Path) -> Iterator[None]:
    """Be a user of the cache for a with block, which ends with the process at the latest.

    :raises HostError: when the cache cannot be written.
    """
    folder = cache / "locks" / "labs"
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
        _lock(file.fileno())
    with file:
        try:
            yield
        finally:
            Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def looking(cache: Path) -> Iterator[None]:
    """Look something up and mark it as used, while nothing is being removed.  Keep it short."""
    with locked(_gate(cache), deadline=_PATIENCE, shared=True, what=_WHAT):
        yield


@contextlib.contextmanager
def trimming(cache: Path) -> Iterator[float | None]:
    """Remove things for the length of a with block: nobody registers or looks anything up.

    Gives the instant (seconds since the epoch) before which a thing must have been used last to be
    free, or None when no lab is at work.  Keep it short: rename, and delete afterwards.
    """
    with locked(_gate(cache), deadline=_PATIENCE, what=_WHAT):
        yield _oldest_start(cache)


def _oldest_start(cache: Path) -> float | None:
    starts = []
    for path in (cache / "locks" / "labs").glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open("ab") as file:
            if _lock(file.fileno()):
                path.unlink(missing_ok=True)  # its lab was killed
            else:
                starts.append(os.fstat(file.fileno()).st_mtime)
    return min(starts, default=None)


def _gate(cache: Path) -> Path:
    return cache / "locks" / "trim"


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
