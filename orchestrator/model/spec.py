# SPDX-License-Identifier: GPL-2.0-only
"""What lab.yaml and the manifests ask for, and the builds and cells that come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.model.judging import Judging
from orchestrator.model.names import HOST_PLACE, NOT_ANY, Verdict
from orchestrator.model.nightly import NightlySpec
from orchestrator.model.signs import Signs, Turn
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN, Toolchain
from orchestrator.model.walls import WallsSpec

#: How a series is applied: all context must match; by a three-way merge where it does not; or
#: without the outermost lines of context.
STRICT, THREE_WAY, FUZZ = APPLY_MODES = ("strict", "3way", "fuzz")


@dataclass(frozen=True)
class KernelSpec:
    """A kernel of lab.yaml: a source plus, or without, a series.

    ``source`` is ``debian:6.12[=VERSION]``, ``path:DIR``, ``git:URL-or-DIR#REF`` or ``tar:FILE``
    with relative paths already resolved against lab.yaml's folder; ``series`` is a path
    (folder, mbox, patch) or ``git:DIR#A..B``.  ``apply`` says how: one of :data:`APPLY_MODES`.
    ``where`` is ``file:line`` of the definition.
    ``base`` is the source that this kernel is set beside, empty for the nearest that is known.
    ``patches`` is how many of the series' patches it has, from the first on; 0 for all of them.
    ``prefix_of`` names the kernel of the same run with the whole series, whose patches are judged
    one by one with this one; empty for a kernel that is tested for its own sake.
    """

    name: str
    source: str
    series: str | None = None
    provides: tuple[str, ...] = ()
    where: str = ""
    base: str = ""
    apply: str = STRICT
    patches: int = 0
    prefix_of: str = ""


@dataclass(frozen=True)
class MessageRules:
    """Regular expressions over the kernel log: of one workload's window, of a config, of the lab.

    ``requires``: each must appear; ``allows``: hits whose title or text matches do not fail;
    ``forbids``: lines that fail although they are no report.
    """

    requires: tuple[str, ...] = ()
    allows: tuple[str, ...] = ()
    forbids: tuple[str, ...] = ()

    def beside(self, other: MessageRules) -> MessageRules:
        """These rules and then the other ones, each once."""
        return MessageRules(
            requires=tuple(dict.fromkeys((*self.requires, *other.requires))),
            allows=tuple(dict.fromkeys((*self.allows, *other.allows))),
            forbids=tuple(dict.fromkeys((*self.forbids, *other.forbids))),
        )


@dataclass(frozen=True)
class ConfigSpec:
    """An ordered list of Kconfig fragments, or a complete ``.config`` of the user's.

    ``fragments`` are existing files; the architecture's own fragment is inserted by the kernel
    stage right after the first one.  With ``full`` set, ``fragments`` are merged on top of it.
    ``only_arch`` limits the config to some architectures (16K pages exist on arm64 alone).
    ``lacks`` are capabilities that a kernel may provide and this config takes away.
    With ``build_mismatched`` it is built although a symbol of the user's own did not take.
    ``selftest_config`` are collections of the kernel's selftests whose own requests are merged in.
    ``toolchain`` compiles it.  With ``modules`` its modules are built, and in the guest.
    ``objects`` names its build folder, where that is not its own alone.
    ``coverage`` are patterns of C files that are compiled so that what of them ran is counted,
    ``kcov`` of those that tell a task what of them it runs.
    """

    name: str
    fragments: tuple[Path, ...] = ()
    full: Path | None = None
    provides: tuple[str, ...] = ()
    only_arch: tuple[str, ...] = ()
    where: str = ""
    lacks: tuple[str, ...] = ()
    messages: MessageRules = MessageRules()
    build_mismatched: bool = False
    selftest_config: tuple[str, ...] = ()
    toolchain: Toolchain = DEFAULT_TOOLCHAIN
    modules: bool = False
    coverage: tuple[str, ...] = ()
    kcov: tuple[str, ...] = ()
    objects: str = ""

    @property
    def folder(self) -> str:
        """What its build folder is called in the cache."""
        return self.objects or self.name


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
    ``after`` are lines for the same shell when the program has ended: what it does not say itself.
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
    after: tuple[str, ...] = ()


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
class HostTest:
    """A program of the tree under test that runs on the host, without a kernel.

    ``folder`` is where its Makefile stands, ``target`` what that calls it, ``make`` what is set for
    it (``NUMA=1``); ``sources`` are the folders and files of the tree that its build reads besides.
    ``sanitize`` are gcc's sanitizers, whatever the Makefile says; none: without any.
    ``memory_mib`` and ``processes`` are its limits, ``packages`` Debian's that its build needs.
    ``repair`` are compiler flags with which a tree's own mistake is got round, ``known`` the
    failures that healthy kernels have.  ``beside`` are all targets of its table: one make makes
    them, so that they are kept together.
    """

    folder: str
    target: str
    beside: tuple[str, ...] = field(default=(), kw_only=True)
    sources: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    sanitize: tuple[str, ...] = ()
    memory_mib: int = 2048
    processes: int = 64
    packages: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
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
    ``timeout`` is in seconds on a fast guest and is scaled by the guest's measured speed, and so is
    ``longest_call``: how long one call of the program may be in the kernel.
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
    # A program that runs on the host: it has no guest, and nothing of the above but its time.
    host: HostTest | None = None
    # A folder whose files go into the guest with the program, beside it.
    bundle: Path | None = None
    not_ready: tuple[NotReady, ...] = ()
    # A KUnit suite of the kernel's own.
    kunit: bool = False
    where: str = ""
    budget: float = 0.0
    seed: int | None = None
    longest_call: float = 1.5


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

    @property
    def workload(self) -> str:
        """The glob of the workload, with which a ``case`` of ``WORKLOAD:CASE`` begins."""
        return self.case.partition(":")[0]


@dataclass(frozen=True)
class KnownIssue:
    """An entry of ``known_issues:``: a report that is shown and does not fail, and why.

    A hit is meant whose ``signature`` is this (of a report that is whole) and whose title the
    regular expression ``title`` finds; an empty one asks nothing.  ``kernels`` are version ranges
    of which one must hold (none: every version), the others globs.  ``counters``: where it was
    seen, the workload's counters are excused too.
    With ``case`` it is no report but a failed case of that name (a glob), and ``title`` is searched
    in its reason.
    With ``outside_series`` it is none where the series wrote the line that the report happened in.
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
    outside_series: bool = False


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
class ClusterSpec:
    """``cluster:`` of lab.yaml: the scheduler's address, what its workers share, certificates.

    Without a scheduler a run is this machine's alone.  With ``kvm`` guests run under KVM only.
    """

    scheduler: str = ""
    store: str = ""
    tls: Path | None = None
    kvm: bool = False


