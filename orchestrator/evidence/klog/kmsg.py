# SPDX-License-Identifier: GPL-2.0-only
"""Records of /dev/kmsg, and the union of them with a console log.

The serial console loses lines when the guest's output outruns it, is cut, or shares its lines with
user space; /dev/kmsg dies with the guest, and its ring overwrites what nobody read in time.  What
one lost the other often has.  Both carry the same text and the same time stamp in microseconds, so
a line is recognised in both.

Format (Documentation/ABI/testing/dev-kmsg; info_print_ext_header() and msg_print_ext_body() in
kernel/printk/printk.c of v6.12)::

    PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,caller=T123][,...];TEXT
     KEY=VALUE

TEXT has non-printable bytes, newlines and backslashes as ``\\xNN``; a record of several lines is
printed on the console as that many lines.  Reading gives EPIPE once where the ring has overtaken
the reader; it goes on with the next record, whose sequence number tells how many are gone.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from orchestrator.evidence.klog.forms import RECORD, RECORD_CALLER, decoded
from orchestrator.evidence.klog.lines import BANNER, LogLine, clean, raw_lines, read

# So many records of /dev/kmsg are looked at ahead of the console's line: more than the console can
# lose in one piece (printk's ring holds 16,000 records of 64 bytes in 1 MiB).
MAX_AHEAD = 20_000
# A line without a time stamp is compared with so many.
_AHEAD_UNSTAMPED = 64
# So many lines of one time stamp are compared: a record of several lines has one.
_SAME = 128
# So many records are remembered, to know one that is read again.
_REMEMBERED = 65_536
# A console whose clock goes back further than this, and below it, shows another boot (us).
_JUMP = 1_000_000


@dataclass(frozen=True, slots=True)
class KmsgRecord:
    """One record.  ``level`` 0 to 7 and ``facility`` as for syslog(3): 0 is the kernel itself.

    ``seq`` counts from the boot on, ``usec`` is printk's clock, ``caller`` is empty without
    CONFIG_PRINTK_CALLER, ``text`` is decoded and may hold several lines, ``pairs`` are the
    ``KEY=VALUE`` lines below it.
    """

    seq: int
    usec: int
    text: str
    level: int = 6
    facility: int = 0
    flags: str = "-"
    caller: str = ""
    pairs: tuple[tuple[str, str], ...] = ()


class Source(str, Enum):
    """Where a merged line was read."""

    BOTH = "both"
    CONSOLE = "console"
    KMSG = "kmsg"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class MergedLine:
    """A line of the union, as the console prints it.

    ``number`` is its line in the console log, 0 where only /dev/kmsg has it.  A line of source
    ``gap`` is the lab's own: it tells how many records neither has.
    """

    text: str
    source: Source
    number: int = 0


def records(data: bytes | Iterable[bytes | str]) -> Iterator[KmsgRecord]:
    """The records of /dev/kmsg's bytes, in the order read; what is none is passed over.

    :param data: the bytes of all reads, one after another (or an iterable of lines or of reads).

    Never raises on content.  Streams.
    """
    head: re.Match[str] | None = None
    pairs: list[tuple[str, str]] = []
    for line in raw_lines([data] if isinstance(data, (bytes, bytearray)) else data):
        if line[:1] == " ":
            key, equals, value = line[1:].partition("=")
            if head is not None and equals and len(pairs) < 64:
                pairs.append((key[:100], decoded(value[:2000])))
            continue
        match = RECORD.match(line)
        if match is None:
            continue
        if head is not None:
            yield _record(head, pairs)
        head, pairs = match, []
    if head is not None:
        yield _record(head, pairs)


def reconcile(console: Iterable[str | bytes], kmsg: Iterable[KmsgRecord]) -> Iterator[MergedLine]:
    """The union of a console log and /dev/kmsg's records, in the order printed, nothing twice.

    :param kmsg: as :func:`records` gives them; what was read twice is dropped, and where the
        sequence begins anew a further boot follows.

    A line cut short on the console is replaced by the whole one.  Lines of user space stay where
    they stand.  What only /dev/kmsg has is put where its time says, once a line was found in both;
    a boot that the console does not show comes at the end.  Records that neither has (EPIPE, a
    lost reader) are told by a line of source ``gap``.  Streams: about twice ``MAX_AHEAD`` lines are
    held.  Never raises on content.  Console lines are recognised by CONFIG_PRINTK_TIME's stamp.
    """
    merger = _Merger(kmsg)
    for line in read(console):
        yield from merger.console(line)
    yield from merger.rest()


def lines(merged: Iterable[MergedLine]) -> Iterator[str]:
    """The text of merged lines, for :func:`orchestrator.evidence.klog.parse.parse`."""
    return (line.text for line in merged)


# ---------------------------------------------------------------- records


def _record(head: re.Match[str], pairs: list[tuple[str, str]]) -> KmsgRecord:
    prio = int(head["prio"])
    caller = RECORD_CALLER.search(head["more"])
    return KmsgRecord(
        seq=int(head["seq"]),
        usec=int(head["usec"]),
        text=decoded(head.string[head.end() :]),
        level=prio & 7,
        facility=prio >> 3,
        flags=head["flags"],
        caller=caller["caller"] if caller else "",
        pairs=tuple(pairs),
    )


def prefix(usec: int, caller: str) -> str:
    """printk's prefix as print_time() and print_caller() write it, with the space behind."""
    stamp = f"[{usec // 1_000_000:5d}.{usec % 1_000_000:06d}]"
    return f"{stamp}[{caller:>6}] " if caller else f"{stamp} "


