# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to, as results.json holds it, and runs beside each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from orchestrator.model.coverage import CoveredLine
from orchestrator.model.evidence import (
    Counter,
    CrashReport,
    Excerpt,
    Hit,
    LedgerStep,
    Measurement,
    Sample,
)
from orchestrator.model.finds import Find
from orchestrator.model.judging import Retried
from orchestrator.model.kernel import (
    ApplyFailure,
    CompilerMessage,
    ConfigMismatch,
    PatchHunk,
    PatchState,
    Tested,
)
from orchestrator.model.mutants import SeriesMutants
from orchestrator.model.names import Verdict
from orchestrator.model.searched import Searched
from orchestrator.model.spec import STRICT, KnownIssue


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
class EarlierRuns:
    """What the same case came to in earlier runs of the history, in numbers of runs.

    ``passed`` and ``failed`` count those on the very same kernel, by its sources and its image, in
    a guest of the same shape.  The ``elsewhere`` of both count other kernels on which the case has
    passed at least once; one that breaks it for good tells nothing of steadiness.
    """

    passed: int = 0
    failed: int = 0
    passed_elsewhere: int = 0
    failed_elsewhere: int = 0


@dataclass(frozen=True)
class CellPast:
    """What a cell came to in the last runs that had it, or a build, where that is what failed.

    ``failed`` says that something failed in it the last time, ``last`` is when that was (UTC
    ISO 8601; one instant for all cells of a run).  ``found`` counts the runs in which something
    failed, and not the cases: one wrong line makes many.  ``seconds`` is what all of them took.
    """

    failed: bool = False
    last: str = ""
    found: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """How many runs with something found a second of it has given."""
        return self.found / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class CaseResult:
    """One case's outcome.  ``id`` is ``KERNEL/CONFIG/ARCH/SHAPE:WORKLOAD:CASE``.

    ``workload`` is ``build``, ``boot``, ``kernel`` ... for synthetic cases.  ``rerun`` is the
    command that repeats the case.  ``expected`` is the title of an ``expect:`` entry that was met.
    ``known`` is the reason of the known issues that excuse it, ``judged`` what it came to before
    those were looked at (``fail: REASON``), empty where they changed nothing.  ``console`` is the
    log that the hits' lines count in, relative to the run's folder.  ``earlier`` is what the
    history had of a case that failed, ``retried`` what further trials in this run came to.
    ``find`` is the program by which a case of random programs failed.
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
    earlier: EarlierRuns | None = None
    retried: Retried | None = None
    find: Find | None = None


@dataclass(frozen=True)
class BuildRecord:
    """A build as results.json keeps it; ``log`` and ``kernel_config`` are relative to the run.

    ``expected`` is the title of an ``expect:`` entry that its failure met: its verdict is a pass.
    ``toolchain`` is what was asked for, ``compiler`` what it says it is.  ``sources`` are the lines
    around its first errors, by ``FILE:LINE``.
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
    toolchain: str = "gcc"
    compiler: str = ""
    sources: dict[str, Excerpt] = field(default_factory=dict)


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
    ``coverage`` is the file that tells what of the kernel they ran, where that was counted, and
    ``covered`` are the lines of code of the series that are in this cell's kernel.
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
    coverage: str = ""
    covered: tuple[CoveredLine, ...] = ()


@dataclass(frozen=True)
class KernelRecord:
    """A kernel as results.json keeps it; ``series_origin`` is where the series was read from.

    ``apply`` is how it was applied (:data:`.spec.APPLY_MODES`).
    ``expected`` is the title of an ``expect:`` entry that ``failure`` met.
    ``selftests`` are the files of the kernel's selftests that it changes (``mm/cow.c``).
    ``tree`` is the git tree of its sources, the series included: one value for the same content.
    ``patches`` and ``prefix_of`` are those of :class:`.spec.KernelSpec`: a kernel with the first
    patches of a series, and of which kernel of this run it is the beginning.
    ``hunks`` are those of its series where a cell counted what of it ran, none elsewhere.
    """

    name: str
    source: str
    version: str
    series: tuple[PatchState, ...] = ()
    series_digest: str = ""
    notes: tuple[str, ...] = ()
    failure: ApplyFailure | None = None
    series_origin: str = ""
    apply: str = STRICT
    expected: str = ""
    tested: Tested = field(default_factory=Tested)
    selftests: tuple[str, ...] = ()
    tree: str = ""
    patches: int = 0
    prefix_of: str = ""
    hunks: tuple[PatchHunk, ...] = ()


