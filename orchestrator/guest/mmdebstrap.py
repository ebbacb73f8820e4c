# SPDX-License-Identifier: GPL-2.0-only
"""mmdebstrap: packages of the guests' Debian release unpacked for an architecture.

None of their programs is run, so a foreign architecture needs no emulator; it works as root and,
in a user namespace, as anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.host import process
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError

SUITE = "bookworm"
DEADLINE = 600.0


def unpack(
    packages: Sequence[str], arch: Arch, target: Path, *options: str, failed: str, hint: str = ""
) -> None:
    """Unpack packages and what they need into ``target``, whose ending says the format.

    :param options: further ones of mmdebstrap.
    :param failed: what could not be done where it fails, the beginning of the message.
    :raises HostError: when mmdebstrap is missing or cannot reach its packages.
    """
    argv: list[str | Path] = ["mmdebstrap", "--quiet", "--variant=extract"]
    argv += [f"--architectures={arch.debian}", f"--include={','.join(packages)}"]
    try:
        process.run([*argv, *options, SUITE, target], deadline=DEADLINE)
    except process.CommandFailed as error:
        target.unlink(missing_ok=True)
        said = error.completed.stderr.decode(errors="replace").strip().splitlines()
        reason = next((line for line in said if line.startswith("E:")), "".join(said[-1:]))
        raise HostError(f"{failed}: {reason}", hint) from error
