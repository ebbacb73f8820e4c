# SPDX-License-Identifier: GPL-2.0-only
"""What a search for the origin of a failure came to, as results.json keeps it."""

from __future__ import annotations

from dataclasses import dataclass

#: The patch or commit that brought a failure; the least that explains one; the least program.
BISECT, NARROW, SHRINK = "bisect", "narrow", "shrink"
# Nothing is certain that was found by trials: no probability is told as 100 %.
_MOST = 0.999


def likely(probability: float) -> str:
    """A probability from 0 to 1 in words: ``99.4%``, ``over 99.9%``."""
    return f"{'over ' if probability > _MOST else ''}{min(probability, _MOST):.1%}"


@dataclass(frozen=True)
class SearchStep:
    """One place that was tried: a number of patches, or a guest with something changed.

    ``place`` is what it is in words, ``cell`` the cell of the run that has its last trial.  The
    case failed in ``failed`` of ``trials`` there.  ``note`` is why it could not be tried, or what
    was found out by it.  ``guilty`` says that the failure came with this place.
    """

    place: str
    cell: str = ""
    failed: int = 0
    trials: int = 0
    note: str = ""
    guilty: bool = False


@dataclass(frozen=True)
class Searched:
    """A search: its ``kind`` (:data:`BISECT` ...), its ``answer`` in a sentence, its ``steps``.

    ``sure`` says that the answer is as sure as was asked for.  ``blamed`` names what is to blame in
    few words (``patch 2 of 3``, ``needs two CPUs``), empty where nothing is; ``patches`` are its
    numbers in the series, ``probability`` is how likely it is, 0 where nobody counted.  ``case`` is
    the id of the case that was searched for, ``of`` the run that it failed in, ``run`` the one that
    the search is stored as: empty in that run itself.
    """

    kind: str
    answer: str
    sure: bool
    steps: tuple[SearchStep, ...] = ()
    blamed: str = ""
    patches: tuple[int, ...] = ()
    probability: float = 0.0
    case: str = ""
    of: str = ""
    run: str = ""

    @property
    def likely(self) -> str:
        """The probability in words; empty where nobody counted."""
        return likely(self.probability) if self.probability else ""

    @property
    def short(self) -> str:
        """``patch 2 of 3 brought it (over 99.9%)``; else the answer as it is."""
        if not self.blamed or self.kind != BISECT:
            return self.blamed or self.answer
        likely = f" ({self.likely})" if self.likely else ""
        return f"{self.blamed} brought it{likely}{'' if self.sure else ', not sure'}"

    @property
    def sides(self) -> str:
        """``fails 7 of 9 with it, 0 of 40 before``; empty where no place is guilty."""
        at = next((n for n, step in enumerate(self.steps) if step.guilty), None)
        if at is None or self.kind != BISECT:
            return ""
        after, before = self.steps[at:], self.steps[:at]
        words = ("with it", after), ("before", before)
        told = [f"{sum(s.failed for s in own)} of {sum(s.trials for s in own)} {word}"
                for word, own in words]  # fmt: skip
        return f"fails {', '.join(told)}"

    @property
    def trials(self) -> int:
        """How many trials there were in all."""
        return sum(step.trials for step in self.steps)
