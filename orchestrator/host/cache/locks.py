# SPDX-License-Identifier: GPL-2.0-only
"""Locks on files of the cache: they end with their process, and waiting for one has an end too."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from orchestrator.host import process
from orchestrator.model.errors import HostError

Notice = Callable[[str], None]


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
