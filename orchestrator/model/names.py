# SPDX-License-Identifier: GPL-2.0-only
"""The lab's words: verdicts, the names of its own cases and workloads, ids of cells and cases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase


class Verdict(str, Enum):
    """What a case, a build or a cell came to.

    ``FAIL`` blames the kernel under test, ``ERROR`` the host; ``SKIP`` is only honest where nobody
    promised otherwise.
    """

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    ERROR = "error"


# ---------------------------------------------------------------- names of the lab's own

# Pseudo-workloads of cases that the lab makes itself.
SERIES = "series"
BUILD = "build"
BOOT = "boot"
CONFIG = "config"
KERNEL = "kernel"
CELL = "cell"
STAGES = frozenset({SERIES, BUILD, BOOT, CONFIG, KERNEL, CELL})

# Cases of the pseudo-workloads that are not named like their workload.
APPLY = "apply"
SHAPE = "shape"
CASES = "cases"
#: What a workload needs of its guest and the guest has not.
NEEDS = "needs"

# Cases beside those that a workload prints.
KERNEL_LOG = "kernel-log"
COUNTERS = "counters"
EXIT_STATUS = "exit-status"
KTAP = "ktap"
HANG = "hang"
RESET = "reset"
GUEST = "guest"
HOST = "host"
#: What ``expect:`` in lab.yaml foresaw and did not happen.
EXPECT = "expect"
#: What a workload had not done when a known issue took its guest.
UNFINISHED = "unfinished"
#: What a workload is told as that the run's early end left out.
NOT_RUN = "not-run"
#: Those that are there only where something went wrong.
TROUBLE = frozenset({HANG, EXIT_STATUS, GUEST, RESET, KTAP, HOST, EXPECT, UNFINISHED})
#: Cases that say how a workload ran and not what it tested: alone they are no evidence of a test.
SYNTHETIC = TROUBLE | {KERNEL_LOG, COUNTERS, NOT_RUN}

#: How the reason of a case begins that was skipped although lab.yaml promises what it needs.
BROKEN_PROMISE = "skipped although provided: "
#: How the reason of a build begins that was stopped before its compile.
NOT_COMPILED = "not compiled: "

#: The kernel that --source and --series define.
CLI_KERNEL = "cli"
#: The kernel of --base; and what a rerun calls the base where lab.yaml has none of that source.
BASE_KERNEL = "base"


#: What stands for the config of a cell that runs on the host: ``KERNEL/host/ARCH/-``.
HOST_PLACE = "host"

# ---------------------------------------------------------------- ids

#: A part of an id that does not apply: a series has no config, a build no shape.
NOT_ANY = "-"


@dataclass(frozen=True)
class CellId:
    """Where something ran: ``KERNEL/CONFIG/ARCH/SHAPE``; names hold no slash."""

    kernel: str
    config: str = NOT_ANY
    arch: str = NOT_ANY
    shape: str = NOT_ANY

    @classmethod
    def parse(cls, text: str) -> CellId:
        """Read a cell's id, or the id of a build or kernel: what is not there does not apply."""
        return cls(*text.split("/")[:4])

    def __str__(self) -> str:
        return f"{self.build}/{self.shape}"

    @property
    def build(self) -> str:
        """The id of the cell's build: ``KERNEL/CONFIG/ARCH``."""
        return f"{self.kernel}/{self.config}/{self.arch}"

    @property
    def place(self) -> str:
        """Where it ran, whatever its kernel: ``CONFIG/ARCH/SHAPE``."""
        return f"{self.config}/{self.arch}/{self.shape}"

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Kernel, config, architecture, shape."""
        return self.kernel, self.config, self.arch, self.shape

    @property
    def applying(self) -> tuple[str, ...]:
        """The parts without those that do not apply."""
        return tuple(part for part in self.parts if part != NOT_ANY)


@dataclass(frozen=True)
class CaseId:
    """One case of a run: ``CELL:WORKLOAD:CASE``; only a case's name may hold colons."""

    cell: CellId
    workload: str
    case: str

    @classmethod
    def parse(cls, text: str) -> CaseId:
        """Read a case's id; what is not there is empty, as in an id that somebody typed."""
        cell, _, rest = text.partition(":")
        workload, _, case = rest.partition(":")
        return cls(CellId.parse(cell), workload, case)

    @classmethod
    def of_series(cls, kernel: str) -> CaseId:
        """The case that says whether a kernel's series applies."""
        return cls(CellId(kernel), SERIES, APPLY)

    @classmethod
    def of_build(cls, kernel: str, config: str, arch: str) -> CaseId:
        """The case that says whether a build came out."""
        return cls(CellId(kernel, config, arch), BUILD, BUILD)

    @classmethod
    def of_key(cls, kernel: str, key: str) -> CaseId:
        """The case that :attr:`key` means on a kernel."""
        return cls.parse(f"{kernel}/{key}")

    def __str__(self) -> str:
        return f"{self.cell}:{self.workload}:{self.case}"

    @property
    def key(self) -> str:
        """The id without its kernel: what the same case of another kernel has too."""
        return str(self).removeprefix(f"{self.cell.kernel}/")


# ---------------------------------------------------------------- patterns and spellings


def is_named(workload: str, pattern: str) -> bool:
    """Whether ``pattern`` selects the workload: by its name or by any leading part of it.

    FAMILY/NAME has one, the family; FAMILY/COLLECTION/PROGRAM has two.
    """
    parts = workload.split("/")
    return any(fnmatchcase("/".join(parts[:n]), pattern) for n in range(len(parts), 0, -1))


def nearest(word: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """The spelling in ``known`` that ``word`` probably meant, or None.

    :param cutoff: how alike they must be, from 0 to 1.
    """
    return next(iter(alike(word, known, cutoff)), None)


def alike(word: str, known: Collection[str], cutoff: float = 0.6, most: int = 1) -> tuple[str, ...]:
    """The spellings in ``known`` that are most like ``word``, the nearest first.

    :param cutoff: how alike they must be, from 0 to 1.
    """
    # Imported here: only who misspelt a name pays for it.
    from difflib import get_close_matches

    by_folded = {name.casefold(): name for name in sorted(known)}
    folded = word.casefold()[:200]
    close = get_close_matches(folded, list(by_folded), n=most, cutoff=cutoff)
    return tuple(by_folded[name] for name in close)
