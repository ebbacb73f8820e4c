# SPDX-License-Identifier: GPL-2.0-only
"""The ``series`` file of quilt(1) and of ``stg export``: which patches, and in which order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.kernel.series import files
from orchestrator.model.errors import UserError

# quilt takes off what stands behind "#" at the start of a line or behind white space.
_COMMENT = re.compile(r"(?:^|\s)#.*")
_STGIT_BASE = re.compile(r"#\s*This series applies on GIT commit ([0-9a-f]{40})")
_PREFIXED = {"-p1", "-pab"}


@dataclass(frozen=True)
class Entry:
    """A line of the file; ``place`` is where it stands, ``rooted`` that its patch is ``-p0``."""

    place: str
    path: Path
    rooted: bool = False


def read(listing: Path) -> tuple[list[Entry], str]:
    """Read a series file; give its patches and the commit that StGit names as its base, or "".

    :raises UserError: when it names nothing, a file that is not there, one outside of its folder
        or twice, or an option that is not understood.
    """
    folder = listing.parent
    entries: list[Entry] = []
    base = ""
    text = files.read(listing).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if found := _STGIT_BASE.match(line):
            base = found[1]
        words = _COMMENT.sub("", line).split()
        if not words:
            continue
        place, name = f"{listing}:{number}", words[0]
        options = "".join(words[1:]).replace("-", " -").split()  # "-p 0" is "-p0"
        path = folder / name
        if "\0" in name:
            raise UserError(f"{place}: {name!r} is no name of a file", "is this a series file?")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{place}: {name!r} is not in this folder", "copy it there")
        if wrong := [option for option in options if option not in _PREFIXED | {"-p0"}]:
            raise UserError(
                f"{place}: {wrong[0]!r} is not understood, only -p1, -pab and -p0",
                "make the patch -p1",
            )
        if not _is_file(path):
            raise UserError(
                f"{place}: {name!r} cannot be read: it is no file of this folder",
                "copy it there, or take the line out",
            )
        if any(entry.path == path for entry in entries):
            raise UserError(f"{place}: {name!r} stands in the file twice", "take one line out")
        entries.append(Entry(place, path, "-p0" in options))
    if not entries:
        raise UserError(f"{listing} names no patch", files.FORMS)
    return entries, base


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
