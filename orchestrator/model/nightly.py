# SPDX-License-Identifier: GPL-2.0-only
"""What ``nightly:`` of lab.yaml says of a night: what runs, what stays, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: How a mail server is spoken to: as it is, from STARTTLS on (RFC 3207), or by TLS from the first
#: byte (RFC 8314); and the port of each where none is named.
SECURITY = {"none": 25, "starttls": 587, "tls": 465}


@dataclass(frozen=True)
class MailSpec:
    """A mail server and whom it is to write to.

    ``security`` is a key of :data:`SECURITY`.  With a ``user`` the lab logs in; its password is the
    first line of ``password_file``.
    """

    server: str
    sender: str
    to: tuple[str, ...]
    security: str = "none"
    port: int = 25
    user: str = ""
    password_file: Path | None = None


@dataclass(frozen=True)
class NightlySpec:
    """One night.

    ``time_budget`` (s) takes the place of the profile's.  ``update`` are commands that come before
    the run, as words.  ``keep_reports`` runs stay.  In ``keep_baseline`` the result of a clean and
    complete night is kept, for where reports/ does not live on.  ``url`` is where runs are
    published, ``{run}`` in it the run's id.  A summary goes to ``command`` (words, the text on
    standard input) and by ``mail``; of a clean night only with ``always``.
    """

    profile: str = "nightly"
    time_budget: float | None = None
    update: tuple[tuple[str, ...], ...] = ()
    keep_reports: int = 30
    keep_baseline: Path | None = None
    url: str = ""
    always: bool = False
    command: tuple[str, ...] = ()
    mail: MailSpec | None = None
