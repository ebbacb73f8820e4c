# SPDX-License-Identifier: GPL-2.0-only
"""Values that people write as words: sizes, durations, kernel sources, series.

The command line gives sources and series in the same words as lab.yaml, so both resolve them here.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from orchestrator.model.errors import UserError

_SIZE = re.compile(r"([0-9]{1,7})([MG])", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([smh])", re.ASCII)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
# An upstream series, optionally with the version of Debian Policy 5.6.12.
_DEBIAN = re.compile(r"[0-9]+\.[0-9]+(=[0-9][A-Za-z0-9.+~:-]*)?", re.ASCII)
# git-check-ref-format(1) allows more; none of what is left out starts an option or a shell word.
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~+-]*", re.ASCII)
_REMOTE = re.compile(r"(https?|git|ssh|file)://[^\s]+|[\w.-]+@[\w.-]+:[^\s:][^\s]*", re.ASCII)

# KERNELVERSION of the kernel's Makefile: 6.12.30, 6.12.0-rc3; what follows is somebody's own.
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:-rc(\d{1,3}))?", re.ASCII)
_LIMIT = re.compile(rf"(>=|<=|>|<|=)?\s*({_VERSION.pattern})", re.ASCII)

SOURCE_FORMS = "debian:6.12[=VERSION], path:DIR, git:URL-or-DIR#REF or tar:FILE"
SERIES_FORMS = "a folder of patches, an mbox, a patch file, or git:DIR#A..B"


def parse_size_mib(value: object) -> int:
    """A size in MiB from a whole number (MiB) or a text like ``512M`` or ``2G``.

    :raises ValueError: if it is neither, or above 1 TiB.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        mib = value
    else:
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("expected a size such as 512M or 2G, or a whole number of MiB")
        mib = int(match[1]) * (1024 if match[2] == "G" else 1)
    if not 0 <= mib <= 1 << 20:
        raise ValueError("expected a size from 0 to 1024G")
    return mib