@dataclass(frozen=True)
class PatchRow:
    """What came of a series up to one of its patches, in every config and architecture of a run.

    ``kernel`` has the first ``n`` patches.  ``applies`` is None where an earlier patch does not.
    Of so many ``builds`` so many were ``built``, of so many ``boots`` so many ``booted``; a total
    of 0 says that none was asked for or could be tried.  ``passed`` and ``failed`` count cases of
    workloads.  ``warnings`` are the compiler's that this patch brings.
    """

    n: int
    subject: str
    kernel: str
    applies: bool | None
    builds: int = 0
    built: int = 0
    boots: int = 0
    booted: int = 0
    passed: int = 0
    failed: int = 0
    warnings: int = 0


@dataclass(frozen=True)
class PatchFinding:
    """What one patch of a series breaks, or a warning that it brings and a later one takes away.

    ``kind`` is ``build``, ``boot``, ``test`` or ``warning``.  ``patch`` is the first with which it
    is seen, ``since`` the first that may have brought it: an earlier one where what lies between
    could not be tried.  ``mended`` is the patch with which it is gone again, 0 for none.
    ``title`` says what is wrong, ``evidence`` what the first case says of it.  ``places`` are
    ``CONFIG/ARCH``.  ``case`` is the id of the first of so many ``cases``, ``rerun`` the command
    that repeats it.  ``base_known`` says that the same was tried without the series.
    """

    kind: str
    patch: int
    subject: str
    title: str
    since: int
    mended: int = 0
    evidence: str = ""
    places: tuple[str, ...] = ()
    case: str = ""
    cases: int = 0
    rerun: str = ""
    base_known: bool = False


@dataclass(frozen=True)
class EachPatch:
    """A series patch by patch (``--each-patch``): ``kernel`` is the one with all of it."""

    kernel: str
    rows: tuple[PatchRow, ...]
    findings: tuple[PatchFinding, ...] = ()

    @property
    def broken(self) -> tuple[PatchFinding, ...]:
        """What does not build, boot or pass before the series is whole: it cannot be bisected."""
        last = len(self.rows)
        return tuple(f for f in self.findings if f.kind != "warning" and f.patch < last)


@dataclass(frozen=True)
class RunInfo:
    """Who ran what, where and when.  ``host`` holds cpus, memory_mib, accelerators, tools.

    ``baseline`` is what the run was compared with, empty where with nothing: the id or the folder
    of an earlier run, or the name of a kernel of the run itself.  ``complete`` says that it came to
    its end with every cell tried, none left out and none lost to the host.
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
    complete: bool = False


@dataclass(frozen=True)
class Summary:
    """How many cases came to which verdict."""

    passed: int
    failed: int
    skipped: int
    errors: int


@dataclass(frozen=True)
class WorkloadRecord:
    """What a workload is about, and of checks that failed the program's lines around them.

    ``checks`` are by ``FILE:LINE`` as the case's reason has it; ``file`` is the program's name.
    """

    name: str
    description: str = ""
    file: str = ""
    checks: dict[str, Excerpt] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResult:
    """A whole run: what results.json says.

    ``searched`` is what a run came to that is a search, None for every other.  ``searches`` are
    those that were made later for cases of this run, ``mutants`` what is known of those of its
    series; both are kept beside results.json.
    """

    run: RunInfo
    kernels: tuple[KernelRecord, ...]
    builds: tuple[BuildRecord, ...]
    cells: tuple[CellRecord, ...]
    summary: Summary
    problems: tuple[str, ...] = ()
    schema: int = 1
    known_issues: tuple[IssueRecord, ...] = ()
    each_patch: tuple[EachPatch, ...] = ()
    workloads: tuple[WorkloadRecord, ...] = ()
    searched: Searched | None = None
    searches: tuple[Searched, ...] = ()
    mutants: tuple[SeriesMutants, ...] = ()

    @property
    def command(self) -> str:
        """The command line that began it."""
        return self.run.command


@dataclass(frozen=True)
class Records:
    """What was found so far, or by a part of a run: a run without who ran it, when, and its counts.

    ``command`` repeats a kernel that the command line defined and no lab.yaml has.
    """

    kernels: tuple[KernelRecord, ...] = ()
    builds: tuple[BuildRecord, ...] = ()
    cells: tuple[CellRecord, ...] = ()
    problems: tuple[str, ...] = ()
    known_issues: tuple[IssueRecord, ...] = ()
    command: str = ""


#: What has kernels, builds and cells to look at.
Found = RunResult | Records


class Change(str, Enum):
    """How a case stands against the baseline."""

    REGRESSED = "regressed"
    FIXED = "fixed"
    STILL_FAILING = "still failing"
    FLAKY = "flaky"
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
