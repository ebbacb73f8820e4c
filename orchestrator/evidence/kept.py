# SPDX-License-Identifier: GPL-2.0-only
"""The programs that a guest kept for what of the kernel they passed, read into values.  Pure.

The lines are those of ``guide_tell()`` of ``guest-tests/explore/guide.h``; they stand between the
lines of KTAP and are none.
"""

from __future__ import annotations

import re

from orchestrator.model.finds import Kept, parse_pcs, parse_program

# An address is 16 digits; the first place, and distances.
_KEPT = re.compile(
    r"KEPT swarm=([\w-]{1,40}) from=(kept|drawn) new=(\d{1,6}) pcs=([0-9a-f]{1,16}"
    r"(?:\+[0-9a-f]{1,16})*) steps=(.+)",
    re.ASCII,
)
_TOP = 1 << 64


def read_kept(text: str) -> list[Kept]:
    """The programs of a workload's output; a line that is cut, or says what cannot be, is none."""
    found = []
    for line in text.split("\n")[:-1]:
        match = _KEPT.fullmatch(line) if line.startswith("KEPT ") else None
        if match is None:
            continue
        pcs = parse_pcs(match[4])
        try:
            steps = tuple(step.text for step in parse_program(match[5].split(";")))
        except ValueError:
            continue
        if 0 < int(match[3]) <= len(pcs) == match[4].count("+") + 1 and max(pcs) < _TOP:
            found.append(Kept(steps, pcs, match[1], match[2] == "kept"))
    return found
