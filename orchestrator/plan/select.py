# SPDX-License-Identifier: GPL-2.0-only
"""What names and patterns of the command line make of a profile's blocks.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from orchestrator.model import lookup
from orchestrator.model.arch import ALIASES
from orchestrator.model.errors import UserError
from orchestrator.model.names import HOST_PLACE, is_named
from orchestrator.model.spec import ProfileSpec, WorkloadSpec
from orchestrator.plan.problems import suggest
from orchestrator.plan.selftests import named


@dataclass(frozen=True)
class Block:
    """A profile's block with every glob turned into names."""

    kernels: tuple[str, ...]
    configs: tuple[str, ...]
    arches: tuple[str, ...]
    shapes: tuple[str, ...]
    workloads: tuple[str, ...]

    def part(self, dimension: str) -> tuple[str, ...]:
        """The names in one dimension."""
        names: tuple[str, ...] = getattr(self, dimension)
        return names

    def put(self, dimension: str, names: tuple[str, ...]) -> Block:
        """The block with other names in one dimension."""
        return replace(self, **{dimension: names})


def match(dimension: str, patterns: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    """Those of ``names`` that any pattern selects, in the order of ``names``."""
    selects = is_named if dimension == "workloads" else fnmatchcase
    return tuple(name for name in names if any(selects(name, p) for p in patterns))


def typed_workloads(words: Collection[str], workloads: Sequence[WorkloadSpec]) -> tuple[str, ...]:
    """Words of the command line as patterns of workloads, ends of names made whole.

    ``swap-kinds`` is the one workload that ends so; a glob of an end may mean several.  What fits
    nothing is kept as it is.

    :raises UserError: when an end that is no glob fits several.
    """
    names = tuple(spec.name for spec in workloads)
    made: list[str] = []
    for word in words:
        if match("workloads", (word,), names) or named(word, workloads) is not None:
            made.append(word)
            continue
        found = lookup.fitting(word, names)
        if len(found) > 1 and not lookup.is_glob(word):
            raise lookup.ambiguous("workloads", word, found)
        made += found or (word,)
    return tuple(made)


@dataclass(frozen=True)
class Names:
    """All that is defined: names by dimension (``kernels``, ``configs``, ...), and the profiles."""

    defined: Mapping[str, tuple[str, ...]]
    profiles: Sequence[ProfileSpec]

    def select(self, dimension: str, patterns: Collection[str]) -> tuple[str, ...]:
        """The defined names that the patterns select.

        :raises UserError: if a pattern selects nothing.
        """
        defined = self.defined[dimension]
        for pattern in patterns:
            if not match(dimension, (pattern,), defined):
                what = "architecture" if dimension == "arches" else dimension.removesuffix("s")
                ends = defined if "/" in pattern else [n.rpartition("/")[2] for n in defined]
                if dimension == "arches":
                    ends = (*defined, *ALIASES)  # what may be typed as well
                near = lookup.near(pattern, ends)
                raise UserError(
                    f"no {what} {pattern!r}; {near or suggest(pattern, defined)}",
                    f"`lab list {dimension}` shows them, `lab plan` what a run would do",
                )
        return match(dimension, patterns, defined)

    def narrow(self, blocks: list[Block], dimension: str, patterns: tuple[str, ...]) -> list[Block]:
        """``blocks`` with only what ``patterns`` ask for in one dimension."""
        if not patterns:
            return blocks
        self.select(dimension, patterns)
        inside = tuple(dict.fromkeys(n for b in blocks for n in b.part(dimension)))
        kept: list[Block] = []
        # What has no guest says nothing of the guests that others get.
        guests = [b for b in blocks if HOST_PLACE not in b.configs] or blocks
        for block in blocks:
            names = match(dimension, patterns, block.part(dimension))
            if names:
                kept.append(block.put(dimension, names))
        for pattern in patterns:
            if match(dimension, (pattern,), inside):
                continue
            names = match(dimension, (pattern,), self.defined[dimension])
            if dimension == "configs":
                kept += [self._guest_for(guests[0], name) for name in names]
            elif dimension == "shapes":
                kept.append(replace(guests[0], shapes=names))
            else:
                put = guests if dimension == "arches" else blocks
                kept += [block.put(dimension, names) for block in put]
        return kept

    def _guest_for(self, block: Block, config: str) -> Block:
        """``block`` for a config that the profile lacks, in the guest another profile gives it.

        A NUMA config in a guest with one node would test nothing.
        """
        for profile in self.profiles:
            for entry in profile.entries:
                if config in entry.configs:
                    return replace(block, configs=(config,), shapes=entry.shapes)
        return replace(block, configs=(config,))
