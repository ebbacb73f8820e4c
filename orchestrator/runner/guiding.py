# SPDX-License-Identifier: GPL-2.0-only
"""What an exploration knows of coverage, over all its cells: what each guest is told, what it adds.

A guest lives for a minute, so that what it learns must outlive it: each gets programs to make
others of, those that are yet to be tried on its kernel, and the places that were passed already.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace

from orchestrator.model.finds import Kept, pcs_text
from orchestrator.model.spec import WorkloadSpec
from orchestrator.results import kept
from orchestrator.results.kept import Base

#: So many programs a guest is given to make others of, and to carry out as they are; steady.c takes
#: 64 of either.
BASES = 16
FIRSTS = 32
# So many characters of programs, and as many of places: an argument has 128 KiB (execve(2),
# MAX_ARG_STRLEN), and a guest has better things to do than to read.
_ROOM = 40_000
#: An image is called by so many digits of its digest.
_DIGITS = 16


class Guidance:
    """Bases, by kernel image what they passed, and which of them a guest of it has tried.

    Threads of several cells use it.  ``unguided``: what is passed is counted, and guides nothing.
    """

    def __init__(
        self, bases: Sequence[Base] = (), *, seed: int = 0, unguided: bool = False
    ) -> None:
        self.unguided = unguided
        self._bases = tuple(bases)
        self._tried: dict[str, set[str]] = {}
        self._passed: dict[str, set[int]] = {}
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.kept = 0

    @property
    def bases(self) -> tuple[Base, ...]:
        """What there is by now, bounded."""
        with self._lock:
            return kept.bounded(self._bases)

    def passed(self, image: str) -> int:
        """How many places of an image were passed, in this exploration and before it."""
        with self._lock:
            return len(self._known(_short(image)))

    def slice_of(self, spec: WorkloadSpec, image: str) -> WorkloadSpec:
        """A workload that is to explore, with what it is told.

        :param image: the digest of its kernel's image.
        """
        with self._lock:
            name = _short(image)
            words = ["--unguided"] if self.unguided else self._programs(name)
            known = pcs_text(self._known(name))
            if len(known) > _ROOM:  # the others are new to that guest, and not to this exploration
                known = known[:_ROOM].rpartition("+")[0]
            words += ["--passed", known] if known else []
            return replace(spec, args=(*spec.args, *words))

    def take(self, image: str, found: Iterable[Kept]) -> int:
        """Add what a guest kept; gives how many of its programs passed what is new to all."""
        with self._lock:
            name = _short(image)
            known, new = self._known(name), []
            for one in found:
                if one.pcs - known:
                    known |= one.pcs
                    new.append(one)
            self._bases = kept.merged(self._bases, name, new)
            self.kept += len(new)
            return len(new)

    def _known(self, name: str) -> set[int]:
        if name not in self._passed:
            self._passed[name] = set(kept.passed(self._bases, name))
        return self._passed[name]

    def _programs(self, name: str) -> list[str]:
        tried = self._tried.setdefault(name, set())
        mine = [base for base in self._bases if name in base.passes]
        others = [one for one in self._bases if name not in one.passes and one.name not in tried]
        chosen = self._random.sample(mine, min(BASES, len(mine)))
        words: list[str] = []
        for option, bases in (("--base", chosen), ("--first", others[:FIRSTS])):
            for base in bases:
                steps = ";".join(base.steps)
                if sum(map(len, words)) + len(steps) < _ROOM:
                    words += [option, steps]
                    tried.add(base.name)
        return words


def _short(image: str) -> str:
    return image[:_DIGITS]