# ---------------------------------------------------------------- the union


class _State(Enum):
    WAITING = 0
    TAKEN = 1  # given out where the console has it
    GIVEN = 2  # given out although the console had not shown it yet


class _Line:
    """A line of /dev/kmsg; ``gap`` records are missing before it."""

    __slots__ = ("boot", "caller", "gap", "state", "text", "usec")

    def __init__(self, record: KmsgRecord, text: str, boot: int, gap: int) -> None:
        self.usec = record.usec
        self.caller = record.caller
        self.text = text
        self.boot = boot
        self.gap = gap
        self.state = _State.WAITING

    def shown(self, caller: str = "") -> str:
        return (prefix(self.usec, self.caller or caller) + self.text).rstrip()


class _Boots:
    """Lines of the records, those read twice left out, with the number of their boot."""

    def __init__(self, source: Iterable[KmsgRecord]) -> None:
        self.source = iter(source)
        self.seen: OrderedDict[int, int] = OrderedDict()  # seq to what it was, of this boot
        self.highest: int | None = None
        self.boot = 0
        self.newest = 0

    def lines(self) -> Iterator[_Line]:
        for record in self.source:
            what = hash((record.usec, record.text))
            gap = 0
            if self.highest is not None and record.seq <= self.highest:
                if self.seen.get(record.seq) == what:
                    continue
                if record.seq in self.seen or record.usec <= self.newest:
                    self.boot += 1
                    self.seen.clear()
            elif self.highest is not None:
                gap = record.seq - self.highest - 1
            self.highest = record.seq
            self.newest = record.usec
            self.seen[record.seq] = what
            if len(self.seen) > _REMEMBERED:
                self.seen.popitem(last=False)
            for text in record.text.split("\n"):
                yield _Line(record, clean(text).rstrip(), self.boot, gap)
                gap = 0


