# SPDX-License-Identifier: GPL-2.0-only
"""What a mail's subject says: which patch of how many, of which version, and whether it answers.

The tags in brackets are written by hand as often as by ``git format-patch``, so that each is read
in all the spellings that the lists have seen.  Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REPLY = re.compile(
    r"(?:re|aw|sv|vs|antw|fw|fwd|wg|tr)(?:(?:\[\d+\]|\^\d+)?\s*:\s*|\s+(?=\[))", re.IGNORECASE
)
_TAG = re.compile(r"\s*\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\s*")
# "1/3", "1 of 3", "PATCH1/3"; no date, path or fraction.  The total may be open: "1/n".
_NUMBER = re.compile(
    r"(?<![\d./])(\d{1,4})(?:\s*/\s*|\s+of\s+|-of-)(\d{1,4}|[nNxX?]+)(?![\w./])", re.IGNORECASE
)
_VERSION = re.compile(
    r"(?:(?<![A-Za-z0-9.])|(?<=patch)|(?<=rfc)|(?<=resend))"
    r"(?:v|(?:ver|version|rev|revision|take|try|attempt)[\s#.-]*)(\d{1,3}(?:\.\d{1,3})*)([a-z]?)"
    r"(?=patch|rfc|resend|/(?!\d)|\.(?!\w)|[^\w./]|$)(?!-rc\d)",
    re.IGNORECASE,
)
# A tree of the stable series (v6.1.y, v6.12-rc3) is no version of a series.
_LIKE_VERSION = re.compile(
    r"(?<![A-Za-z0-9.])v(?!\S*(?:\.y|-rc\d)|\d+/\d)\d[^\s,;/\])]*", re.IGNORECASE
)
# Outside of a tag only where nothing else can be meant.
_LOOSE_NUMBER = re.compile(r"(?:PATCH\s+)?\(?(\d{1,4})/(\d{1,4})(?:\)|:)\s*", re.IGNORECASE)
_LOOSE_VERSION = re.compile(r"\(v(\d{1,3})\)\s*$", re.IGNORECASE)
_ANYWHERE = re.compile(r"\[([^\[\]]*\bpatch\b[^\[\]]*)\]", re.IGNORECASE)


@dataclass(frozen=True)
class Marks:
    """A subject taken apart.

    ``version`` is compared as a tuple: (2,) of v2, (2, 1) of v2.1 and of v2a.  ``n`` and ``total``
    are None where not told, ``n`` 0 for a cover letter; ``told`` says that a version is.
    ``unknown`` is what looks like a version and could not be read as one.
    """

    title: str
    reply: bool = False
    version: tuple[int, ...] = (1,)
    n: int | None = None
    total: int | None = None
    unknown: str = ""
    told: bool = False


def read(subject: str, *, answers: bool = False) -> Marks:
    """Read a subject of one line.

    :param answers: the mail has In-Reply-To or References.  A patch may be called "fw: mend it";
        a prefix means an answer beside those, or before a tag.
    """
    rest, tags, reply, first = subject.strip(), [], False, True
    while True:
        if prefix := _REPLY.match(rest):
            behind = rest[prefix.end() :]
            if _TAG.match(behind) or (first and answers) or _REPLY.match(behind):
                reply, rest = True, behind
                continue
        if not (tag := _TAG.match(rest)):
            break
        tags.append(tag[1])
        rest = rest[tag.end() :]
        # "[list] Re: [PATCH] x" is an answer, "[PATCH] Re: x" beside a cover letter is not.
        first = first and "patch" not in tag[1].lower()
    if not any(_NUMBER.search(tag) for tag in tags):
        tags += _ANYWHERE.findall(rest)
    n, total = _number(tags)
    if n is None and (loose := _LOOSE_NUMBER.match(rest)):
        n, total, rest = int(loose[1]), int(loose[2]), rest[loose.end() :]
    version, unknown = _version(tags)
    if not version and (late := _LOOSE_VERSION.search(rest)):
        version = (int(late[1]),)
    title = rest.strip() or subject
    return Marks(title, reply, version or (1,), n, total, unknown, bool(version))


def spelled(version: tuple[int, ...]) -> str:
    """Write a version as people do: ``v2.1``."""
    return f"v{'.'.join(map(str, version))}"


def _number(tags: list[str]) -> tuple[int | None, int | None]:
    for tag in tags:
        # The last of a tag: what stands before it may be a date or a tree's name.
        for found in reversed(list(_NUMBER.finditer(tag))):
            return int(found[1]), int(found[2]) if found[2].isdigit() else None
    return None, None


def _version(tags: list[str]) -> tuple[tuple[int, ...], str]:
    for tag in tags:
        marks = [
            (*map(int, found[1].split(".")), *([ord(found[2].lower()) - 96] if found[2] else []))
            for found in _VERSION.finditer(tag)
        ]
        # "v5.15 v2" is version 2 for a stable tree.
        marks = [mark for mark in marks if len(mark) == 1] or marks
        if marks:
            # "[PATCH v2 2/5 v3]": the third try of one patch of version 2.
            return (
                marks[0] + marks[1] if len(marks) > 1 and marks[0] != marks[1] else marks[0]
            ), ""
    for tag in tags:
        if strange := _LIKE_VERSION.search(tag):
            return (), strange[0]
    return (), ""
