# SPDX-License-Identifier: GPL-2.0-only
"""From the bytes of a serial console to clean kernel-log lines.

A console mixes the kernel's records with what firmware and user space print, without any framing.
The kernel's own records can be told by printk's prefix: ``[   12.345678]`` (CONFIG_PRINTK_TIME) and
``[  T123]``/``[    C0]`` (CONFIG_PRINTK_CALLER), see print_time() and print_caller() in
kernel/printk/printk.c of v6.12.  A prefix in the middle of a line means that two writers shared it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.model.formats import CONTROLS

# printk cuts a record at 1024 bytes (PRINTKRB_RECORD_MAX); more than this is no kernel line, and
# the cut keeps every later regular expression's work bounded.
MAX_TEXT = 4096
MAX_RAW = 64 * 1024

#: How a kernel announces itself, the first of its lines.
BANNER = re.compile(r"Linux version \d+\.\d+")
_TIME = r"\[ {0,5}(?P<time>\d{1,9}\.\d{6})\]"
_CALLER = r"\[ {0,6}(?P<%s>[TC]\d{1,10})(?:@[TC]?\d{1,6})?\]"
#: Pattern of the time, and the caller, that printk puts before a record.
STAMP = _TIME + "(?:" + _CALLER % "caller" + ")?"
_PREFIX = re.compile(r"(?:<\d{1,3}>)?(?:" + STAMP + "|" + _CALLER % "only" + "(?= )) ?")
_INNER = re.compile(STAMP + " ?")
# Terminal escapes: CSI sequences, short OSC strings, two-character ones (ESC c resets a terminal:
# SeaBIOS and OVMF send it before the first kernel line).
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,128}\x07|[@-Z\\^_a-z])?"
)
_CONTROL = re.compile(f"[{CONTROLS}\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One clean line: ``number`` counts the log's lines from 1.

    ``stamped`` tells that printk's prefix stood before the text; ``broken`` that another record's
    prefix followed inside the same line, so that the text is cut or belongs to two writers.
    """

    number: int
    text: str
    seconds: float | None
    caller: str
    stamped: bool
    broken: bool = False


def file_lines(file: io.BufferedIOBase) -> Iterator[bytes]:
    """The lines of an open log file; of a line without end only the first ``MAX_RAW`` bytes.

    :raises OSError: where reading fails.
    """
    while line := file.readline(MAX_RAW):
        yield line
        while line[-1:] != b"\n" and (line := file.readline(MAX_RAW)):
            pass


def raw_lines(lines: Iterable[str | bytes]) -> Iterator[str]:
    """The log's lines as text without line ends, whatever the chunks were.

    A whole log given as one string or bytes object is accepted too, and a file opened in binary
    mode, which is read in bounded memory; an item of the iterable may hold several lines.
    Undecodable bytes become U+FFFD.
    """
    if isinstance(lines, io.BufferedIOBase):
        lines = file_lines(lines)
    if isinstance(lines, (str, bytes, bytearray)):
        lines = [bytes(lines) if isinstance(lines, bytearray) else lines]
    for item in lines:
        text = item.decode("utf-8", "replace") if isinstance(item, (bytes, bytearray)) else item
        if text.endswith("\n"):
            text = text[:-1]
        if "\n" in text:
            yield from text.split("\n")
        else:
            yield text


def clean(text: str) -> str:
    """``text`` without terminal escapes, control characters (tab stays) and lone surrogates."""
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    text = _CONTROL.sub("", text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text


def read(lines: Iterable[str | bytes]) -> Iterator[LogLine]:
    """Clean lines of a log, split where two writers shared one line.  Never raises on content."""
    for number, raw in enumerate(raw_lines(lines), 1):
        for part in raw.split("\r") if "\r" in raw else (raw,):
            if part or raw == "":
                yield from _split(number, clean(part))


def _split(number: int, text: str) -> Iterator[LogLine]:
    match = _PREFIX.match(text)
    seconds, caller, start = None, "", 0
    stamped = match is not None
    if match is not None:
        seconds = float(match["time"]) if match["time"] else None
        caller = match["caller"] or match["only"] or ""
        start = match.end()
    # Most lines hold no second bracketed time stamp: spare them the scan.
    inner = _INNER.finditer(text, start) if text.find("[", start) >= 0 else iter(())
    for match in inner:
        if match.start() > start or not stamped:
            piece = text[start : min(match.start(), start + MAX_TEXT)]
            if piece.strip():
                yield LogLine(number, piece.rstrip(), seconds, caller, stamped, broken=stamped)
        seconds, caller, stamped = float(match["time"]), match["caller"] or "", True
        start = match.end()
    yield LogLine(number, text[start : start + MAX_TEXT].rstrip(), seconds, caller, stamped)
