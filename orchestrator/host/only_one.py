# SPDX-License-Identifier: GPL-2.0-only
"""One process at a time: a lock that says who has it, and that ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from orchestrator.host.cache.locks import try_lock
from orchestrator.model.errors import HostError

_MOST = 1000  # characters of what somebody else wrote


@contextlib.contextmanager
def only_one(path: Path, what: str, who: str) -> Iterator[None]:
    """Be the only one for a with block, by an flock(2) on ``path``; nobody is waited for.

    :param what: what there is to be one of, for the message: ``another night``.
    :param who: what the next one is told: ``process 42 of root since ...``.
    :raises HostError: when somebody else is at it, with who; or where no lock can be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise HostError(f"cannot lock {path}: {error.strerror}") from error
    with file:
        try:
            alone = try_lock(file, fcntl.LOCK_EX)  # type: ignore[arg-type]
        except OSError as error:  # some network file systems have none
            raise HostError(f"cannot lock {path}: {error.strerror}") from error
        if not alone:
            file.seek(0)
            told = file.read(_MOST).strip() or "it does not say who"
            raise HostError(f"{what} is at work: {told}", "wait for its end, or stop that one")
        _write(file, f"{who}\n")
        try:
            yield
        finally:
            # Who comes between this end and the next beginning reads nothing, and no old name.
            _write(file, "")


def _write(file: IO[str], text: str) -> None:
    """Put a text in place of what stands there; on a full disk the lock holds without a name."""
    with contextlib.suppress(OSError):
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
