# SPDX-License-Identifier: GPL-2.0-only
"""Kernel-log reports out of a console log: bytes in, ``Hit`` values out.

Lines are told apart by printk's caller (CONFIG_PRINTK_CALLER), so that reports that two CPUs print
at the same time do not mix; without callers everything counts as one.  A report is what a reader
would call one: an oops with its trace, its end marker and the panic that follows is one Hit.

Memory is bounded: so many callers are followed at once, so many lines kept of each report.  Time is
linear in the log's size.  Nothing that stands in a log makes these functions raise.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.evidence.klog.frames import is_frame
from orchestrator.evidence.klog.headers import classify, glued, quick
from orchestrator.evidence.klog.hits import hit
from orchestrator.evidence.klog.lines import BANNER, LogLine, read
from orchestrator.evidence.klog.report import (
    ASKS_OTHERS,
    BACKTRACE,
    END_TRACE,
    MACHINE,
    RULER,
    Report,
)
from orchestrator.evidence.klog.rules import HEADLESS, Reach, Role, Rule
from orchestrator.evidence.klog.window import MARK
from orchestrator.model.evidence import Hit

# A report is over when its task or CPU has printed nothing for so long (seconds of kernel time; a
# stack dump over an emulated serial port takes well under one) or so many lines of others passed.
MAX_GAP_SECONDS = 5.0
# While it is not over its task may wait for others: nmi_trigger_cpumask_backtrace() in
# lib/nmi_backtrace.c gives them 10 s.
MAX_OPEN_GAP_SECONDS = 15.0
MAX_GAP_LINES = 2000
# A panic belongs to the report before it when the same caller printed at most so much in between.
MAX_QUIET_LINES = 50
MAX_CALLERS = 256
MAX_ANNEXES = 16
# dump_page(), dump_vma() and dump_mm() print ahead of the BUG() that called them.
_KEPT_BEFORE = 48
_DUMP_START = re.compile(r"page: ?\S*refcount:|page:\S+ refcount:|(?:vma|mm) [0-9a-f]{8,16} ")
_DUMP = re.compile(
    r"page: ?\S*refcount:|page:\S+ refcount:|(?:vma|mm) [0-9a-f]{8,16} |(?:head|raw|memcg|aops"
    r"|flags|page_type|anon flags|ksm flags|def_flags): ?\S|(?:prot|pgoff|mmap_base|pgd|hiwater_rss"
    r"|pinned_vm|start_code|start_brk|binfmt|ioctx_table|owner|exe_file|notifier_subscriptions"
    r"|numa_next_scan|tlb_flush_pending) |page dumped because:"
)
# An "Oops:" that says no more always stands behind a line that does; so close at most.
_SECOND_HALF = re.compile(r"(?:Oops: (?:Oops: )?|Internal error: Oops: )[0-9a-f]{4,16} \[#")
MAX_HALVES = 30
_FOREIGN = "~"


class _Caller:
    """What is remembered of one task or CPU."""

    __slots__ = ("before", "report")

    def __init__(self) -> None:
        self.before: deque[str] = deque(maxlen=_KEPT_BEFORE)
        self.report: Report | None = None


class _Reader:
    """The state machine behind :func:`parse`."""

    def __init__(self) -> None:
        self.callers: OrderedDict[str, _Caller] = OrderedDict()
        self.live: deque[Report] = deque()
        self.stamped = False
        self.now: float | None = None

    def feed(self, line: LogLine) -> None:
        """Take the next line of the log."""
        self.stamped = self.stamped or line.stamped
        if self._reset(line):
            self.finish()
        # A time without printk's stamp is of a record that a program wrote into /dev/kmsg.
        foreign = not line.stamped and (self.stamped or line.seconds is not None)
        caller = self._caller(_FOREIGN if foreign else line.caller)
        if MARK.match(line.text):
            self._finish_report(caller)
            caller.before.clear()
            return
        if (report := caller.report) is not None and self._stale(report, line):
            self._finish_report(caller)
        if not quick(line.text):
            self._plain(caller, line)
            return
        found = classify(line.text, trusted=not foreign)
        if found is None and not foreign and (start := glued(line.text)):
            text = line.text
            self._plain(caller, replace(line, text=text[:start]))
            line = replace(line, text=text[start:], broken=True)
            found = classify(line.text)
        if found is not None:
            self._header(caller, *found, line)
        else:
            self._plain(caller, line)

    def _plain(self, caller: _Caller, line: LogLine) -> None:
        """A line that begins no report."""
        report, text = caller.report, line.text
        if report is None and text.startswith("NMI") and BACKTRACE.match(text):
            report = self._annex(caller, line)
        if report is None and text.startswith("---[") and (end := END_TRACE.match(text)):
            self._headless(caller, end, line)
        elif report is None:
            caller.before.append(text)
        elif not report.feed(line):
            report.quiet += 1
            caller.before.append(text)
            if report.quiet > MAX_QUIET_LINES:
                self._finish_report(caller)

    def finish(self) -> None:
        """The log, or this boot of the kernel, ends here."""
        for caller in self.callers.values():
            self._finish_report(caller)
        self.callers.clear()

    def ready(self, number: int) -> Iterator[Hit]:
        """Hits in the order in which their reports began, as far as that is settled."""
        while self.live:
            head = self.live[0]
            for part in (head, *head.annexes):
                if not part.done and number - part.last_number <= MAX_GAP_LINES:
                    return
                part.done = True
            yield hit(self.live.popleft())

    # ------------------------------------------------------------ inside

    def _reset(self, line: LogLine) -> bool:
        """Whether the kernel started anew: printk's clock jumped back, or its banner appears."""
        before, self.now = self.now, line.seconds if line.seconds is not None else self.now
        if line.seconds is not None and before is not None and line.seconds < before - 1.0:
            return line.seconds < 1.0
        return BANNER.match(line.text) is not None

    def _caller(self, name: str) -> _Caller:
        caller = self.callers.get(name)
        if caller is None:
            caller = self.callers[name] = _Caller()
            if len(self.callers) > MAX_CALLERS:
                _, oldest = self.callers.popitem(last=False)
                self._finish_report(oldest)
        else:
            self.callers.move_to_end(name)
        return caller

    def _stale(self, report: Report, line: LogLine, done: bool = True) -> bool:
        if (done and report.done) or line.number - report.last_number > MAX_GAP_LINES:
            return True
        if line.seconds is None or report.last_seconds is None:
            return False
        limit = MAX_GAP_SECONDS if report.closed else MAX_OPEN_GAP_SECONDS
        return line.seconds - report.last_seconds > limit

    def _first_half(self, line: LogLine) -> Report | None:
        """The report whose ``Oops:`` line this is, under another caller.

        Where the preempt count is wrong (it often is, in a crash), printk takes the task for an
        interrupt, and no longer once the oops has begun.
        """
        for other in self.callers.values():
            report = other.report
            if report is None or report.done or line.number - report.last_number > MAX_HALVES:
                continue
            if report.has(Role.HEAD) and not report.has(Role.DIE) and not report.frames:
                other.report = None
                return report
        return None

    def _headless(self, caller: _Caller, match: re.Match[str], line: LogLine) -> None:
        """An end marker behind registers or frames without a report: the log lost its beginning."""
        if not any(is_frame(text) or MACHINE.match(text) for text in caller.before):
            return
        report = Report(HEADLESS, match, line)
        report.prepend(caller.before)
        report.headless = report.closed = True
        caller.before.clear()
        caller.report = report
        self.live.append(report)

    def _annex(self, caller: _Caller, line: LogLine) -> Report | None:
        """A trace that another CPU was asked for by a report still at the front of the log."""
        for report in itertools.islice(reversed(self.live), 64):
            rule, match = report.headers[0]
            if rule.kind in ASKS_OTHERS and len(report.annexes) < MAX_ANNEXES:
                if self._stale(report, line, done=False):
                    return None
                annex = Report(replace(rule, reach=Reach.STACK), match, line)
                annex.is_annex = True
                report.annexes.append(annex)
                caller.report = annex
                return annex
        return None

    def _finish_report(self, caller: _Caller) -> None:
        if caller.report is not None:
            caller.report.done = True
            caller.report = None

    def _header(self, caller: _Caller, rule: Rule, match: re.Match[str], line: LogLine) -> None:
        report = caller.report
        if rule.reach is Reach.LINE:
            if rule.kind == "oom" and report is not None and report.headers[0][0].kind == "oom":
                report.feed(line)
                return
            # One-line reports come from anywhere, also in the middle of another report.
            self.live.append(Report(rule, match, line))
            return
        if report is not None and not report.done and not report.is_annex:
            if _said_again(report, rule):
                report.headers[-1] = (rule, match)
                report.add(line)
                return
            if _belongs(report, rule):
                report.join(rule, match, line)
                return
            if report.has(Role.CUT) and len(report.headers) == 1 and rule.weak:
                report.feed(line)  # the text of a WARN() may itself begin with "WARNING:"
                return
            # Without printk's callers nobody knows whose the rest of the trace is.
            report.mixed = not line.caller and report.cut_short
        self._finish_report(caller)
        if _SECOND_HALF.match(line.text) and (first := self._first_half(line)) is not None:
            first.join(rule, match, line)
            caller.report = first
            return
        report = Report(rule, match, line)
        report.prepend(_dump_before(caller.before, rule))
        caller.before.clear()
        caller.report = report
        self.live.append(report)


