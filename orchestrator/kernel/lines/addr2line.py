# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of a file with a line table to places, by binutils' addr2line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.host import process
from orchestrator.kernel.lines.excerpts import Place
from orchestrator.model.errors import HostError

_DEADLINE = 60.0
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d{1,9})(?: \(discriminator \d+\))?$")

Places = tuple[Place, ...]


def addr2line(
    cross: str, file: Path, addresses: Sequence[int], section: str = "", roots: Sequence[str] = ()
) -> list[Places]:
    """The places of each address, the innermost inlined call first.

    :param cross: the prefix of the file's binutils.
    :param section: which the addresses count from; without it they are those of a linked file.
    :param roots: folders that are left out of the names of files in them.
    :raises HostError: when binutils are missing, or fail.
    """
    argv = [f"{cross}addr2line", "-a", "-f", "-i", "-e", str(file)]
    if section:
        argv += ["-j", section]
    asked = "".join(f"{address:#x}\n" for address in addresses).encode()
    done = process.run(argv, deadline=_DEADLINE, input=asked)
    told = parse_addr2line(done.text)
    if len(told) != len(addresses):
        raise HostError(f"{argv[0]} answered {len(told)} of {len(addresses)} addresses")
    return [
        tuple(Place(place.function, _below(place.file, roots), place.line) for place in places)
        for places in told
    ]


def parse_addr2line(text: str) -> list[Places]:
    """Read what ``addr2line -a -f -i`` prints: an address, then pairs of function and place.

    An address without a line (``??:0``, ``FILE:?``) gives no places.
    """
    found: list[list[Place]] = []
    function: str | None = None
    for line in text.splitlines():
        if function is None and re.fullmatch(r"0x[0-9a-f]{16}", line):
            found.append([])
        elif function is None:
            function = line
        else:
            match = _PLACE.match(line)
            if match and match["file"] != "??" and int(match["line"]) and found:
                found[-1].append(Place(function, match["file"], int(match["line"])))
            function = None
    return [tuple(places) for places in found]


def _below(path: str, roots: Sequence[str]) -> str:
    """A file's name from the top of the sources, or of the build folder for what is generated."""
    path = os.path.normpath(path)
    for root in roots:
        if path.startswith(f"{root}/"):
            return path[len(root) + 1 :]
    return path
