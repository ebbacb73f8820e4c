# SPDX-License-Identifier: GPL-2.0-only
"""Seals: what a file of the cache held when it was made, so that damage is found before it is used.

A disk that was full, a machine that lost power, a bit that fell over: such a file still has its
name, and what is read of it would be held against the kernel under test.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from orchestrator.host.cache.files import Cache, load_record, save_record
from orchestrator.model.errors import HostError

_KIND = "seals"
# What this process has seen to be sound: path, inode and size; times change with each use.
_sound: set[tuple[str, int, int]] = set()


def digest_of(path: Path) -> str:
    """The sha256 of a file.

    :raises OSError: where it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(cache: Cache, made: Path, content: Path | None = None, sha256: str = "") -> None:
    """Note what a file of the cache holds; before it gets its name, so that none is without.

    :param content: where its content still is, if not at ``made``.
    :param sha256: what it is to hold, where that is known from elsewhere than its file.
    :raises HostError: when it cannot be read, or there is no room for the note.
    """
    try:
        digest = sha256 or digest_of(content or made)
    except OSError as error:
        raise HostError(f"cannot read {content or made}: {error.strerror}") from error
    save_record(cache, _KIND, _key(cache, made), {"sha256": digest})


def sound(cache: Cache, path: Path) -> bool:
    """Whether a file of the cache is there and holds what it was sealed with.

    One without a seal, which an older lab made, is believed and sealed.

    :raises HostError: when there is no room for that seal.
    """
    try:
        at = path.stat()
        known = (str(path), at.st_ino, at.st_size)
        if known in _sound:
            return True
        noted = load_record(cache, _KIND, _key(cache, path))
        if noted is None:
            seal(cache, path)
        elif digest_of(path) != noted.get("sha256"):
            return False
    except OSError:
        return False
    _sound.add(known)
    return True


def forget() -> None:
    """Look at each file anew, as another process would: a worker outlives many runs."""
    _sound.clear()


def _key(cache: Cache, path: Path) -> str:
    return str(path.relative_to(cache.folder))
