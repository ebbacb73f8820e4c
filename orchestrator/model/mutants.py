# SPDX-License-Identifier: GPL-2.0-only
"""Small faults planted in a kernel, and what became of each: what mutants.json keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Outcome(str, Enum):
    """What became of a mutant.

    ``CAUGHT``: a case failed that does not fail without it.  ``SURVIVED``: none did, of all that
    was to be run.  ``NOT_COMPILED`` and ``SAME_CODE`` were never tried: no kernel came of the one,
    and the other's is the same as without it.  ``NOT_JUDGED``: the host did not get to the end.
    """

    CAUGHT = "caught"
    SURVIVED = "survived"
    NOT_COMPILED = "does not compile"
    SAME_CODE = "no change of code"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Mutant:
    """One small fault: ``text`` in place of the bytes from ``start`` to ``end`` of ``file``.

    ``name`` is ``FILE:LINE:COLUMN:OPERATOR``, which tells it from all others of a kernel.  ``told``
    says what is changed.  ``patch`` is the number of the series' patch that brought the line, 0
    where functions were asked for.
    """

    name: str
    file: str
    function: str
    line: int
    operator: str
    told: str
    start: int
    end: int
    text: str
    patch: int = 0


@dataclass(frozen=True)
class LeftOut:
    """Lines in which nothing is planted, and why not."""

    file: str
    function: str
    lines: str
    why: str


@dataclass(frozen=True)
class Tried:
    """A mutant and what became of it.

    ``case`` is ``CONFIG/ARCH/SHAPE:WORKLOAD:CASE`` of the first failure, ``reason`` what that says,
    or the compiler, or why it could not be judged.  ``seconds`` went by from the build's begin to
    the first failure, or to the end; ``build_seconds`` of them, and what was compiled on the side,
    came before the guest.  ``workloads`` are those that were run, in their order; ``raced`` says
    that those which race were run too.  ``diff`` is the fault as a patch.
    """

    mutant: Mutant
    outcome: Outcome
    reason: str = ""
    case: str = ""
    seconds: float = 0.0
    build_seconds: float = 0.0
    workloads: tuple[str, ...] = ()
    raced: bool = False
    diff: str = ""


@dataclass(frozen=True)
class Unmutated:
    """What the same guest came to without any mutant: what fails there is nobody's catch.

    ``failing`` are keys of cases, ``seconds`` is what each workload took that came to its end.
    ``image_sha256`` is that of its kernel.
    """

    image_sha256: str
    failing: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Campaign:
    """All mutants of a kernel that were planted, or a random sample of them.

    ``kernel`` is its name, ``version`` its version, ``tree`` the git tree of its sources.  ``cell``
    is the guest they were tried in.  ``asked`` are the functions, or the names of the mutants
    themselves; none for the lines of ``series``.
    There are ``population`` mutants; ``chosen`` of them, at random by ``seed``, are to be tried.
    ``tried`` are those that were, in the order in which they were chosen.  ``mapped`` says that it
    was known which workloads run them, ``racing`` names those that only survivors are tried with.
    ``problems`` are sentences on what the host did wrong.  ``cut`` is why it is not at its end,
    empty where it is.
    """

    name: str
    command: str
    started: str
    lab_version: str
    kernel: str
    source: str
    version: str
    tree: str
    cell: str
    asked: tuple[str, ...]
    series: str
    population: int
    chosen: int
    seed: int
    unmutated: Unmutated | None = None
    tried: tuple[Tried, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    mapped: bool = False
    racing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    cut: str = ""
    finished: str = ""
    schema: int = 1

    @property
    def sampled(self) -> bool:
        """Whether what was tried is a random sample of what there is, and not all of it."""
        return len(self.tried) < self.population


@dataclass(frozen=True)
class MutantCount:
    """Of so many mutants that were ``judged`` so many were ``caught``; ``patch`` 0: of all."""

    caught: int
    judged: int
    patch: int = 0


@dataclass(frozen=True)
class SeriesMutants:
    """What a campaign on a series came to, as a run of that series tells it.

    ``kernel`` is what the run calls it, ``campaign`` the name of the campaign.  ``counts`` are the
    whole and then patch by patch; they are of a random sample where it is ``sampled``.
    """

    kernel: str
    campaign: str
    counts: tuple[MutantCount, ...]
    sampled: bool = False

    def of(self, patch: int = 0) -> MutantCount | None:
        """What a patch, or with 0 the whole, came to; None where nothing of it was judged."""
        return next((one for one in self.counts if one.patch == patch and one.judged), None)
