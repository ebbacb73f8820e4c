# SPDX-License-Identifier: GPL-2.0-only
"""What the compiler warned of in the objects that a build folder holds, whenever it compiled them.

A build compiles what changed since the one before it in its folder, and its log has no more.  Two
kernels that are built one after the other are compared by all that was said of the objects of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.host.cache.files import write_atomic
from orchestrator.model.kernel import CompilerMessage

NOTED = ".lab-warnings"
_COMPILED = re.compile(r"^\s+(?:CC|AS|HOSTCC)\s+(?:\[M\]\s+)?(\S+)\.o$", re.MULTILINE)


@dataclass(frozen=True)
class Earlier:
    """What was said before a build, and when that was noted (epoch seconds)."""

    warnings: tuple[CompilerMessage, ...] = ()
    when: float = 0.0


def take(objects: Path) -> Earlier:
    """Give what is noted of a held folder's objects, and forget it: a build that is cut tells none.

    Of a folder that an earlier lab made nothing is known.
    """
    file = objects / NOTED
    try:
        when = file.stat().st_mtime
        noted = json.loads(file.read_text(encoding="utf-8"))
        earlier = Earlier(tuple(CompilerMessage(**entry) for entry in noted), when)
    except (OSError, ValueError, TypeError):
        earlier = Earlier()
    file.unlink(missing_ok=True)
    return earlier


def note(
    objects: Path, earlier: Earlier, log: str, found: Sequence[CompilerMessage], source: Path
) -> tuple[CompilerMessage, ...]:
    """Note what the compiler has said of a folder's objects, now that a build there is over.

    :param log: what make printed, ``found`` the warnings in it.
    :param source: the work tree that was built.
    :raises HostError: when the disk is full.
    """
    compiled = set(_COMPILED.findall(log))
    kept = (m for m in earlier.warnings if _stands(m, compiled, source, earlier.when))
    warnings = tuple(dict.fromkeys((*found, *kept)))
    text = json.dumps([asdict(message) for message in warnings])
    write_atomic(objects / NOTED, text.encode("utf-8", "backslashreplace"))
    return warnings


def _stands(message: CompilerMessage, compiled: Iterable[str], source: Path, when: float) -> bool:
    """Whether what it speaks of was neither compiled anew nor changed since."""
    if message.file.rpartition(".")[0] in compiled:
        return False
    try:
        return (source / message.file).stat().st_mtime <= when
    except OSError:
        return False