def _said_again(report: Report, rule: Rule) -> bool:
    """Whether a resolved log repeats a header, once for each inlined call; the last is the real."""
    return report.headers[-1][0].kind == rule.kind and "[inline]" in report.lines[-1]


def _belongs(report: Report, rule: Rule) -> bool:
    """Whether a header continues ``report`` (same caller) and does not begin another one."""
    role = rule.role
    if role is Role.PANIC:
        return not report.has(Role.PANIC)
    if report.closed or report.has(Role.PANIC):
        return False
    started = report.has(Role.HEAD, Role.WARN, Role.DIE)
    only_notes = report.has(Role.CUT, Role.NOTE) and not started and not report.has(Role.OWN)
    if rule.kind == "kasan" and role is Role.NOTE and not report.closed:
        # the address of a general protection fault, explained
        return all(other.kind != "kasan" for other, _ in report.headers)
    if role is Role.NOTE and report.has(Role.WARN) and not report.shown:
        # without __WARN_FLAGS (x86 up to v4.11, arm32) the message follows the place
        return not report.has(Role.NOTE)
    if role is Role.CUT:
        return only_notes and not report.has(Role.CUT)
    if role in (Role.NOTE, Role.HEAD, Role.WARN):
        return only_notes
    if role is Role.DIE:
        return not report.has(Role.DIE, Role.WARN) and (only_notes or report.has(Role.HEAD))
    return False


def _dump_before(before: Iterable[str], rule: Rule) -> list[str]:
    """The page, vma or mm dump, or the ruler, that stands right above a header."""
    recent = list(before)
    if recent and RULER.match(recent[-1]):
        return recent[-1:]
    if rule.role not in (Role.NOTE, Role.CUT):
        return []
    dump: list[str] = []
    for text in reversed(recent):
        if not _DUMP.match(text):
            break
        dump.insert(0, text)
        if _DUMP_START.match(text):
            return dump
    return []


def parse(lines: Iterable[str | bytes]) -> Iterator[Hit]:
    """Read a kernel log and yield its reports, in the order in which they begin.

    :param lines: the log, a line an item (with or without line ends, text or bytes); a whole log in
        one string works too, and so does a file opened in binary mode.

    Streams: a hit is yielded once nothing that follows can still belong to it.  Never raises on
    content.  Titles carry no address, pid, CPU or offset; ``text`` is without printk's prefixes.
    """
    reader = _Reader()
    number = 0
    for line in read(lines):
        number = line.number
        reader.feed(line)
        if reader.live:
            yield from reader.ready(number)
    reader.finish()
    yield from reader.ready(number)
