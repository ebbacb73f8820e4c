# SPDX-License-Identifier: GPL-2.0-only
"""What a failing case asserted, and whether the ledger of its workload accounts for it.  Pure.

A workload's library says where a check failed as ``FILE:LINE: what it found`` (guest-tests/lib,
``ktap_fail()``), and so do the kernel's own selftests.  A check of RssAnon or VmSwap reads the same
counters as the ledger does: where its numbers are those of a step at which counter and page walk
differ, the check says once more what the ledger says.  Numbers decide, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.evidence import LedgerStep

_PLACE = re.compile(
    r"(?:# )?(?:[\w.+-]{1,80}/){0,20}([\w+-]{1,80}\.[a-z]{1,3}:[0-9]{1,7})\b:? ?(.*)"
)
_NUMBERS = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
# A parent tells that its child's check failed (KTAP_EXIT_FAIL is 1); the child has said which.
_CHILD_FAILED = re.compile(r"child [0-9]+: got wait status 0x100, expected exit status 0$")
# As model/formats.py has it of a status, and as a harness says it.
_END = re.compile(r"\bsignal [0-9]{1,3}\b|\bexit status [0-9]{1,3}\b|\btimed out\b|\btime limit\b")
_COUNTER = re.compile(
    r"(?:.{0,200}: )?(RssAnon|VmSwap): got (-?[0-9]{1,15}) pages, expected (-?[0-9]{1,15})"
    r"( by page walk)? \("
)


@dataclass(frozen=True)
class Assertion:
    """A check that failed: ``place`` is FILE:LINE, ``said`` what it found there."""

    place: str
    said: str

    @property
    def kind(self) -> str:
        """What was said without its numbers: equal where the same check fails in the same way."""
        return _NUMBERS.sub("N", self.said)


def assertions(reason: str) -> tuple[Assertion, ...]:
    """The checks that a case's reason names, without those that repeat what a child has said."""
    found = [
        Assertion(*match.groups())
        for text in reason.split("\n")
        if (match := _PLACE.match(text)) is not None
    ]
    own = [one for one in found if not _CHILD_FAILED.search(one.said)]
    told = [one for one in found if _CHILD_FAILED.search(one.said)]
    # Of more children than there are checks some have failed without a word of their own.
    return (*own, *told[len(own) :])


def ends(reason: str) -> tuple[str, ...]:
    """The lines of a case's reason that say how a program ended, where they name no check."""
    lines = (line.strip() for line in reason.split("\n"))
    return tuple(x for x in lines if _PLACE.match(x) is None and _END.search(x) is not None)


def drift(step: LedgerStep, name: str) -> int:
    """How far a counter lies beyond the page walk at a step, in pages."""
    return next(have - real for one, have, real in step.pairs if one == name)


def accounted_by(said: str, ledger: Iterable[LedgerStep]) -> tuple[str, int] | None:
    """The counter, and the sign of its drift, that a failed check only says once more.

    That is so where the check compared a counter with the page walk and both numbers are those of a
    step of the ledger; and where it compared a counter with an earlier reading and the difference
    is what the counter drifted by since.  None where it is not so.
    """
    match = _COUNTER.match(said)
    if match is None:
        return None
    name, got, expected = match[1], int(match[2]), int(match[3])
    # By process: what its counter was at each step until now, and off by.
    seen: dict[int, list[tuple[int | None, int]]] = {}
    for step in ledger:
        off = drift(step, name)
        have = next(have for one, have, _ in step.pairs if one == name)
        before = seen.setdefault(step.pid, [(None, 0)])
        if have == got and abs(off) > step.tolerance:
            by_walk = have - off == expected
            # Of a reading that the ledger has it is known how far it was off; of others it is not.
            same = [old for reading, old in before if reading == expected]
            since = same or [old for _, old in before]
            if by_walk if match[4] else any(off - old == got - expected for old in since):
                return name, 1 if off > 0 else -1
        before.append((have, off))
    return None
