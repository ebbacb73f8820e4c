# SPDX-License-Identifier: GPL-2.0-only
"""A history that was damaged: kept under another name, and made anew from the stored runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.results import history, history_left
from orchestrator.results.history_file import Damaged, check
from orchestrator.results.runs import list_runs


def mended(db: Path, reports: Path) -> str:
    """See that a history can be used; gives one sentence where it had to be made anew for that.

    Empty where it is whole, or there is none yet.  One that is as the lab left it is not looked
    through again (:mod:`.history_left`).  Runs that are stored elsewhere than below ``reports``
    are in the damaged file alone.

    :raises UserError: the file is no history of ours, or a newer lab's; it stays as it is.
    :raises HostError: it cannot be opened, or no other can be written; it stays as it is.
    """
    if history_left.is_good(db):
        return ""
    try:
        began = time.time()
        check(db)
        history_left.leave(db, began)
    except Damaged as error:
        if not db.stat().st_size and not list_runs(reports):
            return ""  # another lab's first run makes it just now
        return made_anew(db, reports, error)
    return ""


def made_anew(db: Path, reports: Path, error: Damaged) -> str:
    """Make a history anew in place of one that is damaged, which is kept; gives one sentence.

    :param error: what is wrong with it.
    :raises HostError: the new one cannot be written.
    """
    kept = _aside(db)
    unread = history.rebuild(db, reports, kept)
    count = len(list_runs(reports)) - len(unread)
    also = f" ({len(unread)} cannot be read)" if unread else ""
    return (
        f"the history {db} was damaged ({error.why}): it is kept as {kept.name}, and made anew "
        f"from {count} stored runs{also}"
    )


def _aside(db: Path) -> Path:
    """A name beside a history that nothing has."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = (f"{db.name}.damaged-{now}{f'-{n}' if n else ''}" for n in range(1000))
    return next(path for path in map(db.with_name, names) if not path.exists())
