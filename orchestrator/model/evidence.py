# SPDX-License-Identifier: GPL-2.0-only
"""What was seen of a guest: reports, counters, samples, cases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orchestrator.model.names import Verdict
from orchestrator.model.spec import WorkloadSpec


@dataclass(frozen=True)
class Excerpt:
    """A piece of a source file: from line ``first`` on; ``added`` are the series' lines of it."""

    first: int = 1
    text: str = ""
    added: tuple[int, ...] = ()


@dataclass(frozen=True)
class SourceLine:
    """A line of the patched source, in ``function``.

    ``touched`` is ``line`` where the series wrote this line, ``function`` where it changed another
    one of the same function, else empty.
    """

    function: str
    file: str
    line: int
    touched: str = ""
    excerpt: Excerpt = Excerpt()


@dataclass(frozen=True)
class FrameLines:
    """What ``function+offset`` in line ``row`` (from 1) of a hit's text stands for.

    ``places`` has the innermost inlined call first and ``function`` itself last; ``note`` tells
    why there are none.
    """

    row: int
    function: str
    offset: int
    places: tuple[SourceLine, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Hit:
    """One kernel-log report.

    ``title`` reads like ``BUG: Bad rss-counter state type:MM_ANONPAGES``; ``kind`` groups titles
    (``bad-rss-counter``); ``signature`` is stable over addresses, pids, CPUs, offsets and builds.
    ``line`` is the 1-based line of the log it was read from, ``seconds`` the kernel's own time
    stamp, ``caller`` printk's ``T123``/``C0``.  ``text`` is the whole report.  ``known`` is the
    reason of the known issue that it is.  ``frames`` are the source lines of its trace.
    ``end_line`` and ``end_seconds`` are those of its last line, ``cpu`` and ``task`` (``comm/pid``)
    where and in whose name it happened, ``blamed`` the function that its trace leads to.
    ``damage`` says what is wrong with a ``corrupted`` report: that it lost its beginning, its end
    or its trace, or that another stands in its midst.  One that lost no more than its end behind a
    trace that goes down to where the kernel was entered has a damage, and is not corrupted.
    ``source`` is the source file that it is about, where the log names source lines.
    """

    title: str
    kind: str
    signature: str
    line: int
    text: str
    seconds: float | None = None
    caller: str = ""
    corrupted: bool = False
    fatal: bool = False
    known: str = ""
    frames: tuple[FrameLines, ...] = ()
    end_line: int = 0
    end_seconds: float | None = None
    cpu: int | None = None
    task: str = ""
    blamed: str = ""
    damage: str = ""
    source: str = ""


@dataclass(frozen=True)
class LogReport:
    """A report of a log that was read by itself, from ``file``.

    ``allowed`` is the rule that allows it, ``times`` how often one of its signature was found; what
    is neither allowed nor a known issue fails.
    """

    file: str
    hit: Hit
    allowed: str = ""
    times: int = 1

    @property
    def verdict(self) -> str:
        """``fail``, ``known issue`` or ``allowed``."""
        return "known issue" if self.hit.known else "allowed" if self.allowed else "fail"


@dataclass(frozen=True)
class LogSource:
    """A log that was read by itself: its ``lines``, the ``reports`` in it, and what went wrong."""

    file: str
    lines: int = 0
    reports: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Counter:
    """A counter over one workload, in pages: before, highest, after, and the page walk's value.

    ``walk`` is the page walk taken where the process stood still, beside ``at_walk``, the counter
    read at that very moment; None where no walk belongs to this counter.
    """

    name: str
    before: int
    peak: int
    after: int
    walk: int | None = None
    at_walk: int | None = None


@dataclass(frozen=True)
class LedgerStep:
    """Counter against page walk at a barrier of the workload's own, in pages."""

    step: str
    pid: int
    rss_anon: int
    walk_anon: int
    vm_swap: int
    walk_swap: int
    tolerance: int

    @property
    def pairs(self) -> tuple[tuple[str, int, int], ...]:
        """Each counter, what it read, and what the walk found."""
        return (
            ("RssAnon", self.rss_anon, self.walk_anon),
            ("VmSwap", self.vm_swap, self.walk_swap),
        )

    @property
    def off(self) -> tuple[tuple[str, int, int], ...]:
        """Those of :attr:`pairs` that lie further apart than the tolerance."""
        return tuple(
            (name, have, real)
            for name, have, real in self.pairs
            if abs(have - real) > self.tolerance
        )


@dataclass(frozen=True)
class Sample:
    """One live sample: seconds since the workload started, values in pages.  No proof, a plot."""

    seconds: float
    values: dict[str, int]


@dataclass(frozen=True)
class Measurement:
    """A figure a workload reports, with its unit (``MB/s``, ``us``)."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class KtapCase:
    """One line of KTAP output, its diagnostics beside it; ``name`` carries parents with dots.

    ``known`` tells that a TODO excuses it: no skip in the sense of not having been run.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    diagnostics: tuple[str, ...] = ()
    known: bool = False


@dataclass(frozen=True)
class KtapReport:
    """A parsed KTAP stream.  ``problems`` lists what makes it incomplete (plan unmet, no plan).

    ``bailed_out`` says why the test gave up, and is empty where it did not.
    """

    cases: tuple[KtapCase, ...]
    planned: int | None
    problems: tuple[str, ...] = ()
    skip_all: str = ""
    bailed_out: str = ""


class GuestEnd(str, Enum):
    """How a guest was found at the end of a workload."""

    ALIVE = "alive"
    PANIC = "panic"
    RESET = "reset"
    SILENT = "silent"
    SSH_LOST = "ssh-lost"
    QEMU_DIED = "qemu-died"


@dataclass(frozen=True)
class CpuPlace:
    """Where one CPU of a guest stood when it was looked at.

    ``frames`` are ``function+0xoffset/0xsize``, innermost first, with ``<exception>`` where one was
    taken.  ``call`` is where on its kernel stack the running task's way into the kernel is kept (0:
    not found), ``entered`` a digest of what user space's registers and stack held then: both stay
    the same until that call returns.  ``lock`` is the first argument's register, ``ran`` how many
    seconds the CPU had had of the host's by then.
    """

    cpu: int
    frames: tuple[str, ...] = ()
    call: int = 0
    entered: str = ""
    lock: int = 0
    ran: float = 0.0
    interrupts: bool = True
    user: bool = False
    idle: bool = False


@dataclass(frozen=True)
class Look:
    """Where all CPUs of a guest stood at one moment, ``seconds`` after the first look at it."""

    seconds: float
    cpus: tuple[CpuPlace, ...]


@dataclass(frozen=True)
class WorkloadEvidence:
    """Everything collected about one workload, before anything is judged.

    ``exit_status`` is None where the program did not end by itself.  ``console`` is the window of
    the serial console that belongs to the workload; ``console_complete`` is False where the begin
    or end mark is missing from it although the guest is alive; ``console_lines`` has for each of
    its lines the line of the console log.  ``hang`` says how dead a silent guest was found,
    ``repeated`` that the workload's guest was lost once before, ``recovered`` how many lines of
    ``console`` the console itself had lost.  ``stuck`` is what several looks at a guest proved that
    did not get on: its CPUs or tasks do not, and never will.
    """

    workload: WorkloadSpec
    stdout: str
    stderr: str
    exit_status: int | None
    timed_out: bool
    seconds: float
    guest: GuestEnd
    console: str
    console_complete: bool
    page_size: int = 4096
    host_problem: str = ""
    console_lines: tuple[int, ...] = ()
    hang: str = ""
    repeated: bool = False
    recovered: int = 0
    stuck: Hit | None = None


@dataclass(frozen=True)
class CrashReport:
    """A crashed or hung guest, examined before it was thrown away.

    ``answers`` is question to answer, in a reader's order; ``skipped`` says why the questions that
    need a memory dump were not asked.  ``files`` are relative to the run's folder; ``dump_bytes``
    is the size of the dump among them, 0 where none was kept.
    """

    answers: dict[str, str]
    skipped: str = ""
    files: tuple[str, ...] = ()
    dump_bytes: int = 0
    seconds: float = 0.0
