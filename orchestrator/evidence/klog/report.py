# SPDX-License-Identifier: GPL-2.0-only
"""One kernel-log report while it is being read, and the Hit that becomes of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from orchestrator.evidence.klog import titles
from orchestrator.evidence.klog.facts import place
from orchestrator.evidence.klog.frames import is_frame, plain_function
from orchestrator.evidence.klog.lines import LogLine
from orchestrator.evidence.klog.rules import Reach, Role, Rule
from orchestrator.model.evidence import Hit

MAX_LINES = 400
MAX_CHARS = 64 * 1024
# So many lines may stand between a header and its stack trace, or follow a trace without the end
# marker that should come: lockdep's dependency chains and dump_page() with page_owner are long.
MAX_BEFORE_TRACE = 250
MAX_AFTER_TRACE = 60
MAX_SHORT = 6
MAX_OOM = 5000  # the table of all tasks stands before "Killed process"

# Reports of these print an end marker; without it the rest is lost.
_ENDED = (Reach.TRACE_END, Reach.RULER, Reach.OOM)
END_TRACE = re.compile(r"---\[ end trace|---\[ end Kernel panic")
RULER = re.compile(r"={20,}\s*$")
# Registers, code bytes and stack names: they stand inside a trace or close behind it.
MACHINE = re.compile(
    r"\s*(?:</?[A-Z#][\w#-]*>|Code: |(?:RIP|EIP|RSP|RAX|RBP|RDX|R[01][0-9]|ORIG_RAX|FS|CS"
    r"|CR[02]|DR[0-7]|PKRU|SS|DS|EFLAGS): ?\S|x\d{1,2} ?: |(?:pc|lr|sp|pstate|pmr_save|pmr) ?: "
    r"|---\[ end trace|Modules linked in:|Unloaded tainted modules:|\.\.\.)"
)
_AFTERMATH = re.compile(
    r"note: .{1,40} exited with|Fixing recursive fault|Disabling lock debugging|Kernel Offset:"
    r"|---\[ end Kernel panic|---\[ end trace|Rebooting in \d|SMP: stopping secondary CPUs"
    r"|PHYS_OFFSET:|CPU features:|Memory Limit:|Dumping ftrace buffer|\(ftrace buffer empty\)"
    r"|FIX \S+: |irq event stamp|hardirqs last |softirqs last |Kernel panic - not syncing"
)
_DUMP_HEAD = re.compile(r"CPU: \d|Tainted: |Hardware name: |Modules linked in:|Workqueue: ")
_RCU = re.compile(
    r"rcu: |task:|Task dump for CPU|Sending NMI|NMI backtrace|Stack dump where|RCU grace-period"
)
_RCU_THREAD = re.compile(r"rcu: (?:RCU grace-period kthread stack dump|Stack dump where RCU GP)")
_OOM_END = re.compile(r".{0,80}Kill(?:ed)? process \d|.*no killable processes")
_OOM_TITLE = re.compile(r"(Out of memory|Memory cgroup out of memory)\b.{0,40}: Kill")
_BECAUSE = re.compile(r"page dumped because: (?P<why>.{1,120})")
_POOLS = re.compile(
    r"Showing |workqueue \S|\s+(?:pwq \d|in-flight:|pending:|inactive:|delayed:)|pool \d+:|task:"
)
_IN_FLIGHT = re.compile(r"\s+in-flight: (?:bh|\d+)\w*(?:\(RESCUER\))?:(?P<func>[A-Za-z_.][\w.]*)")
# Kinds of which the stuck CPU prints its own trace, asked by an NMI or an interrupt: under a caller
# of its own (nmi_cpu_backtrace() in lib/nmi_backtrace.c).
ASKS_OTHERS = frozenset({"rcu-stall", "hard-lockup", "soft-lockup", "csd-lock", "hung-task"})
# Of these the task that complains only waits for the other.
_WAITS = frozenset({"hard-lockup", "csd-lock"})
_HELD = re.compile(r" #0: .{1,300}, at: (?P<func>[A-Za-z_][\w.]*)\+0x")
BACKTRACE = re.compile(r"NMI backtrace for cpu \d+")
_INDENTED = re.compile(r"(?:kmemleak: )?\s")
_RSS_INDEX = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SWAPENTS", "MM_SHMEMPAGES")  # before v5.10


class Report:
    """A report under construction: its lines so far and what was recognised in them."""

    def __init__(self, rule: Rule, match: re.Match[str], line: LogLine) -> None:
        self.first = line
        self.headers: list[tuple[Rule, re.Match[str]]] = [(rule, match)]
        self.lines: list[str] = []
        self.chars = 0
        self.dropped = 0
        self.last_number = line.number
        self.last_seconds = line.seconds
        self.broken = line.broken
        self.fatal = rule.role is Role.PANIC
        self.closed = rule.reach is Reach.LINE
        self.done = self.closed
        self.quiet = 0  # lines of the same caller since it closed
        self.in_trace = False
        self.frames = 0  # all of the report's; `here`: those of the trace that is being read
        self.here = 0
        self.since_trace = 0  # lines since a finished trace, or since "Call Trace:" without a frame
        self.frameless_trace = False
        self.whole = self.closed  # its end marker was seen
        self.annexes: list[Report] = []
        self.is_annex = False  # the trace of another CPU: takes no header
        self.add(line)

    @property
    def reach(self) -> Reach:
        """How far the report reaches: the last header to say so wins over "cut here"."""
        return self.headers[-1][0].reach

    def has(self, *roles: Role) -> bool:
        """Whether a header of one of these roles was seen."""
        return any(rule.role in roles for rule, _ in self.headers)

    message = ""  # of a WARN(): it stands between "cut here" and the line with the place

    def add(self, line: LogLine) -> None:
        """Append a line's text, up to the limits."""
        self.last_number = line.number
        self.last_seconds = line.seconds if line.seconds is not None else self.last_seconds
        if len(self.lines) < MAX_LINES and self.chars + len(line.text) < MAX_CHARS:
            self.lines.append(line.text)
            self.chars += len(line.text) + 1
        else:
            self.dropped += 1

    def prepend(self, texts: Iterable[str]) -> None:
        """Put lines that were printed ahead of the header in front."""
        early = list(texts)
        self.lines[:0] = early
        self.chars += sum(map(len, early))

    def join(self, rule: Rule, match: re.Match[str], line: LogLine) -> None:
        """Take in a further header that belongs to this report."""
        if rule.role is Role.WARN and len(self.lines) > 1 and self.has(Role.CUT):
            self.message = self.lines[-1] if not RULER.match(self.lines[-1]) else ""
        self.headers.append((rule, match))
        self.broken = self.broken or line.broken
        self.fatal = self.fatal or rule.role is Role.PANIC
        self.closed = self.whole = False
        self.in_trace = False
        self.since_trace = 0
        self.add(line)

    def feed(self, line: LogLine) -> bool:
        """Offer a plain line of the same caller; False when it is not part of the report."""
        text = line.text
        if self.closed:
            if _AFTERMATH.match(text) or MACHINE.match(text):
                self.add(line)
                return True
            return False
        if self._follow_trace(text):
            self.add(line)
            return True
        return self._beyond(line)

    def _follow_trace(self, text: str) -> bool:
        """Whether the line is the start or a part of a stack trace (state is kept here)."""
        if titles.TRACE.match(text):
            self.in_trace, self.since_trace, self.here = True, 0, 0
            return True
        if is_frame(text):
            self.frames += 1
            self.here += 1
            self.since_trace = 0
            return True
        if self.in_trace and self.here and MACHINE.match(text):
            if text.startswith("---[ end"):
                self.closed = self.whole = True
            return True
        return False

    def _beyond(self, line: LogLine) -> bool:
        """A line that is no trace: part of the report, or the line after it."""
        text, reach = line.text, self.reach
        if END_TRACE.match(text):
            self.closed = self.whole = True
            self.add(line)
            return True
        if reach is Reach.RULER:
            self.closed = self.whole = RULER.match(text) is not None
        elif reach is Reach.OOM:
            self.closed = self.whole = _OOM_END.match(text) is not None
            if self.closed and (match := _OOM_TITLE.match(text)):
                self.oom_title = match[1]
        elif reach is Reach.INDENT:
            if not _INDENTED.match(text):
                self.closed = True
                return False
        elif reach is Reach.POOLS:
            if not _POOLS.match(text) and not _DUMP_HEAD.match(text) and not MACHINE.match(text):
                self.closed = True
                return False
            self.in_trace = False
        elif self.in_trace and self.here:
            return self._after_trace(line)
        elif self.in_trace:
            self.since_trace += 1
            self.frameless_trace = self.frameless_trace or self.since_trace > 15
        if self._too_far(line):
            self.closed = True
            return False
        self.add(line)
        return True

    def _too_far(self, line: LogLine) -> bool:
        """Whether the report should have shown its trace, or its end, by now."""
        so_far = len(self.lines) + self.dropped
        if self.reach is Reach.SHORT and not self.in_trace:
            # Without a caller the next line may be anybody's: take only what is surely a dump.
            return so_far > MAX_SHORT or not (line.caller or _DUMP_HEAD.match(line.text))
        return so_far > (MAX_OOM if self.reach is Reach.OOM else MAX_BEFORE_TRACE)

    def _after_trace(self, line: LogLine) -> bool:
        """What follows a complete trace."""
        if self.reach is Reach.TRACE_END:
            self.since_trace += 1
            if self.since_trace > MAX_AFTER_TRACE:
                self.closed = True
                return False
            self.add(line)
            return True
        if self.headers[0][0].kind in ASKS_OTHERS and _RCU.match(line.text):
            self.in_trace = False
            self.add(line)
            return True
        self.closed = True
        if _AFTERMATH.match(line.text):
            self.add(line)
            return True
        return False

    # ------------------------------------------------------------ the Hit

    oom_title = ""

    def hit(self) -> Hit:
        """The finished report as a value."""
        rule, match = self._telling()
        groups = {k: (v or "").strip() for k, v in match.groupdict().items()}
        if "file" in groups:
            groups["file"] = titles.source_path(groups["file"])
        named = groups.get("func", "")
        groups["func"] = plain_function(named)
        if rule.kind == "bad-rss-counter":
            index = groups.get("idx") or ""
            known = index.isdigit() and int(index[:4]) < len(_RSS_INDEX)
            groups["type"] = groups["type"] or (_RSS_INDEX[int(index)] if known else "unknown")
            self.broken = self.broken or groups["type"] == "unknown"
        keep = {"file", "line", "func", "type", "cache", "order"}
        base = rule.title.format_map(
            {k: v if k in keep or rule.role is Role.NOTE else titles.neutral(v)
             for k, v in groups.items()}
        )  # fmt: skip
        base = self._refine(rule, base)
        blamed = plain_function(self._blame(named)) if rule.blame else ""
        title = base
        if blamed and not (blamed == groups["func"] and rule.title.endswith("{func}")):
            title = f"{base} in {blamed}"
        stable = rule.same or titles.neutral(base)
        where = place(self._all_lines(), self.first.caller)
        last = max((self, *self.annexes), key=lambda part: part.last_number)
        return Hit(
            title=title[: titles.MAX_TITLE].strip(" :"),
            kind=rule.kind,
            signature=titles.signature(rule.kind, stable, blamed, self._more(rule)),
            line=self.first.number,
            text="\n".join(self._text()),
            seconds=self.first.seconds,
            caller=self.first.caller,
            corrupted=self._corrupted(rule),
            fatal=self.fatal,
            end_line=last.last_number,
            end_seconds=last.last_seconds,
            cpu=where.cpu,
            task=where.task,
            blamed=blamed,
        )

    def _all_lines(self) -> list[str]:
        return [*self.lines, *(text for annex in self.annexes for text in annex.lines)]

    def _blame(self, named: str) -> str:
        """The function to blame: by its own trace, else by those that other CPUs printed for it."""
        if self.reach is Reach.POOLS:
            found = (match["func"] for text in self.lines if (match := _IN_FLIGHT.match(text)))
            return next(found, "")
        own = self.lines
        if self.headers[0][0].kind in ASKS_OTHERS:
            # RCU's own thread waits for the stuck CPU; it is shown beside it.
            own = list(itertools.takewhile(lambda text: not _RCU_THREAD.match(text), own))
        traces = [own, *(annex.lines for annex in self.annexes)]
        if self.headers[0][0].kind in _WAITS:
            traces.append(traces.pop(0))
        for lines in traces:
            if name := titles.guilty(lines, named):
                return name
        # "lock held when returning to user space" has no trace: where the lock was taken.
        held = (match["func"] for text in own if not self.frames and (match := _HELD.match(text)))
        return next(held, "")

    def _more(self, rule: Rule) -> tuple[str, ...]:
        """What else tells this bug from others of its title and function."""
        if rule.kind == "lockdep":
            return titles.lock_classes(self.lines)
        if rule.kind == "warning" and self.message:
            return (titles.skeleton(self.message),)
        return ()

    def _telling(self) -> tuple[Rule, re.Match[str]]:
        """The header that names the report: a note, else the first real one, else the panic."""
        for roles in ((Role.NOTE,), (Role.OWN, Role.HEAD, Role.WARN), (Role.DIE,), (Role.PANIC,)):
            for rule, match in self.headers:
                if rule.role in roles and not (rule.kind == "kasan" and rule.role is Role.NOTE):
                    return rule, match
        return self.headers[0]

    def _refine(self, rule: Rule, base: str) -> str:
        """Put what other lines of the report say into the title."""
        if rule.kind in ("vm-bug-on", "vm-warn-on"):
            for other, match in self.headers:
                if other.kind in ("kernel-bug", "warning") and match.groupdict().get("file"):
                    what = "kernel BUG" if other.kind == "kernel-bug" else "WARNING:"
                    place = f"{titles.source_path(match['file'])}:{match['line']}"
                    return f"{what} at {place}: {base}"
        if rule.kind == "bad-page-state":
            for text in self.lines:
                if because := _BECAUSE.match(text):
                    return f"{base}: {titles.neutral(because['why'])}"
        if rule.kind == "oom" and self.oom_title:
            return f"{self.oom_title}: killed a process"
        return base

    def _corrupted(self, rule: Rule) -> bool:
        """Whether the report is cut or mixed with another: not to be trusted in detail."""
        if self.broken:
            return True
        body = rule.reach not in (Reach.LINE, Reach.SHORT) and rule.role is not Role.PANIC
        total = len(self.lines) + self.dropped
        # The trace of a stalled CPU is printed by that CPU, under a caller of its own.
        elsewhere = self.dropped or rule.kind in ("rcu-stall", "hard-lockup", "workqueue-lockup")
        elsewhere = elsewhere or any(
            _HELD.match(text) or (self.fatal and titles.tells_where(text)) for text in self.lines
        )
        if body and (total < 4 or (not self.frames and not elsewhere)):
            return True
        if body and self.reach in _ENDED and not (self.whole or self.fatal):
            return True
        return self.frameless_trace or (self.in_trace and not self.here)

    def _text(self) -> list[str]:
        text = []
        for part in (self, *self.annexes):
            while part.lines and not part.lines[-1].strip():
                part.lines.pop()
            text += part.lines
            text += [f"... {part.dropped} lines more"] if part.dropped else []
        return text
