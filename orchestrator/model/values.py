# SPDX-License-Identifier: GPL-2.0-only
"""The values that cross borders between stages: frozen dataclasses and enums, nothing else.

This module imports no other module of the lab.  Sizes are in the unit their name tells; times are
seconds; instants are UTC ISO 8601 strings; counters are pages of the guest's ``page_size`` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Verdict(str, Enum):
    """What a case, a build or a cell came to.

    ``FAIL`` blames the kernel under test, ``ERROR`` the host; ``SKIP`` is only honest where nobody
    promised otherwise.
    """

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


# ---------------------------------------------------------------- what to test (lab.yaml)


@dataclass(frozen=True)
class KernelSpec:
    """A kernel of lab.yaml: a source plus, or without, a series.

    ``source`` is ``debian:6.12[=VERSION]``, ``path:DIR``, ``git:URL-or-DIR#REF`` or ``tar:FILE``
    with relative paths already resolved against lab.yaml's folder; ``series`` is a path
    (folder, mbox, patch) or ``git:DIR#A..B``.  ``where`` is ``file:line`` of the definition.
    """

    name: str
    source: str
    series: str | None = None
    provides: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class MessageRules:
    """Regular expressions over the kernel log: of one workload's window, of a config, of the lab.

    ``requires``: each must appear; ``allows``: hits whose title or text matches do not fail;
    ``forbids``: lines that fail although they are no report.
    """

    requires: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfigSpec:
    """An ordered list of Kconfig fragments, or a complete ``.config`` of the user's.

    ``fragments`` are existing files; the architecture's own fragment is inserted by the kernel
    stage right after the first one.  With ``full`` set, ``fragments`` are merged on top of it.
    ``only_arch`` limits the config to some architectures (16K pages exist on arm64 alone).
    ``lacks`` are capabilities that a kernel may provide and this config takes away.
    """

    name: str
    fragments: tuple[Path, ...] = ()
    full: Path | None = None
    provides: tuple[str, ...] = ()
    only_arch: tuple[str, ...] = ()
    where: str = ""
    lacks: tuple[str, ...] = ()
    messages: MessageRules = MessageRules()


@dataclass(frozen=True)
class ShapeSpec:
    """A guest shape: how the machine that boots a build looks.

    ``machine`` overrides the architecture's QEMU machine; ``nodes`` is the number of NUMA nodes;
    ``swap_disk_mib`` is the size of a virtio swap disk (0: none), ``zram_mib`` of zram swap.
    """

    name: str
    cpus: int = 2
    memory_mib: int = 1024
    nodes: int = 1
    machine: str | None = None
    boot_args: tuple[str, ...] = ()
    swap_disk_mib: int = 0
    zram_mib: int = 0
    only_arch: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class SelftestRun:
    """How a program of the kernel's selftests is run, as its collection's table states it.

    ``name`` tells several runs of one program apart.  ``setup`` are lines for the shell that starts
    it in the guest; ``timeout`` in seconds is the collection's where None.  ``skip`` says why it is
    not run by itself.  ``repair`` are compiler flags with which a tree's own mistake is got round.
    """

    program: str
    name: str = ""
    args: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    timeout: float | None = None
    deterministic: bool = True
    skip: str = ""
    repair: tuple[str, ...] = ()
    messages: MessageRules = MessageRules()
    only_arch: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelftestSpec:
    """What of the selftests of the kernel under test a workload stands for.

    ``only`` is a glob of ``PROGRAM`` or ``PROGRAM/RUN``; empty: all.  ``runs`` is the table of the
    programs that need something; the others run as they are.  With ``helpers`` the files that a
    collection builds beside its programs (``TEST_GEN_FILES``, ``TEST_GEN_PROGS_EXTENDED``) are
    programs too.
    ``left_out`` are files that are no program by themselves, ``known`` the failures that healthy
    kernels have.
    """

    collection: str
    only: str = ""
    runs: tuple[SelftestRun, ...] = ()
    helpers: bool = False
    left_out: tuple[str, ...] = ()
    known: tuple[KnownIssue, ...] = ()


@dataclass(frozen=True)
class NotReady:
    """A workload that has a case of its own before it runs; with ``runs`` it runs all the same."""

    case: str
    verdict: Verdict
    reason: str
    runs: bool = False


@dataclass(frozen=True)
class WorkloadSpec:
    """One program with its arguments, as its family's ``manifest.yaml`` states it.

    ``name`` is ``FAMILY/WORKLOAD``.  ``program`` is a ``.c`` or ``.py`` file of the family folder.
    ``timeout`` is in seconds on a fast guest and is scaled by the guest's measured speed.
    ``needs`` are words (``swap``, ``thp``, ``ksm``, ``numa``, ``hugepages``, ``root``) or
    ``CONFIG_X``; ``exercises`` are capabilities (``uffd-move``): where the kernel or config states
    that it provides one, a skip of this workload's cases is a fail.
    ``counters`` names the watched counters, ``invariants`` what must hold of them.
    ``budget`` is how long a workload loops, in seconds of any guest's clock (0: it comes to its end
    by itself); such a workload is given its ``seed`` and ``budget`` as arguments.
    """

    name: str
    family: str
    folder: Path
    program: str
    args: tuple[str, ...] = ()
    description: str = ""
    needs: tuple[str, ...] = ()
    exercises: tuple[str, ...] = ()
    timeout: float = 30.0
    deterministic: bool = True
    messages: MessageRules = MessageRules()
    counters: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    # A collection of selftests, a program of which the others below are about: see SelftestSpec.
    selftests: SelftestSpec | None = None
    # A folder whose files go into the guest with the program, beside it.
    bundle: Path | None = None
    not_ready: tuple[NotReady, ...] = ()
    where: str = ""
    budget: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Selftest:
    """A program of a selftest collection that was built, or was not.

    ``role`` is ``test`` for what kselftest itself runs, ``built`` for a file that may be a helper
    of one or be run by the collection's own script, ``file`` for what was only copied.
    ``problem`` is the compiler's first error; ``lacks`` names the host's library for want of which
    it was, ``repaired`` the flags with which it was built in the end.
    """

    name: str
    role: str = "test"
    problem: str = ""
    lacks: str = ""
    repaired: str = ""


@dataclass(frozen=True)
class Selftests:
    """A selftest collection, built: ``files`` goes into the guest, programs in ``folder`` of it.

    ``missing`` says that the tree has none, ``failure`` why none of it could be built.
    ``timeout`` is what its ``settings`` file states in seconds, 0 for no limit.
    """

    collection: str
    folder: str = ""
    files: Path | None = None
    tests: tuple[Selftest, ...] = ()
    missing: str = ""
    failure: str = ""
    timeout: float | None = None


@dataclass(frozen=True)
class Expectation:
    """``expect:`` of lab.yaml: a known-bad kernel as a check of the lab.

    ``kernel``, ``config`` and ``case`` are globs over the case id's parts (``*`` where not given);
    ``title`` must be contained in the failing case's reason or in a hit's title.
    """

    kernel: str
    config: str
    case: str
    title: str
    where: str = ""


@dataclass(frozen=True)
class KnownIssue:
    """An entry of ``known_issues:``: a report that is shown and does not fail, and why.

    A hit is meant whose ``signature`` is this (of a report that is whole) and whose title the
    regular expression ``title`` finds; an empty one asks nothing.  ``kernels`` are version ranges
    of which one must hold (none: every version), the others globs.  ``counters``: where it was
    seen, the workload's counters are excused too.
    With ``case`` it is no report but a failed case of that name (a glob), and ``title`` is searched
    in its reason.
    """

    reason: str
    signature: str = ""
    title: str = ""
    kernels: tuple[str, ...] = ()
    kernel: str = "*"
    config: str = "*"
    arch: str = "*"
    workload: str = "*"
    counters: bool = False
    where: str = ""
    case: str = ""
    shape: str = "*"


@dataclass(frozen=True)
class IssueRecord(KnownIssue):
    """A known issue as results.json keeps it: ``state`` is seen, not seen or not tried.

    ``seen`` counts its hits; ``cells`` are those in which it could have shown, ``seen_in`` those
    in which it did.
    """

    state: str = "not tried"
    seen: int = 0
    cells: tuple[str, ...] = ()
    seen_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProfileEntry:
    """One block of a profile's matrix: every combination of its parts is a cell.

    ``workloads`` are globs; ``only_deterministic`` leaves out the racing workloads among them.
    """

    configs: tuple[str, ...]
    arches: tuple[str, ...]
    shapes: tuple[str, ...]
    workloads: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    only_deterministic: bool = False


@dataclass(frozen=True)
class ProfileSpec:
    """A named selection of the matrix; ``time_budget`` (s) ends a run that takes longer.

    With ``fresh_guests`` each workload gets a copy of the cell's booted guest.
    With ``spend_budget`` the workloads that loop share what is left of ``time_budget``.
    """

    name: str
    entries: tuple[ProfileEntry, ...]
    description: str = ""
    time_budget: float | None = None
    where: str = ""
    fresh_guests: bool = True
    spend_budget: bool = False


@dataclass(frozen=True)
class LabConfig:
    """The whole of lab.yaml and the workload manifests, validated."""

    path: Path
    kernels: tuple[KernelSpec, ...]
    configs: tuple[ConfigSpec, ...]
    shapes: tuple[ShapeSpec, ...]
    profiles: tuple[ProfileSpec, ...]
    workloads: tuple[WorkloadSpec, ...]
    expectations: tuple[Expectation, ...] = ()
    default_profile: str = "smoke"
    default_kernels: tuple[str, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()
    messages: MessageRules = MessageRules()


# ---------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Build:
    """kernel x config x arch.  ``id`` is ``KERNEL/CONFIG/ARCH``."""

    id: str
    kernel: KernelSpec
    config: ConfigSpec
    arch: str


@dataclass(frozen=True)
class Cell:
    """build x guest shape with the workloads it runs.  ``id`` is ``KERNEL/CONFIG/ARCH/SHAPE``.

    ``messages`` are the lab's and the config's rules; the workloads here have them in their own.
    With ``fresh_guests`` each workload gets a copy of the booted guest, else they share it.
    """

    id: str
    build: Build
    shape: ShapeSpec
    workloads: tuple[WorkloadSpec, ...]
    messages: MessageRules = MessageRules()
    fresh_guests: bool = False


@dataclass(frozen=True)
class Plan:
    """What one ``lab run`` will do, in order.

    ``baseline`` names the kernel the others are compared with, where a kernel was asked for.
    """

    profile: str
    builds: tuple[Build, ...]
    cells: tuple[Cell, ...]
    expectations: tuple[Expectation, ...] = ()
    time_budget: float | None = None
    spend_budget: bool = False
    baseline: str | None = None
    known_issues: tuple[KnownIssue, ...] = ()


# ---------------------------------------------------------------- kernel stage


@dataclass(frozen=True)
class Patch:
    """One patch of a series, parsed.  ``n`` counts from 1; ``diff`` is what git applies."""

    n: int
    subject: str
    author: str
    date: str
    diff: bytes
    sha256: str


@dataclass(frozen=True)
class Series:
    """An ordered series.  ``digest`` is sha256 over the patches' sha256 (KCIDB patchset_hash)."""

    origin: str
    patches: tuple[Patch, ...]
    digest: str
    base_commit: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatchState:
    """A patch as results.json records it; ``applied`` is None when an earlier one failed."""

    n: int
    subject: str
    author: str
    sha256: str
    applied: bool | None