def parse_seconds(value: object) -> float:
    """A duration in seconds from a number (seconds) or a text like ``90s``, ``30m`` or ``8h``.

    :raises ValueError: if it is neither, not above zero, or above a week.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("expected a duration such as 90s, 30m or 8h, or a number of seconds")
        seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if not math.isfinite(seconds) or not 0 < seconds <= 7 * 86400:
        raise ValueError("expected a duration above zero and up to a week")
    return seconds


def check_range(text: str) -> None:
    """Look at a range of kernel versions, such as ``>= 6.8, < 6.12.30``.

    :raises ValueError: if it is none, or no version can be in it.
    """
    lowest = [(0, 0, 0, 1)]
    for part in text.split(","):
        limit = _LIMIT.fullmatch(part.strip())
        if limit is None:
            raise ValueError("expected limits such as '>= 6.8, < 6.12.30', of >=, <=, >, < and =")
        lowest.append(_lowest(limit))
    # What is in the range at all has its lowest version where the limits from below begin.
    found = ("{}.{}.{}-rc{}".format(*numbers) for numbers in lowest)
    if not any(in_range(version, text) for version in found):
        raise ValueError("no version is in this range")


def _lowest(limit: re.Match[str]) -> tuple[int, int, int, int]:
    """The lowest version that keeps to a limit."""
    written = [int(number) for number in limit.group(3, 4, 5, 6) if number is not None]
    if limit[1] in ("<", "<="):
        return (0, 0, 0, 1)
    if limit[6] is not None and limit[5] is None:
        written.insert(2, 0)
    if limit[1] == ">":
        written[-1] += 1
    first, second, third, candidate = (*written, *(0, 0, 0, 1)[len(written) :])
    return (first, second, third, candidate)


def in_range(version: str, text: str) -> bool:
    """Whether a kernel's ``version`` keeps to every limit of a range.

    Of a version only what the limit writes is compared: 6.12.30 is ``<= 6.12``, and so is
    6.12-rc3; a limit that names an -rc compares these too.  A version that is none is in no range.
    """
    return all(
        (limit := _LIMIT.fullmatch(part.strip())) is not None and _holds(version, limit)
        for part in text.split(",")
    )


def _holds(version: str, limit: re.Match[str]) -> bool:
    found, wanted = _VERSION.match(version), _VERSION.fullmatch(limit[2])
    if found is None or wanted is None:
        return False
    mine, other = _version_key(found), _version_key(wanted)
    if wanted[4] is None:
        length = 2 if wanted[3] is None else 3
        mine, other = mine[:length], other[:length]
    return {
        "<": mine < other,
        "<=": mine <= other,
        ">": mine > other,
        ">=": mine >= other,
    }.get(limit[1] or "=", mine == other)


def _version_key(match: re.Match[str]) -> tuple[float, ...]:
    numbers = (int(match[1]), int(match[2]), int(match[3] or 0))
    return (*numbers, int(match[4]) if match[4] else math.inf)


def resolve_source(text: str, base: Path) -> str:
    """A kernel source in its full form, its path absolute (from ``base``) and existing.

    :raises UserError: if the form is unknown or the path is not there.
    """
    _refuse_control(text, "source")
    prefix, colon, rest = text.partition(":")
    if not colon or prefix not in ("debian", "path", "git", "tar"):
        raise UserError(f"{text!r} is no kernel source", f"write {SOURCE_FORMS}")
    if prefix == "debian":
        if not _DEBIAN.fullmatch(rest):
            raise UserError(
                f"{text!r}: expected a version such as debian:6.12 or debian:6.12=6.12.43-1"
            )
        return text
    if prefix == "path":
        return f"path:{_existing(rest, base, text, folder=True)}"
    if prefix == "tar":
        return f"tar:{_existing(rest, base, text, folder=False)}"
    where, _, ref = rest.rpartition("#")
    if not where or not _REF.fullmatch(ref):
        raise UserError(f"{text!r}: expected git:URL-or-DIR#REF, REF a branch, tag or commit")
    return f"git:{_repository(where, base, text)}#{ref}"


def resolve_series(text: str, base: Path) -> str:
    """A series in its full form, its path absolute (from ``base``) and existing.

    :raises UserError: if the path is not there or the range is none.
    """
    _refuse_control(text, "series")
    if not text.startswith("git:"):
        return str(_existing(text, base, text, folder=None))
    where, _, span = text.removeprefix("git:").rpartition("#")
    first, dots, last = span.partition("..")
    if not where or not dots or not _REF.fullmatch(first) or not _REF.fullmatch(last):
        raise UserError(f"{text!r}: expected git:DIR#A..B, A and B branches, tags or commits")
    return f"git:{_existing(where, base, text, folder=True)}#{first}..{last}"


def _refuse_control(text: str, what: str) -> None:
    if not text.strip() or not text.isprintable():
        raise UserError(f"{text!a}: a {what} must be printable text and not empty")


def _repository(where: str, base: Path, text: str) -> str:
    # `ext::` and other helper transports of gitremote-helpers(7) run programs.
    if "::" in where or where.startswith("-"):
        raise UserError(f"{text!r}: this kind of git address is not used here")
    if _REMOTE.fullmatch(where):
        return where
    return str(_existing(where, base, text, folder=True))


def _existing(name: str, base: Path, text: str, *, folder: bool | None) -> Path:
    """The absolute path of ``name``, a folder, a file, or (None) either."""
    if not name:
        raise UserError(f"{text!r}: the path is missing")
    try:
        path = (base / Path(name).expanduser()).resolve()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        # A name too long, a folder of someone else's, ~nobody-known, a loop of links.
        raise UserError(f"{text!r}: {error}") from None
    if not is_folder and not is_file:
        raise UserError(f"{text!r}: {path} does not exist")
    if folder is True and not is_folder:
        raise UserError(f"{text!r}: {path} is no folder")
    if folder is False and not is_file:
        raise UserError(f"{text!r}: {path} is no file")
    return path
