# SPDX-License-Identifier: GPL-2.0-only
"""What a build will take, told beforehand from what builds of its config took on this machine.

Nothing is told that was not measured here.  A record a config and architecture holds the last build
that compiled everything and the last that compiled a little, and which sources were ever built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.host.cache.files import Cache, load_record, save_record

if TYPE_CHECKING:  # `lab plan` loads this, and not what finds out where a build begins
    from orchestrator.kernel.build.start import Start

_KIND = "seconds"
# Steps of make (compiles, links) of a build that compiled a little; some 70 of them always are.
_LITTLE = 150
# Objects out of ccache are made in a fraction of the time: such a build says nothing of a next one.
_COMPILED = 0.5


@dataclass(frozen=True)
class Taken:
    """What a whole build took: ``steps`` of make, wall-clock and CPU seconds, with ``jobs``.

    ``everything`` tells that it began with nothing.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    jobs: int
    everything: bool


@dataclass(frozen=True)
class Known:
    """What is known of the builds of a config: seconds for all and for a little; None: nothing."""

    everything: float | None
    little: float | None
    sources: tuple[str, ...] = ()

    def foresee(self, start: Start) -> float | None:
        """Seconds that a build from there will take, or None."""
        if start.sibling:
            return None  # which objects look at the symbols that differ, only make knows
        if not start.total or start.stale >= start.total:
            return self.everything
        if start.stale <= _LITTLE / 2:
            return self.little
        if self.everything is None or self.little is None:
            return None
        share = start.stale / start.total
        return self.little + share * max(0.0, self.everything - self.little)


def remember(config: str, arch: str, source: str, taken: Taken, cache: Cache) -> None:
    """Keep what a build took.

    :param source: the name of the source's own work tree.
    :raises HostError: when the cache cannot be written.
    """
    record = _load(config, arch, cache)
    new = vars(taken)
    if taken.everything:
        old = _taken(record, "everything")
        if old is None or taken.cpu_seconds > _COMPILED * old.cpu_seconds:
            record["everything"] = new
    elif taken.steps <= _LITTLE:
        record["little"] = new
    record["sources"] = sorted({*record.get("sources", ()), source})
    save_record(cache, _KIND, f"{config}/{arch}", record)


def known(config: str, arch: str, jobs: int, cache: Cache) -> Known:
    """What builds of a config for an architecture took here with as many compilers at once."""
    record = _load(config, arch, cache)

    def seconds(which: str) -> float | None:
        taken = _taken(record, which)
        return taken.seconds if taken is not None and taken.jobs == jobs else None

    sources = tuple(str(name) for name in record.get("sources", ()))
    return Known(seconds("everything"), seconds("little"), sources)


def _load(config: str, arch: str, cache: Cache) -> dict[str, Any]:
    return load_record(cache, _KIND, f"{config}/{arch}") or {}


def _taken(record: dict[str, Any], which: str) -> Taken | None:
    try:
        return Taken(**record[which])
    except (KeyError, TypeError):
        return None


# ---------------------------------------------------------------- words


def tell(start: Start, own: str, knowledge: Known) -> str:
    """Say where a build begins and what it will take.

    :param own: the name of the source's own work tree.
    """
    seconds = knowledge.foresee(start)
    if not start.total:
        first = "first build of this source: " if own not in knowledge.sources else ""
        said = f"{first}everything is compiled"
    elif start.sibling:
        said = f"from the objects of another config in {start.slot}"
    else:
        where = "the last build" if start.slot == own else f"the build in {start.slot}"
        said = f"from {where}: {start.stale:,} of {start.total:,} objects to compile"
    return said if seconds is None else f"{said}, {about(seconds)}"


def about(seconds: float) -> str:
    """``about 30 s`` or ``about 5 min``: no more exact than it is."""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    return f"about {round(seconds / 60)} min"
