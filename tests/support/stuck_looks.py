# SPDX-License-Identifier: GPL-2.0-only
"""Looks at a guest, read back from the text of a report of the lab's own."""

from __future__ import annotations

import re
from dataclasses import replace

from orchestrator.model.evidence import CpuPlace, Look

_LOOK = re.compile(r"look \d+ of \d+, at (?P<seconds>[\d.]+) s:$")
_CPU = re.compile(
    r"CPU (?P<cpu>\d+): (?P<where>in user space|idle|in the kernel)(?P<off>, interrupts off)?;"
    r" (?P<ran>[\d.]+) s of the host's time so far$"
)
_CALL = re.compile(
    r"  call (?P<call>0x[0-9a-f]+), entered (?P<entered>\w+), at (?P<lock>0x[0-9a-f]+)$"
)


def read_looks(text: str) -> list[Look]:
    """The looks that a report tells of."""
    looks: list[Look] = []
    for line in text.split("\n"):
        if match := _LOOK.match(line):
            looks.append(Look(float(match["seconds"]), ()))
        elif match := _CPU.match(line):
            at = CpuPlace(
                cpu=int(match["cpu"]),
                ran=float(match["ran"]),
                interrupts=not match["off"],
                user=match["where"] == "in user space",
                idle=match["where"] == "idle",
            )
            looks[-1] = replace(looks[-1], cpus=(*looks[-1].cpus, at))
        elif line.startswith("blocked at "):
            break
        elif looks and looks[-1].cpus and line.startswith("  "):
            *others, at = looks[-1].cpus
            if match := _CALL.match(line):
                entered = match["entered"].replace("unknown", "")
                call, lock = int(match["call"], 16), int(match["lock"], 16)
                at = replace(at, call=call, entered=entered, lock=lock)
            else:
                at = replace(at, frames=(*at.frames, line.strip()))
            looks[-1] = replace(looks[-1], cpus=(*others, at))
    return looks
