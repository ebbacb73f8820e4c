# SPDX-License-Identifier: GPL-2.0-only
"""Sizes, durations, kernel versions, .config and exit statuses, as people write and read them."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence

_SIZE = re.compile(r"([0-9]{1,7})([MG])", re.ASCII)
_SECONDS = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)([smh]?)", re.ASCII)
_UNIT_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
# KERNELVERSION of the kernel's Makefile: 6.12.30, 6.12.0-rc3; what follows is somebody's own.
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:-rc(\d{1,3}))?", re.ASCII)
_LIMIT = re.compile(rf"(>=|<=|>|<|=)?\s*({_VERSION.pattern})", re.ASCII)


#: What steers a terminal, and no text needs, as a part of a regular expression's class: C0 without
#: tab, newline and carriage return, DEL, and C1.
CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"

_SET = re.compile(
    r"^CONFIG_(?P<symbol>\w+)=(?P<value>\"(?:[^\"\\]|\\.)*\"|[^\s#\"][^\s#]*)\s*(?P<rest>#.*)?$"
)


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


#: The longest that anything may be asked to take (s): a week.
_LONGEST = 7 * 86400


def parse_seconds(value: object) -> float:
    """A duration in seconds from a number or a text: ``90``, ``90s``, ``30m`` or ``8h``.

    :raises ValueError: if it is neither, not above zero, or above a week.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # What is too long a whole number for a float is too long a time as well.
        seconds = float(value) if -_LONGEST <= value <= _LONGEST else math.inf
    else:
        match = _SECONDS.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("expected a duration such as 90s, 30m or 8h, or a number of seconds")
        seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if not math.isfinite(seconds) or not 0 < seconds <= _LONGEST:
        raise ValueError("expected a duration above zero and up to a week")
    return seconds


def short_seconds(seconds: float) -> str:
    """A duration for a glance: ``40 s``, ``12 min``, ``2 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``; of one word that word."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def counted(number: int, one: str, many: str = "") -> str:
    """``1 cell`` or ``3 cells``; ``many`` is what stands there in place of ``one`` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def not_built(problem: str, repaired: str) -> str:
    """Why a program of the tree did not build, and the flags with which it did all the same."""
    told = f"does not build: {problem}"
    return f"{told}; built with {repaired} it runs all the same" if repaired else told


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


def signal_words(number: int) -> str:
    """A signal as ``signal 11 (SIGSEGV)``; empty where there is none of that number."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return ""


def status_words(status: int) -> str:
    """A shell's exit status in words: above 128 the signal that ended the program."""
    died = signal_words(status - 128) if status > 128 else ""
    return died or f"exit status {status}"


def unequal_symbols(
    configs: Sequence[Mapping[str, str]],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The symbols that are not the same in all configs, by name, with their value in each.

    A symbol that a config has not is ``n`` there, as to the kernel's code.
    """
    for symbol in sorted({symbol for config in configs for symbol in config}):
        values = tuple(config.get(symbol, "n") for config in configs)
        if len(set(values)) > 1:
            yield symbol, values


def parse_dotconfig(text: str) -> dict[str, str]:
    """Read a ``.config`` (or /proc/config.gz's text): symbol to value; unset symbols are absent."""
    values = {}
    for line in text.splitlines():
        found = _SET.match(line)
        if found:
            values[found["symbol"]] = found["value"]
    return values
