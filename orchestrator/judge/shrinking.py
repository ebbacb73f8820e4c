# SPDX-License-Identifier: GPL-2.0-only
"""Which smaller program to try next, by what the trials so far came to.  Pure.

Delta debugging over the steps of a program: parts of it are left out, large ones first, then single
steps, then ranges are made shorter, until nothing can go.  That a smaller program fails in the same
way once is proof enough.  That it does not is known at once where the program fails each time; of a
flaky one it is believed after as many trials as it takes for one that fails as often to show itself
in 19 of 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.model.finds import parse_step

Program = tuple[str, ...]
# How sure it has to be that what did not fail would not.
_MISSED = 0.05
#: A program that has not failed in so many trials does not fail again; one that has is tried so
#: often at the least before it is taken for one that always does.
FIRST, LEAST = 20, 3


@dataclass(frozen=True)
class Tried:
    """What the trials of a program came to: in ``failed`` of ``trials`` it failed in that way."""

    failed: int = 0
    trials: int = 0


@dataclass(frozen=True)
class Search:
    """Where a search stands: the smallest program that has failed, and what to try next.

    ``next`` are programs of which each has to be tried once more, in their order; none is left
    where the search is at its end.  ``again`` says that the program has failed at all.
    """

    smallest: Program
    next: tuple[Program, ...]
    again: bool


def needed(rate: Tried) -> int:
    """How many trials without a failure say that a program does not fail.

    :param rate: what the program came to that the search begins with.
    """
    if not rate.failed or rate.failed == rate.trials:
        return 1
    return math.ceil(math.log(_MISSED) / math.log(1 - rate.failed / rate.trials))


def search(program: Program, tried: Mapping[Program, Tried], width: int = 1) -> Search:
    """Go through a search from its beginning, as far as what was tried leads.

    :param width: how many programs can be tried at once.
    """
    rate = tried.get(program, Tried())
    asked = LEAST if rate.failed else FIRST
    if rate.trials < asked or not rate.failed:
        more = (program,) * min(width, max(0, asked - rate.trials))
        return Search(program, more, bool(rate.failed))
    current = program
    while True:
        wanted: list[Program] = []
        for candidate in candidates(current):
            known = tried.get(candidate, Tried())
            if known.failed:
                if wanted:  # an earlier one may go on better: it is looked at first
                    return Search(current, tuple(wanted), True)
                current = candidate
                break
            left = needed(rate) - known.trials
            wanted += [candidate] * max(0, min(left, width - len(wanted)))
            if len(wanted) >= width:
                return Search(current, tuple(wanted), True)
        else:
            return Search(current, tuple(wanted), True)


def candidates(program: Program) -> Iterator[Program]:
    """Smaller programs, each once, the last step kept: it is the one that shows the failure.

    From the end: what came last is likeliest to matter least to what came before.
    """
    seen: set[Program] = set()
    before, last = program[:-1], program[-1:]
    size = len(before)
    while size:
        for at in range(len(before) - size, -1, -size):
            fewer = before[:at] + before[at + size :] + last
            if fewer not in seen:
                seen.add(fewer)
                yield fewer
        size //= 2
    for at, line in enumerate(program):
        for shorter in _shorter(line):
            yield (*program[:at], shorter, *program[at + 1 :])


def _shorter(line: str) -> Iterator[str]:
    """A step with a shorter range: half of it, then a page less; a length that is the same too."""
    step = parse_step(line)
    if step is None:
        return
    size = int(step.fields.get("n", "1"))
    for less in dict.fromkeys((size // 2, size - 1)):
        if less < 1:
            continue
        fields = dict(step.fields, n=str(less))
        if step.fields.get("len") == step.fields["n"]:
            fields["len"] = str(less)
        yield replace(step, fields=fields).text
