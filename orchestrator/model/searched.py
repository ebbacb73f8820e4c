# SPDX-License-Identifier: GPL-2.0-only
"""What a search for the origin of a failure came to, as results.json keeps it."""

from __future__ import annotations

from dataclasses import dataclass

#: The patch or commit that brought a failure; the least that explains one.
BISECT, NARROW = "bisect", "narrow"


@dataclass(frozen=True)
class SearchStep:
    """One place that was tried: a number of patches, or a guest with something left out.

    ``kernel`` is that of the run which it was tried on.  The case failed in ``failed`` of
    ``trials`` there.  ``note`` is why it could not be tried, or what was found out by it.
    ``guilty`` says that the failure came with this step, or is not there without it.
    """

    place: str
    kernel: str = ""
    failed: int = 0
    trials: int = 0
    note: str = ""
    guilty: bool = False


@dataclass(frozen=True)
class Searched:
    """A search of ``kind`` ``bisect`` or ``narrow``: its ``answer`` in a sentence, its ``steps``.

    ``sure`` says that the answer is as sure as was asked for.  ``blamed`` names what is to blame in
    few words (``patch 2 of 3``), empty where nothing is; ``title`` is that patch's subject, and
    ``probability`` how likely it is, 0 where nobody counted.  ``case`` is the id of the case that
    was searched for, ``of`` the run that it failed in, ``run`` the one that the search is stored
    as: empty in that run itself.
    """

    kind: str
    answer: str
    sure: bool
    steps: tuple[SearchStep, ...] = ()
    blamed: str = ""
    title: str = ""
    probability: float = 0.0
    case: str = ""
    of: str = ""
    run: str = ""
