# SPDX-License-Identifier: GPL-2.0-only
"""The one family of expected errors, each with a hint and an exit status.

Anything else that escapes is a bug of the lab.  Test outcomes are never exceptions: a kernel that
does not build or boot is a value (see :mod:`orchestrator.model.names`).
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_KERNEL = 1
EXIT_USAGE = 2
EXIT_HOST = 3
EXIT_INTERRUPTED = 130


class LabError(Exception):
    """An expected error: one sentence of what is wrong and one of what to do.

    :param message: what is wrong, with file and line where there is one.
    :param hint: what the reader can do about it; may be empty.
    """

    exit_status = EXIT_HOST

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(LabError):
    """The user's input is wrong: lab.yaml, a series, a name on the command line."""

    exit_status = EXIT_USAGE


class HostError(LabError):
    """The host cannot do its part: a tool is missing, the disk is full, QEMU died by itself."""

    exit_status = EXIT_HOST


class Interrupted(LabError):
    """SIGINT or SIGTERM arrived; the run was stopped in good order."""

    exit_status = EXIT_INTERRUPTED


class Ended(Interrupted):
    """What was under way was ended in good order, since its run already has what it ran for."""
