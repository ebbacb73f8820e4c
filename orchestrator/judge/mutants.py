# SPDX-License-Identifier: GPL-2.0-only
"""How well a piece of code is tested: the share of its mutants that were caught.  Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.model.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK
from orchestrator.model.formats import counted
from orchestrator.model.mutants import Campaign, MutantCount, Outcome, Tried

#: Why a campaign that was interrupted is not at its end; that of a spent budget is a sentence.
INTERRUPTED = "interrupted"
# Of a normal distribution, for 95 %.
_Z = 1.959964


@dataclass(frozen=True)
class Score:
    """Of so many mutants that were judged so many were caught; the rest survived.

    ``name`` is a function's, a patch's, or empty for all.  ``low`` and ``high`` bound the share of
    all mutants there are that would be caught, with 95 %; without a sample they are the share.
    """

    name: str
    caught: int
    survived: int
    not_compiled: int
    same_code: int
    not_judged: int
    low: float = 0.0
    high: float = 0.0

    @property
    def judged(self) -> int:
        """How many were caught or survived."""
        return self.caught + self.survived

    @property
    def share(self) -> float:
        """The share of them that was caught; 0 where none was judged."""
        return self.caught / self.judged if self.judged else 0.0


def wilson(found: int, of: int) -> tuple[float, float]:
    """Wilson's interval for a share, at 95 %.

    It keeps its promise also near 0 and 1, where the usual one, that of the normal distribution,
    claims certainty (Wilson 1927; Brown, Cai, DasGupta 2001).  All of a population is not looked
    at, so that it is somewhat too wide for a large sample of a small one.
    """
    if of == 0:
        return 0.0, 1.0
    share, more = found / of, _Z * _Z / of
    middle = (share + more / 2) / (1 + more)
    width = _Z * math.sqrt(share * (1 - share) / of + more / of / 4) / (1 + more)
    # At both ends the bound is exact, which the root above is not quite.
    return 0.0 if found == 0 else middle - width, 1.0 if found == of else middle + width


def score(tried: Iterable[Tried], name: str = "", *, sampled: bool) -> Score:
    """What some mutants came to together."""
    outcomes = [one.outcome for one in tried]
    caught, survived = outcomes.count(Outcome.CAUGHT), outcomes.count(Outcome.SURVIVED)
    judged = caught + survived
    share = caught / judged if judged else 0.0
    low, high = wilson(caught, judged) if sampled else (share, share)
    return Score(
        name, caught, survived, outcomes.count(Outcome.NOT_COMPILED),
        outcomes.count(Outcome.SAME_CODE), outcomes.count(Outcome.NOT_JUDGED), low, high,
    )  # fmt: skip


def total(campaign: Campaign) -> Score:
    """What all of a campaign came to."""
    return score(campaign.tried, sampled=campaign.sampled)


def by_function(campaign: Campaign) -> tuple[Score, ...]:
    """The scores of the functions, in the order of the files and of their text."""
    return _grouped(campaign, lambda one: f"{one.mutant.file}:{one.mutant.function}")


def by_patch(campaign: Campaign) -> tuple[Score, ...]:
    """The scores of a series' patches in their order; none where functions were asked for."""
    if not any(one.mutant.patch for one in campaign.tried):
        return ()
    return _grouped(campaign, lambda one: f"patch {one.mutant.patch}")


def counts(campaign: Campaign) -> tuple[MutantCount, ...]:
    """How many were caught of those that were judged: the whole, then each patch that has some."""
    patches = sorted({one.mutant.patch for one in campaign.tried} - {0})
    told = []
    for patch in (0, *patches):
        own = [one for one in campaign.tried if patch in (0, one.mutant.patch)]
        found = score(own, sampled=campaign.sampled)
        told.append(MutantCount(found.caught, found.judged, patch))
    return tuple(one for one in told if one.judged)


def _grouped(campaign: Campaign, key: Callable[[Tried], str]) -> tuple[Score, ...]:
    groups: dict[str, list[Tried]] = {}
    for one in sorted(campaign.tried, key=_place):
        groups.setdefault(key(one), []).append(one)
    return tuple(score(some, name, sampled=campaign.sampled) for name, some in groups.items())


def _place(one: Tried) -> tuple[int, str, int]:
    return one.mutant.patch, one.mutant.file, one.mutant.start


def of_outcome(campaign: Campaign, outcome: Outcome) -> tuple[Tried, ...]:
    """The mutants of which that became, in the order of the files and of their text."""
    found = (one for one in campaign.tried if one.outcome is outcome)
    return tuple(sorted(found, key=lambda one: (one.mutant.file, one.mutant.start)))


def sentence(campaign: Campaign) -> str:
    """``31 of 40 mutants caught (78 %; 62 to 88 % of all 650, with 95 %); 6 not compiled``."""
    found = total(campaign)
    if not found.judged:
        parts = ["no mutant was judged"]
    else:
        about = percent(found)
        if campaign.sampled:
            low, high = bounds(found)
            about += f"; {low} to {high} % of all {campaign.population}, with 95 %"
        parts = [f"{found.caught} of {counted(found.judged, 'mutant')} caught ({about})"]
    rest = ((found.not_compiled, "not compiled"), (found.same_code, "without a change of code"),
            (found.not_judged, "not judged"))  # fmt: skip
    parts += [f"{count} {what}" for count, what in rest if count]
    left = campaign.chosen - len(campaign.tried)
    parts += [f"{left} not tried: {campaign.cut or INTERRUPTED}"] if left else []
    return "; ".join(parts)


def percent(found: Score) -> str:
    """``78 %``, rounded; but 100 is all of them and 0 is none."""
    whole = round(100 * found.share)
    if 0 < found.caught < found.judged:
        whole = min(max(whole, 1), 99)
    return f"{whole} %"


def bounds(found: Score) -> tuple[int, int]:
    """Between how many per cent the share of all lies, rounded away from each other."""
    return math.floor(100 * found.low), math.ceil(100 * found.high)


def exit_status(campaign: Campaign) -> int:
    """0: all that were judged were caught; 1: some survived; 3: not all were judged; 130.

    3 too where there was nothing to judge: that is no proof of anything.
    """
    found = total(campaign)
    if campaign.cut == INTERRUPTED:
        return EXIT_INTERRUPTED
    left = campaign.chosen - len(campaign.tried)
    if found.not_judged or left or not found.judged or campaign.problems:
        return EXIT_HOST
    return EXIT_KERNEL if found.survived else EXIT_OK
