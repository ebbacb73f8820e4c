# SPDX-License-Identifier: GPL-2.0-only
"""One kernel-log report while it is being read: which lines belong to it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.evidence.klog import guilt
from orchestrator.evidence.klog.frames import is_frame
from orchestrator.evidence.klog.lines import LogLine
from orchestrator.evidence.klog.rules import Reach, Role, Rule

MAX_LINES = 400
MAX_CHARS = 64 * 1024
# So many lines may stand between a header and its stack trace, or follow a trace without the end
# marker that should come: lockdep's dependency chains and dump_page() with page_owner are long.
MAX_BEFORE_TRACE = 250
MAX_AFTER_TRACE = 60
MAX_SHORT = 6
MAX_OOM = 5000  # the table of all tasks stands before "Killed process"

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
DUMP_HEAD = re.compile(r"CPU: \d|Tainted: |Hardware name: |Modules linked in:|Workqueue: ")
# After a trace a stall's report goes on with the next dump: of a task, of a CPU, of RCU's thread.
_GOES_ON = re.compile(
    r"rcu: |task:|Task dump for CPU|Sending NMI|NMI backtrace|Stack dump where|RCU grace-period"
    r"|CPU: \d|Modules linked in:|Code: |(?:RIP|RSP): "
)
_OOM_END = re.compile(r".{0,80}Kill(?:ed)? process \d|.*no killable processes")
_OOM_TITLE = re.compile(r"(Out of memory|Memory cgroup out of memory)\b.{0,40}: Kill")
_POOLS = re.compile(
    r"Showing |workqueue \S|\s+(?:pwq \d|in-flight:|pending:|inactive:|delayed:)|pool \d+:|task:"
)
# Kinds of which the stuck CPU prints its own trace, asked by an NMI or an interrupt: under a caller
# of its own (nmi_cpu_backtrace() in lib/nmi_backtrace.c).
ASKS_OTHERS = frozenset({"rcu-stall", "hard-lockup", "soft-lockup", "csd-lock", "hung-task"})
BACKTRACE = re.compile(r"NMI backtrace for cpu \d+")
# The last function of a trace: of a system call, of a kernel thread, of the idle task.
_BOTTOM = re.compile(
    r".*\b(?:entry_\w+|ret_from_fork\w*|ret_fast_syscall|secondary_startup\w*|start_kernel|kthread"
    r"|el0t?_(?:64_|32_)?(?:sync|svc|irq)\w*|do_el0_svc|do_(?:fast_)?syscall_\w+|__irq_usr)\+0x"
)
_GUESS = re.compile(r"(?:.{0,40}>\])? ? ?\? ")
_INDENTED = re.compile(r"(?:kmemleak: )?\s")


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
        self.oom_title = ""  # what the line that ends an OOM report says
        self.message = ""  # of a WARN(): it stands between "cut here" and the line with the place
        self.headless = False  # the log lost its beginning
        self.mixed = False  # another report stands in its midst
        self.ruled = False  # it began behind a ruler, and is whole at the next one
        self.fatal = rule.role is Role.PANIC
        self.closed = rule.reach is Reach.LINE
        self.done = self.closed
        self.quiet = 0  # lines of the same caller since it closed
        self.in_trace = False
        self.frames = 0  # all of the report's; `here`: those of the trace that is being read
        self.here = 0
        self.guesses = 0  # of its frames
        self.grounded = False  # a trace was read down to where the kernel was entered
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

    @property
    def shown(self) -> bool:
        """Whether registers or frames were seen, or the first lines of a dump."""
        return self.frames > 0 or any(MACHINE.match(t) or DUMP_HEAD.match(t) for t in self.lines)

    @property
    def cut_short(self) -> bool:
        """Whether it is in the midst of a trace, above where the kernel was entered."""
        return self.in_trace and not self.closed and not self.grounded

    def has(self, *roles: Role) -> bool:
        """Whether a header of one of these roles was seen."""
        return any(rule.role in roles for rule, _ in self.headers)

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
        self.ruled = bool(early) and RULER.match(early[-1]) is not None
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
        if guilt.TRACE.match(text):
            self.in_trace, self.since_trace, self.here = True, 0, 0
            return True
        if is_frame(text):
            self.grounded = self.grounded or _BOTTOM.match(text) is not None
            self.frames += 1
            self.guesses += _GUESS.match(text) is not None
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
        if END_TRACE.match(text) or (
            # lib/ubsan.c up to v5.14 draws a ruler where later ones end the trace
            self.ruled and reach is Reach.TRACE_END and RULER.match(text)
        ):
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
            if not _POOLS.match(text) and not DUMP_HEAD.match(text) and not MACHINE.match(text):
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
            ours = line.caller or DUMP_HEAD.match(line.text) or line.text.startswith("     ")
            return so_far > MAX_SHORT or not ours
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
        if self.headers[0][0].kind in ASKS_OTHERS and _GOES_ON.match(line.text):
            self.in_trace = False
            self.add(line)
            return True
        self.closed = True
        if _AFTERMATH.match(line.text):
            self.add(line)
            return True
        return False