@dataclass(frozen=True)
class ApplyFailure:
    """Why a series does not apply: the patch, the hunk that failed, the file's real text there."""

    n: int
    subject: str
    file: str
    line: int
    message: str
    hunk: str
    context: str


@dataclass(frozen=True)
class KernelTree:
    """A kernel's sources, content-addressed: ``tree`` is a git tree id in the cache's object store.

    ``base_tree`` is the tree without the series; equal to ``tree`` when there is none.
    ``failure`` is set, and ``tree`` is the last good one, when the series did not apply.
    """

    spec: KernelSpec
    version: str
    base_tree: str
    tree: str
    patches: tuple[PatchState, ...] = ()
    series_digest: str = ""
    notes: tuple[str, ...] = ()
    failure: ApplyFailure | None = None
    touched_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfigMismatch:
    """A requested symbol that did not take.  ``unmet`` tells the dependency that was not met."""

    symbol: str
    wanted: str
    got: str
    fragment: str
    unmet: str = ""


@dataclass(frozen=True)
class CompilerMessage:
    """A compiler error or warning: where and what."""

    file: str
    line: int
    text: str
    severity: str = "error"


@dataclass(frozen=True)
class BuildResult:
    """What one build came to.  Paths are absolute and may be None where the build failed."""

    build: Build
    verdict: Verdict
    reason: str
    seconds: float
    cached: bool
    image: Path | None = None
    image_sha256: str = ""
    kernel_config: Path | None = None
    vmlinux: Path | None = None
    log: Path | None = None
    command: str = ""
    mismatches: tuple[ConfigMismatch, ...] = ()
    errors: tuple[CompilerMessage, ...] = ()
    new_warnings: tuple[CompilerMessage, ...] = ()
    cpu_seconds: float = 0.0
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- evidence


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
    """One line of KTAP output, its diagnostics beside it; ``name`` carries parents with dots."""

    name: str
    verdict: Verdict
    reason: str = ""
    diagnostics: tuple[str, ...] = ()


