# SPDX-License-Identifier: GPL-2.0-only
"""A change to a guest that a failing case is tried with, to see whether it needs what goes."""

from __future__ import annotations

from dataclasses import dataclass

#: What can be changed: the guest's shape, its boot arguments, the workload's arguments and its
#: time, the fragments of its config, the symbols of fragments that matter, its architecture.
SHAPE, BOOT_ARGS, WORKLOAD, TIME, FRAGMENTS, SYMBOLS, ARCH = AXES = (
    "shape", "boot-args", "workload", "time", "fragments", "symbols", "arch",
)  # fmt: skip
#: What the config decides, and what is built anew for each change.
OF_CONFIG = (FRAGMENTS, SYMBOLS)
BUILDS = (*OF_CONFIG, ARCH)


@dataclass(frozen=True)
class Change:
    """One change; ``name`` tells it from all others, and stands in the ids of changed cells.

    ``thing`` is what the guest has no more, as a sentence names it; ``told`` the change in words.
    One that is ``alone`` is not combined with others: it puts something else in the place of a
    thing, or leaves the workload with nothing to do as far as lab.yaml tells.  ``blocked`` says why
    it cannot be tried, where that is known beforehand.
    ``about`` is what several changes to one thing are told by where none of them matters.
    ``of`` is, for a symbol, the name of the change that leaves out its fragment; ``includes`` names
    changes to the guest that come with it.

    What it does stands in the rest: fields of the shape that change; the words that are left out
    (a boot argument, a fragment's path, a symbol), or the places of those of the workload's; words
    of the workload's by place that become another; how long it loops (s); the architecture.
    """

    name: str
    axis: str
    thing: str
    told: str
    alone: bool = False
    blocked: str = ""
    about: str = ""
    of: str = ""
    includes: tuple[str, ...] = ()
    shape: tuple[tuple[str, int | str | None], ...] = ()
    drop: str = ""
    places: tuple[int, ...] = ()
    word: str = ""
    budget: float = 0.0
    arch: str = ""

    @property
    def builds(self) -> bool:
        """Whether a kernel is built for it."""
        return self.axis in BUILDS
