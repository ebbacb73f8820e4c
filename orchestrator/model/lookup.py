# SPDX-License-Identifier: GPL-2.0-only
"""Names as somebody types them: whole, by a part that only one has, or by a glob.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from orchestrator.model.errors import UserError
from orchestrator.model.names import alike

#: As many of several names are told, and as many near ones.
MOST = 8
_NEAR = 3
_GLOB = frozenset("*?[")


def is_glob(wanted: str) -> bool:
    """Whether a name as typed may stand for several."""
    return not _GLOB.isdisjoint(wanted)


def fits(name: str, wanted: str, marks: str = "/:") -> bool:
    """Whether ``wanted`` is ``name``, a run of its whole parts, or a glob of either.

    ``uffd-move/swap``, ``swap:counters`` and ``counters`` are runs of parts of the case
    ``v6.12/default/x86_64/small:uffd-move/swap:counters``, ``uffd-mov`` is none.  A ``*`` of a glob
    crosses parts, as it does in :mod:`fnmatch`.

    :param marks: the characters that divide the names' parts.
    """
    if not wanted:
        return False
    if not is_glob(wanted):
        found = name.find(wanted)
        while found >= 0:
            end = found + len(wanted)
            if (not found or name[found - 1] in marks) and (end == len(name) or name[end] in marks):
                return True
            found = name.find(wanted, found + 1)
        return False
    within = f"[{marks}]"
    return (
        fnmatchcase(name, wanted)
        or fnmatchcase(name, f"*{within}{wanted}")
        or fnmatchcase(name, f"{wanted}{within}*")
        or fnmatchcase(name, f"*{within}{wanted}{within}*")
    )


def fitting(wanted: str, names: Iterable[str], marks: str = "/:") -> tuple[str, ...]:
    """Those of ``names`` that ``wanted`` fits, in their order; one that is called so stands alone.

    A name may hold what else were a glob: it is found by itself all the same.
    """
    known = tuple(names)
    if wanted in known:
        return (wanted,)
    return tuple(name for name in known if fits(name, wanted, marks))


def ambiguous(what: str, wanted: str, found: Sequence[str]) -> UserError:
    """The error where several names fit: the first :data:`MOST` of them.

    :param what: what they are, in the plural: ``cases of run X``.
    """
    lines = [f"{wanted!r} fits {len(found)} {what}:", *(f"     {name}" for name in found[:MOST])]
    if len(found) > MOST:
        lines.append(f"     ... and {len(found) - MOST} more")
    return UserError("\n".join(lines), "give more of the name")


def near(wanted: str, spellings: Collection[str]) -> str:
    """``did you mean 'a' or 'b'?``: the few that are spelt alike; empty where none is."""
    meant = alike(wanted, spellings, most=_NEAR)
    return f"did you mean {' or '.join(map(repr, meant))}?" if meant else ""