@dataclass(frozen=True)
class KtapReport:
    """A parsed KTAP stream.  ``problems`` lists what makes it incomplete (plan unmet, no plan)."""

    cases: tuple[KtapCase, ...]
    planned: int | None
    problems: tuple[str, ...] = ()
    skip_all: str = ""


class GuestEnd(str, Enum):
    """How a guest was found at the end of a workload."""

    ALIVE = "alive"
    PANIC = "panic"
    RESET = "reset"
    SILENT = "silent"
    SSH_LOST = "ssh-lost"
    QEMU_DIED = "qemu-died"


@dataclass(frozen=True)
class WorkloadEvidence:
    """Everything collected about one workload, before anything is judged.

    ``exit_status`` is None where the program did not end by itself.  ``console`` is the window of
    the serial console that belongs to the workload; ``console_complete`` is False where the begin
    or end mark is missing from it although the guest is alive; ``console_lines`` has for each of
    its lines the line of the console log.  ``hang`` says how dead a silent guest was found,
    ``repeated`` that the workload's guest was lost once before, ``recovered`` how many lines of
    ``console`` the console itself had lost.
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
    samples: tuple[Sample, ...] = ()
    page_size: int = 4096
    host_problem: str = ""
    console_lines: tuple[int, ...] = ()
    hang: str = ""
    repeated: bool = False
    recovered: int = 0


# ---------------------------------------------------------------- results (results.json, schema 1)


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


@dataclass(frozen=True)
class CaseResult:
    """One case's outcome.  ``id`` is ``KERNEL/CONFIG/ARCH/SHAPE:WORKLOAD:CASE``.

    ``workload`` is ``build``, ``boot``, ``kernel`` ... for synthetic cases.  ``rerun`` is the
    command that repeats the case.  ``expected`` is the title of an ``expect:`` entry that was met.
    ``known`` is the reason of the known issues that excuse it, ``judged`` what it came to before
    those were looked at (``fail: REASON``), empty where they changed nothing.  ``console`` is the
    log that the hits' lines count in, relative to the run's folder.
    """

    id: str
    workload: str
    case: str
    verdict: Verdict
    reason: str = ""
    seconds: float = 0.0
    hits: tuple[Hit, ...] = ()
    counters: tuple[Counter, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    rerun: str = ""
    expected: str = ""
    ledger: tuple[LedgerStep, ...] = ()
    samples: tuple[Sample, ...] = ()
    known: str = ""
    judged: str = ""
    console: str = ""
    crash: CrashReport | None = None


@dataclass(frozen=True)
class BuildRecord:
    """A build as results.json keeps it; ``log`` and ``kernel_config`` are relative to the run.

    ``expected`` is the title of an ``expect:`` entry that its failure met: its verdict is a pass.
    """

    id: str
    kernel: str
    config: str
    arch: str
    verdict: Verdict
    reason: str
    seconds: float
    cached: bool
    image_sha256: str
    command: str = ""
    log: str = ""
    kernel_config: str = ""
    cpu_seconds: float = 0.0
    errors: tuple[CompilerMessage, ...] = ()
    new_warnings: tuple[CompilerMessage, ...] = ()
    mismatches: tuple[ConfigMismatch, ...] = ()
    expected: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoopRecord:
    """A workload that looped: for how long (s), and with which seed; ``lab rerun`` takes both."""

    workload: str
    seed: int
    seconds: float


@dataclass(frozen=True)
class CellRecord:
    """A cell as results.json keeps it; paths are relative to the run's folder.

    ``restore_seconds`` is what a workload's own copy of the guest took until its login, the median;
    0 where the workloads shared a guest.  ``loops`` are the workloads that had a budget.
    """

    id: str
    kernel: str
    config: str
    arch: str
    shape: str
    accelerator: str
    verdict: Verdict
    boot_seconds: float
    cases: tuple[CaseResult, ...]
    page_size: int = 4096
    qemu_command: str = ""
    console_log: str = ""
    kernel_config: str = ""
    notes: tuple[str, ...] = ()
    restore_seconds: float = 0.0
    loops: tuple[LoopRecord, ...] = ()


@dataclass(frozen=True)
class KernelRecord:
    """A kernel as results.json keeps it; ``series_origin`` is where the series was read from.

    ``expected`` is the title of an ``expect:`` entry that ``failure`` met.
    """

    name: str
    source: str
    version: str
    series: tuple[PatchState, ...] = ()
    series_digest: str = ""
    notes: tuple[str, ...] = ()
    failure: ApplyFailure | None = None
    series_origin: str = ""
    expected: str = ""


@dataclass(frozen=True)
class RunInfo:
    """Who ran what, where and when.  ``host`` holds cpus, memory_mib, accelerators, tools.

    ``baseline`` is what the run was compared with, empty where with nothing: the id or the folder
    of an earlier run, or the name of a kernel of the run itself.
    """

    id: str
    started: str
    finished: str
    command: str
    exit_status: int
    lab_version: str
    profile: str
    host: dict[str, str] = field(default_factory=dict)
    baseline: str = ""


@dataclass(frozen=True)
class Summary:
    """How many cases came to which verdict."""

    passed: int
    failed: int
    skipped: int
    errors: int


@dataclass(frozen=True)
class RunResult:
    """A whole run: what results.json says."""

    run: RunInfo
    kernels: tuple[KernelRecord, ...]
    builds: tuple[BuildRecord, ...]
    cells: tuple[CellRecord, ...]
    summary: Summary
    problems: tuple[str, ...] = ()
    schema: int = 1
    known_issues: tuple[IssueRecord, ...] = ()


class Change(str, Enum):
    """How a case stands against the baseline."""

    REGRESSED = "regressed"
    FIXED = "fixed"
    STILL_FAILING = "still failing"
    NEW = "new"
    GONE = "gone"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class CaseComparison:
    """One case of run B beside the same case of run A (either may be missing).

    ``key`` is the case id without its kernel part: ``CONFIG/ARCH/SHAPE:WORKLOAD:CASE``.
    """

    key: str
    change: Change
    before: CaseResult | None
    after: CaseResult | None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """A whole comparison, regressions first."""

    baseline: str
    candidate: str
    cases: tuple[CaseComparison, ...]

    @property
    def regressed(self) -> tuple[CaseComparison, ...]:
        """The cases that got worse."""
        return tuple(c for c in self.cases if c.change is Change.REGRESSED)