class _Merger:
    """State of :func:`reconcile`: the lines ahead, and whether the console is in their boot."""

    def __init__(self, kmsg: Iterable[KmsgRecord]) -> None:
        self.source = _Boots(kmsg).lines()
        self.ended = False
        self.ahead: deque[_Line] = deque()
        self.behind: deque[_Line] = deque()  # given out; the console may yet show them
        self.by_time: dict[int, _Line | deque[_Line]] = {}
        self.stamped = False
        self.synced = False  # a line of the console's present boot was found here
        self.newest = 0
        self.fillers = 0  # lines that only the console has, since the last one of /dev/kmsg

    def console(self, line: LogLine) -> Iterator[MergedLine]:
        """Give out what stands before a line of the console, and the line."""
        self._fill()
        usec = -1 if line.seconds is None else round(line.seconds * 1_000_000)
        self.stamped = self.stamped or usec >= 0
        # A stuck CPU's clock may lag by seconds: only one that begins anew is another boot's.
        if BANNER.match(line.text) or -1 < usec < min(_JUMP, self.newest - _JUMP):
            if self.synced:
                yield from self._boot_ends()
            self.synced, self.newest = False, 0
        self.newest = max(self.newest, usec)
        found = self._find(usec, line)
        while found is None and self._all_older(usec):
            for _ in range(MAX_AHEAD // 2):
                yield from self._give(self.ahead.popleft())
            self._fill()
            found = self._find(usec, line)
        if found is None:
            if self.synced and usec >= 0:
                yield from self._older_than(usec)
            self.fillers += line.stamped
            yield MergedLine(self._own(usec, line), Source.CONSOLE, line.number)
            return
        if found.state is _State.GIVEN:
            found.state = _State.TAKEN
            return
        # At time 0 every boot prints the same: that proves nothing.
        self.synced = self.synced or usec != 0
        if self.synced:
            while self.ahead and self.ahead[0] is not found:
                yield from self._give(self.ahead.popleft())
            yield from self._missing(found)
        found.state = _State.TAKEN
        yield MergedLine(found.shown(line.caller), Source.BOTH, line.number)
        glued = line.text[len(found.text) :].strip() if line.text.startswith(found.text) else ""
        if glued:
            yield MergedLine(glued, Source.CONSOLE, line.number)

    def rest(self) -> Iterator[MergedLine]:
        """The console is over: everything that only /dev/kmsg has."""
        self._fill()
        while self.ahead:
            yield from self._give(self.ahead.popleft())
            self._fill()

    # ------------------------------------------------------------ inside

    def _fill(self) -> None:
        while not self.ended and len(self.ahead) < MAX_AHEAD:
            line = next(self.source, None)
            if line is None:
                self.ended = True
                return
            self.ahead.append(line)
            others = self.by_time.get(line.usec)
            if others is None:
                self.by_time[line.usec] = line  # most have a time of their own
            elif isinstance(others, _Line):
                self.by_time[line.usec] = deque((others, line))
            else:
                others.append(line)

    def _find(self, usec: int, line: LogLine) -> _Line | None:
        """The line of /dev/kmsg that a line of the console is, or a part of."""
        if usec < 0:
            if self.stamped or not line.text:
                return None
            near = itertools.islice(self.ahead, _AHEAD_UNSTAMPED)
            return next(
                (e for e in near if e.state is _State.WAITING and e.text == line.text), None
            )
        part = None
        for entry in _open(self.by_time.get(usec)):
            if not _same(entry.caller, line.caller):
                continue
            if entry.text == line.text:
                return entry
            # Cut on the console, or user space wrote on in the same line.
            if part is None and (
                entry.text.startswith(line.text)
                or (entry.text and line.text.startswith(entry.text))
            ):
                part = entry
        return part

    def _all_older(self, usec: int) -> bool:
        """Whether more must be read to come to a line of the console: it lost much before it."""
        return len(self.ahead) >= MAX_AHEAD and self.ahead[-1].usec < usec

    def _own(self, usec: int, line: LogLine) -> str:
        if not line.stamped:
            return line.text
        if usec < 0:
            return f"[{line.caller:>6}] {line.text}".rstrip()
        return (prefix(usec, line.caller) + line.text).rstrip()

    def _older_than(self, usec: int) -> Iterator[MergedLine]:
        boot = self.ahead[0].boot if self.ahead else 0
        while self.ahead and self.ahead[0].usec < usec and self.ahead[0].boot == boot:
            yield from self._give(self.ahead.popleft())

    def _boot_ends(self) -> Iterator[MergedLine]:
        boot = self.ahead[0].boot if self.ahead else 0
        while self.ahead and self.ahead[0].boot == boot:
            yield from self._give(self.ahead.popleft())
            self._fill()

    def _give(self, line: _Line) -> Iterator[MergedLine]:
        """Give out a line that the console has not, or pass over one that it had."""
        if line.state is _State.WAITING:
            yield from self._missing(line)
            line.state = _State.GIVEN
            yield MergedLine(line.shown(), Source.KMSG)
        self.behind.append(line)
        if len(self.behind) > MAX_AHEAD:
            self._forget(self.behind.popleft())

    def _missing(self, line: _Line) -> Iterator[MergedLine]:
        lost, line.gap = line.gap - self.fillers, 0
        self.fillers = 0
        if lost > 0:
            text = f"lab: {lost} kernel messages before this are in no log"
            yield MergedLine(text, Source.GAP)

    def _forget(self, line: _Line) -> None:
        """Nothing of the console can be this line any more."""
        entries = self.by_time.get(line.usec)
        if isinstance(entries, deque):
            # The oldest of its time, or gone already.
            if entries and entries[0] is line:
                entries.popleft()
            if entries:
                return
        self.by_time.pop(line.usec, None)


def _open(entries: _Line | deque[_Line] | None) -> Iterator[_Line]:
    """The first of these lines that the console has not shown yet."""
    if isinstance(entries, _Line):
        entries = deque((entries,))
    while entries and entries[0].state is _State.TAKEN:
        entries.popleft()
    for entry in itertools.islice(entries or (), _SAME):
        if entry.state is not _State.TAKEN:
            yield entry


def _same(one: str, other: str) -> bool:
    """Whether two callers can be the same: one log may have been read without them."""
    return one == other or not one or not other