@dataclass(frozen=True)
class LabConfig:
    """The whole of lab.yaml and the workload manifests, validated.

    ``kcidb_origin`` is what reports to KCIDB call this lab; empty for the default.
    """

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
    judging: Judging = field(default_factory=Judging)
    nightly: NightlySpec = field(default_factory=NightlySpec)
    kcidb_origin: str = ""
    walls: WallsSpec = field(default_factory=WallsSpec)
    cluster: ClusterSpec = ClusterSpec()


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

    A cell on the host has no guest: its ``build`` says which kernel's tree, and is never built.

    ``messages`` are the lab's and the config's rules; the workloads here have them in their own.
    With ``fresh_guests`` each workload gets a copy of the booted guest, else they share it.
    ``done`` names the workloads that the part of the run before it was ended has done.  ``signs``
    is what is known of its workloads before it runs, by their names: they run in an order of it.
    """

    id: str
    build: Build
    shape: ShapeSpec
    workloads: tuple[WorkloadSpec, ...]
    messages: MessageRules = MessageRules()
    fresh_guests: bool = False
    done: tuple[str, ...] = ()
    signs: tuple[tuple[str, Signs], ...] = ()

    @property
    def on_host(self) -> bool:
        """Whether it has no guest: its workloads run on the host, and there is nothing to build."""
        return self.build.config.name == HOST_PLACE


#: What stands in a cell on the host for its config and its guest.
HOST_CONFIG = ConfigSpec(HOST_PLACE)
HOST_SHAPE = ShapeSpec(NOT_ANY, cpus=1)


@dataclass(frozen=True)
class Plan:
    """What one ``lab run`` will do, in order.

    ``baseline`` names the kernel the others are compared with, where a kernel was asked for.
    ``known_kernels`` are those of lab.yaml without a series: what is tested is told by them.
    ``judging`` says how sure a regression is to be.
    ``turns`` are its cells in the order in which they are begun; none: in their own.
    """

    profile: str
    builds: tuple[Build, ...]
    cells: tuple[Cell, ...]
    expectations: tuple[Expectation, ...] = ()
    time_budget: float | None = None
    spend_budget: bool = False
    baseline: str | None = None
    known_issues: tuple[KnownIssue, ...] = ()
    known_kernels: tuple[KernelSpec, ...] = ()
    judging: Judging = field(default_factory=Judging)
    turns: tuple[Turn, ...] = ()
    walls: WallsSpec = field(default_factory=WallsSpec)
