# SPDX-License-Identifier: GPL-2.0-only
"""The find that a case of ``explore`` tells in its diagnostics, read into a value.  Pure.

The lines are those of ``tell_result()`` of ``guest-tests/explore/steady.c``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.model.finds import MOST_STEPS, Find, parse_step

_DRAWN = re.compile(r"swarm ([\w-]{1,40}), seed (\d{1,20}), ", re.ASCII)
_FIND = re.compile(r"FIND rule=([\w-]{1,47}) process=(\d)", re.ASCII)
_BEFORE = re.compile(r"BEFORE process=(\d) pages=([.a-z]{1,64})", re.ASCII)
_PROGRAM = "PROGRAM "
_LAST = re.compile(
    r"\w+\.c:\d+: ([\w-]{1,47}): step (\d{1,3}) of (\d{1,3}), `([^`]*)`: (.+)", re.ASCII
)
_PROCESSES = 4


def read_find(diagnostics: Iterable[str]) -> Find | None:
    """The find of a case, or None: what is cut, or contradicts itself, is none.

    :param diagnostics: the case's lines without their ``#``.
    """
    swarm, seed, head, last = "", None, None, None
    before = [""] * _PROCESSES
    program: list[str] = []
    for line in diagnostics:
        if match := _DRAWN.match(line):
            swarm, seed = match[1], int(match[2])
        elif match := _FIND.fullmatch(line):
            head, program, before = match, [], [""] * _PROCESSES
        elif (match := _BEFORE.fullmatch(line)) and int(match[1]) < _PROCESSES:
            before[int(match[1])] = match[2]
        elif line.startswith(_PROGRAM):
            program.append(line.removeprefix(_PROGRAM))
        elif match := _LAST.fullmatch(line):
            last = match
    if head is None or last is None or head[1] != last[1] or not 0 < len(program) <= MOST_STEPS:
        return None
    number = int(last[2])
    try:
        steps = [parse_step(line) for line in program]
    except ValueError:
        return None
    if number < 1 or number > len(steps) or int(last[3]) != len(steps):
        return None
    guilty = steps[number - 1]
    if guilty is None or guilty.text != last[4]:
        return None
    return Find(
        rule=last[1],
        step=guilty.name,
        said=last[5],
        program=tuple(program[:number]),
        process=int(head[2]),
        before=tuple(before),
        swarm=swarm,
        seed=seed,
    )
