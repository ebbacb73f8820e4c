# SPDX-License-Identifier: GPL-2.0-only
"""Programs that are kept for what of a kernel they passed: what others are made of.

They lie beside the programs of the corpus that found something, in a folder of their own: those are
carried out first and strictly, these are changed a little and tried again.  A file a program,
with a comment for each kernel image in which it passed what none before it had, of all that it
passed there::

    # passes IMAGE PLACES
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.model.errors import HostError
from orchestrator.model.finds import Kept, parse_pcs, pcs_text
from orchestrator.results import corpus

#: Below a corpus.
FOLDER = "kept"
#: So many are kept at most: their files are some megabytes then, and all of them can be tried on
#: another kernel in the first minutes of an exploration.
MOST = 500
_SUFFIX = ".txt"
_PASSES = re.compile(r"# passes ([0-9a-f]{1,64}) ([0-9a-f]+(?:\+[0-9a-f]+)*)", re.ASCII)


@dataclass(frozen=True)
class Base:
    """A program that was kept; ``passes`` is what it passed, by the image's name."""

    name: str
    steps: tuple[str, ...]
    passes: Mapping[str, frozenset[int]] = field(default_factory=dict)


def read(folder: Path) -> tuple[Base, ...]:
    """All that are kept below a corpus, by their names.

    :raises UserError: when a file there is no program.
    """
    found = {}
    for path in (folder / FOLDER).glob(f"*{_SUFFIX}"):
        name, steps = corpus.read_file(path)
        lines = path.read_text("utf-8").splitlines()
        marks = [match for line in lines if (match := _PASSES.fullmatch(line))]
        found[name] = Base(name, steps, {match[1]: parse_pcs(match[2]) for match in marks})
    return tuple(found[name] for name in sorted(found))


def write(folder: Path, bases: Iterable[Base]) -> int:
    """Have these below a corpus and no others; gives how many are new there.

    :raises HostError: when one cannot be written.
    """
    place = folder / FOLDER
    wanted = {base.name: base for base in bases}
    try:
        place.mkdir(parents=True, exist_ok=True)
        before = {path.stem for path in place.glob(f"*{_SUFFIX}")}
        for name in before - set(wanted):
            (place / f"{name}{_SUFFIX}").unlink(missing_ok=True)
        for name, base in wanted.items():
            head = [f"# passes {image} {pcs_text(pcs)}" for image, pcs in base.passes.items()]
            corpus.put(place / f"{name}{_SUFFIX}", (*head, *base.steps))
    except OSError as error:
        raise HostError(
            f"cannot write {place}: {error.strerror}", "name another --corpus"
        ) from error
    return len(set(wanted) - before)


def passed(bases: Iterable[Base], image: str) -> frozenset[int]:
    """All that they passed in an image."""
    return frozenset().union(*(base.passes.get(image, frozenset()) for base in bases))


def merged(bases: Sequence[Base], image: str, kept: Iterable[Kept]) -> tuple[Base, ...]:
    """The bases with those of a run that passed what none before them had in that image."""
    found = {base.name: base for base in bases}
    seen = set(passed(bases, image))
    for one in kept:
        if one.pcs <= seen:
            continue
        seen |= one.pcs
        name, steps = corpus.named(one.program)
        base = found.get(name) or Base(name, steps)
        mine = base.passes.get(image, frozenset()) | one.pcs
        found[name] = replace(base, passes={**base.passes, image: mine})
    return tuple(found[name] for name in sorted(found))


def joined(bases: Sequence[Base], others: Iterable[Base]) -> tuple[Base, ...]:
    """Both; what two passed is told of either."""
    found = {base.name: base for base in bases}
    for one in others:
        mine = found.get(one.name, one)
        images = {**one.passes, **mine.passes}
        both = {
            image: mine.passes.get(image, frozenset()) | one.passes.get(image, frozenset())
            for image in images
        }
        found[one.name] = replace(mine, passes=both)
    return tuple(found[name] for name in sorted(found))


def bounded(bases: Sequence[Base], most: int = MOST) -> tuple[Base, ...]:
    """As many as are kept: those that together pass most, then what nothing is known of."""
    if len(bases) <= most:
        return tuple(bases)
    unknown = (base.name for base in bases if not base.passes)
    best = {*[*_cover(bases, most), *unknown][:most]}
    return tuple(base for base in bases if base.name in best)


def superfluous(bases: Sequence[Base]) -> tuple[str, ...]:
    """The names of those without which as much is passed, greedily; the smallest set is not sought.

    Where nothing is known of one, the others' steps decide (:func:`corpus.superfluous`).
    """
    kept = set(_cover(bases, len(bases)))
    known = {base.name for base in bases if base.passes}
    programs = [(base.name, base.steps) for base in bases if base.name in kept or not base.passes]
    gone = set(corpus.superfluous(programs)) - known
    return tuple(sorted(gone | (known - kept)))


def _cover(bases: Sequence[Base], most: int) -> list[str]:
    """Names of bases, each the one that adds most to what those before it pass, until none does.

    What one adds only shrinks as others are taken: most need not be counted again.
    """
    places = {base.name: _places(base) for base in bases if base.passes}
    queue = [(-len(mine), name) for name, mine in places.items()]
    heapq.heapify(queue)
    passed: set[tuple[str, int]] = set()
    found: list[str] = []
    while queue and len(found) < most:
        _, name = heapq.heappop(queue)
        adds = (-len(places[name] - passed), name)
        if queue and adds > queue[0]:
            heapq.heappush(queue, adds)
        elif adds[0]:
            passed |= places[name]
            found.append(name)
        else:
            break
    return found


def _places(base: Base) -> set[tuple[str, int]]:
    return {(image, pc) for image, pcs in base.passes.items() for pc in pcs}
