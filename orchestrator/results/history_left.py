# SPDX-License-Identifier: GPL-2.0-only
"""Whether a history is as the lab left it: a run need not look through the whole of it then.

Beside a history that was looked through stands a file of one line: what stat(2) says of the
history, and when it was looked through (s since the epoch).  Who changes the history after that by
its own means (:func:`.history_file.opened`) writes the line anew; what anything else does to the
file makes the line wrong, and so does a copy of it.  A flaw that leaves no trace there, as a disk
does, is looked for once a day.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

#: How long a look at the whole of a history is good for (s).
GOOD_FOR = 24 * 3600.0


def looked_through(db: Path) -> float | None:
    """When a history that is as the lab left it was last looked through (s since the epoch).

    None where it is another now, or nobody has said so.
    """
    try:
        stat, _, when = _beside(db).read_text("ascii").strip().rpartition(" ")
        return float(when) if stat == _stat(db) else None
    except (OSError, ValueError):
        return None


def is_good(db: Path) -> bool:
    """Whether a history is as the lab left it, and was looked through not long ago."""
    when = looked_through(db)
    return when is not None and 0 <= time.time() - when < GOOD_FOR


def leave(db: Path, when: float) -> None:
    """Note that a history, looked through then, is as the lab leaves it.

    Where there is none, or nothing can be written, the next run looks through it again.
    """
    with suppress(OSError):
        _beside(db).write_text(f"{_stat(db)} {int(when)}\n", "ascii")


def _stat(db: Path) -> str:
    found = db.stat()
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _beside(db: Path) -> Path:
    return db.with_name(f"{db.name}-checked")
