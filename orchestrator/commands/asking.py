# SPDX-License-Identifier: GPL-2.0-only
"""What `lab doctor` finds out about one thing, and how it asks the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.model.errors import HostError

OK, NOTE, WARN, BAD = "ok", "note", "warn", "bad"

_DEADLINE = 60.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    ``state`` is ``ok``, ``note`` (nothing to do), ``warn`` (something works less well) or ``bad``
    (a run cannot work); ``fix`` is the command that mends it, empty where there is nothing to.
    """

    name: str
    state: str
    text: str
    fix: str = ""


def ask(argv: list[str], input: bytes | None = None) -> process.Completed | str:
    """Run a command; what it said, or in one line why it failed."""
    try:
        done = process.run(argv, deadline=_DEADLINE, input=input, check=False)
    except HostError as error:
        return error.message
    if done.status == 0:
        return done
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"it ended with status {done.status}"


def user_name() -> str:
    """What this user is called."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def members(group: str) -> list[str]:
    """The users whom the system's files count to a group."""
    import grp

    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return []


def read(path: Path) -> str:
    """A file's text; "" where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
