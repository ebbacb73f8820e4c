# SPDX-License-Identifier: GPL-2.0-only
"""From what a program printed to the lines of its TAP, without what a console mixed in.

Colours, control characters and carriage returns go.  printk's records are told by their time stamp
(kernel/printk/printk.c of v6.12): where TAP itself comes from the kernel's log, as KUnit's does,
the stamps go; else the records go, and a line that one of them interrupted is put together again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.evidence import tapline
from orchestrator.evidence.klog.lines import STAMP, clean

#: Of a longer line only its beginning and its end are read.
MAX_LINE = 8192
#: A line that records interrupt again and again is put together up to this length.
MAX_BEGUN = 1024
# Without CONFIG_PRINTK_TIME there is the caller alone, padded to six characters.
_STAMP = r"(?:<\d{1,3}>)?(?:" + STAMP + r"|\[ {1,6}[TC]\d{1,10}\](?= ))"
_RECORD = re.compile(_STAMP + " ?")
# Where any of that may be found at all: both begin with a letter or bracket, which makes them fast.
_ANY_STAMP = re.compile(r"\[ {0,6}(?:\d{1,9}\.\d{6}|[TC]\d{1,10})")
_ANY_NOT = re.compile(r"not[ \t]*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"\s*#\s*(?:SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b", re.IGNORECASE)
_SUBTEST = re.compile(r"# Subtest: ")
# What may stand before a line's text: a stamp, an indentation, the hashes of a child program.
_BEFORE = re.compile(f"^(?:{_STAMP})?" + r"[\s#]*")
# printk pads the seconds to five characters: a time in a test's name mostly has no blank before it.
_WITHIN = re.compile(r"(?:<\d{1,3}>)?(?=\[(?: |\d{5}))" + _STAMP + " ?")


def lines(text: str, whole: bool = True) -> tuple[list[str], bool]:
    """The lines, and whether the last one was a result or a plan that was cut: it is left out.

    :param whole: whether the program ended by itself: a last line without its end is then whole.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b" not in text:  # an escape sequence ends with its line
        text = clean(text)
    found = text.split("\n")
    last = found.pop()
    begun = _BEFORE.sub("", last).rstrip()
    cut = not whole and (tapline.result(begun) or tapline.plan(begun)) is not None
    if last and not cut:
        found.append(last)
    if "\x1b" in text:
        found = [clean(line) for line in found]
    if any(len(line) > MAX_LINE for line in found):
        found = [_shorter(line) for line in found]
    if _ANY_STAMP.search(text) or _ANY_NOT.search(text):
        found = list(_without_records(found))
    return found, cut


def _shorter(line: str) -> str:
    if len(line) <= MAX_LINE:
        return line
    return f"{line[: MAX_LINE // 2]} ... {line[-MAX_LINE // 2 :]}"


def _without_records(cleaned: Iterable[str]) -> Iterator[str]:
    stamped: bool | None = None  # whether TAP comes from the kernel's log, once that is known
    begun = ""  # a line that a record interrupted
    for line in cleaned:
        known = 0  # how much of it holds no record
        record = _RECORD.match(line) if "[" in line else None
        if stamped is None and _is_tap(line[record.end() :] if record else line):
            stamped = record is not None
        if stamped:
            yield from _records(line, record.end() if record else 0)
        elif record is None:
            if begun and len(begun) < MAX_BEGUN and _goes_on(begun, line):
                if begun.strip() == "not":
                    begun, line = begun.rstrip() + " ", line.lstrip()
                known, begun, line = len(begun), "", begun + line
            elif begun:
                yield begun
                begun = ""
            within = _WITHIN.search(line, known) if "[" in line else None
            if within is not None:
                begun = line[: within.start()]
            elif line.strip() == "not":
                begun = line
            else:
                yield line
    if begun:
        yield begun


def _records(line: str, start: int) -> Iterator[str]:
    """The texts of the records that share a line of the kernel's log."""
    for stamp in _WITHIN.finditer(line, start) if line.find("[", start) >= 0 else ():
        yield line[start : stamp.start()]
        start = stamp.end()
    yield line[start:]


def _goes_on(begun: str, line: str) -> bool:
    """Whether a line is the rest of one that a record interrupted, and not the next one."""
    word = begun.strip()
    if word == "not":
        return line.lstrip().startswith("ok")
    if word in ("", "K"):  # an indentation, and KTAP
        return True
    if _DIRECTIVE.match(line):
        return True
    return bool(line) and not line.lstrip().startswith("#") and not _is_tap(line)


def _is_tap(line: str) -> bool:
    text = line.lstrip(" \t")
    if text.startswith("#"):
        return _SUBTEST.match(text) is not None
    found = tapline.result(text)
    return (
        (found is not None and not found.bare)
        or tapline.is_version(text)
        or tapline.plan(text) is not None
        or tapline.bail_out(text) is not None
    )
