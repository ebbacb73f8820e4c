# SPDX-License-Identifier: GPL-2.0-only
"""From the bytes of a serial console, or of another kernel log, to clean lines.

A console mixes the kernel's records with what firmware and user space print, without any framing.
The kernel's own records can be told by printk's prefix: ``[   12.345678]`` (CONFIG_PRINTK_TIME) and
``[  T123]``/``[    C0]`` (CONFIG_PRINTK_CALLER), see print_time() and print_caller() in
kernel/printk/printk.c of v6.12.  A prefix in the middle of a line means that two writers shared it.
What dmesg, syslog, the journal and job logs put there is :mod:`orchestrator.evidence.klog.forms`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.evidence.klog import forms
from orchestrator.model.formats import CONTROLS

# printk cuts a record at 1024 bytes (PRINTKRB_RECORD_MAX); more than this is no kernel line, and
# the cut keeps every later regular expression's work bounded.
MAX_TEXT = 4096
MAX_RAW = 64 * 1024

#: How a kernel announces itself, the first of its lines.
BANNER = re.compile(r"Linux version \d+\.\d+")
#: Pattern of the time, and the caller, that printk puts before a record.
STAMP = forms.TIME + "(?: ?" + forms.CALLER % "caller" + ")?"
_PREFIX = re.compile(
    r"(?:<(?P<level>\d{1,3})>)?(?:" + STAMP + "|" + forms.CALLER % "only" + "(?= )) ?"
)
_INNER = re.compile(STAMP + " ?")
_KERNEL = " kernel: "
# Terminal escapes: CSI sequences, short strings (OSC; APC in Buildkite's logs), two-character ones
# (ESC c resets a terminal: SeaBIOS and OVMF send it before the first kernel line).
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|[]PX^_][^\x07\x1b]{0,128}(?:\x07|\x1b\\)"
    r"|[@-Z\\^_a-z])?"
)
_CONTROL = re.compile(f"[{CONTROLS}\u2028\u2029]")


@dataclass(slots=True)  # not frozen: a million lines take half a second less
class LogLine:
    """One clean line: ``number`` counts the log's lines from 1.

    ``stamped`` tells that printk's prefix stood before the text, and that it is the kernel's own:
    of a record whose facility says that a program wrote it, only ``seconds`` is known.  ``broken``
    tells that another record's prefix followed inside the same line, so that the text is cut or
    belongs to two writers.
    """

    number: int
    text: str
    seconds: float | None
    caller: str
    stamped: bool
    broken: bool = False


def file_blocks(file: io.BufferedIOBase) -> Iterator[str]:
    """An open log file as text in pieces of whole lines; of a line without end the begin.

    A pipe's lines come as it fills.  About ``MAX_RAW`` bytes are held.

    :raises OSError: where reading fails.
    """
    rest = b""
    while block := file.read1(MAX_RAW):
        whole, end, last = block.rpartition(b"\n")
        if not end:
            rest += last if len(rest) < MAX_RAW else b""
            continue
        yield (rest + whole + end).decode("utf-8", "replace")
        rest = last
    if rest:
        yield rest.decode("utf-8", "replace")


def raw_lines(lines: Iterable[str | bytes]) -> Iterator[str]:
    """The log's lines as text without line ends, whatever the chunks were.

    A whole log given as one string or bytes object is accepted too, and a file opened in binary
    mode, which is read in bounded memory; an item of the iterable may hold several lines.
    Undecodable bytes become U+FFFD.
    """
    if isinstance(lines, io.BufferedIOBase):
        lines = file_blocks(lines)
    elif isinstance(lines, (str, bytes, bytearray)):
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
    splitter = _Splitter()
    for number, raw in enumerate(raw_lines(lines), 1):
        text = raw
        if raw[-1:] == "\r":
            text = raw.rstrip("\r")
            if not text:
                continue
        if text.isprintable():
            line = splitter.simple(number, text)
            if line is not None:
                yield line
            else:
                yield from splitter.split(number, text)
            continue
        text = text.removeprefix("\ufeff") if number == 1 else text
        for part in text.split("\r"):
            if part:
                yield from splitter.split(number, clean(part))


def is_stamped(text: str) -> bool:
    """Whether something in a line of a log, by itself, shows that a kernel printed it."""
    return any(line.stamped for line in read([text]))


class _Splitter:
    """Lines to records, and what is known by now of the form of the log."""

    def __init__(self) -> None:
        # A record with nothing before printk's own prefix was seen: this is a console's log, or
        # plain dmesg's, and a journal's line in it is what a program printed.
        self.plain = False
        # The kernel's banner was seen behind a job log's date and nothing else: no stamps follow.
        self.dated = False
        self.record: forms.Unwrapped | None = None  # that the line before belongs to

    def simple(self, number: int, text: str) -> LogLine | None:
        """The one record of a clean line, in a short way that most lines of most logs can go."""
        match = _PREFIX.match(text)
        if match is None:
            return None
        level, time, caller, _only = match.groups()
        start = match.end()
        if level or not time or text.find("[", start) >= 0:
            return None
        if not caller and text.find(_KERNEL, start) >= 0:
            return None
        self.plain, self.record = True, None
        text = text[start : start + MAX_TEXT].rstrip()
        return LogLine(number, text, float(time), caller or "", True)

    def split(self, number: int, text: str) -> Iterator[LogLine]:
        """The records of a clean line."""
        match = _PREFIX.match(text)
        if match is None:
            yield from self._unstamped(number, text)
            return
        level, time, caller, only = match.groups()
        start = match.end()
        if time and not caller and (hosted := forms.HOSTED.match(text, start)):
            start = hosted.end()
        self.plain, self.record = True, None
        stamped = level is None or int(level) < 8
        seconds = float(time) if time else None
        yield from _pieces(number, text[start:], seconds, caller or only or "", stamped)

    def _unstamped(self, number: int, text: str) -> Iterator[LogLine]:
        """What has no prefix of printk's at its start."""
        found, before = None, self.record
        if forms.MAYBE.match(text) or "\t" in text:
            found = forms.unwrap(text)
            if found is None or (self.plain and found.seconds is None):
                found = None
                text = self._undated(text)
        elif before is not None and before.width and text[: before.width].isspace():
            # dmesg and journalctl indent the further lines of a record.
            found = before._replace(text=text[before.width :])
        self.record = found
        if found is None:
            yield from _pieces(number, text, None, "", False)
            return
        for part in found.text.split("\n"):
            yield from _pieces(number, part, found.seconds, found.caller, found.kernel)

    def _undated(self, text: str) -> str:
        """``text`` without a job log's date, once a kernel without stamps was seen behind one."""
        if self.plain:
            return text
        rest = forms.undated(text)
        if rest is not None and BANNER.match(rest):
            self.dated = True
        return rest if rest is not None and self.dated else text


def _pieces(
    number: int, text: str, seconds: float | None, caller: str, stamped: bool
) -> Iterator[LogLine]:
    """A record, cut where another one's prefix follows inside the same line."""
    start = 0
    # Most lines hold no second bracketed time stamp: spare them the scan.
    inner = _INNER.finditer(text) if "[" in text else iter(())
    for match in inner:
        if match.start() > start or not stamped:
            piece = text[start : min(match.start(), start + MAX_TEXT)]
            if piece.strip():
                yield LogLine(number, piece.rstrip(), seconds, caller, stamped, broken=stamped)
        seconds, caller, stamped = float(match["time"]), match["caller"] or "", True
        start = match.end()
    yield LogLine(number, text[start : start + MAX_TEXT].rstrip(), seconds, caller, stamped)
