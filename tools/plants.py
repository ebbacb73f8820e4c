# SPDX-License-Identifier: GPL-2.0-only
"""The defects that tests/plants/ puts into 6.12, and which cases are to find each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "plants"
ABI_V2 = "abi-v2"
BOTH = ("x86_64", "arm64")


@dataclass(frozen=True)
class Plant:
    """One patch: what it is like, what is to find it, on which kernel it stands.

    ``cases`` are globs of WORKLOAD:CASE, of deterministic workloads; ``races`` are globs of
    workloads.  ``on`` is another patch that goes below.  A ``control`` has no defect.
    """

    name: str
    like: str
    cases: tuple[str, ...] = ()
    races: tuple[str, ...] = ()
    on: str = ""
    config: str = "default"
    arches: tuple[str, ...] = BOTH
    control: bool = False

    def patches(self) -> list[Path]:
        """Its patches, the lowest first."""
        return [FOLDER / f"{name}.patch" for name in (self.on, self.name) if name]

    def put(self, folder: Path) -> Path:
        """Write its series to ``folder``."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, patch in enumerate(self.patches(), 1):
            shutil.copyfile(patch, folder / f"{number:04}-{patch.name}")
        return folder


def _v2(name: str, like: str, *cases: str) -> Plant:
    return Plant(name, like, cases, on=ABI_V2)


X86 = ("x86_64",)
SWAP = ("uffd-move/*swap*:*", "ledger/move-swap:*")
PLANTS = (
    # Accounting.
    Plant("swap-entry-counted-as-page", "R1 within one mm", SWAP),
    Plant("page-table-counted-twice", "R11 within one mm",
          ("uffd-move/thp*:*", "ledger/move-huge:*")),
    Plant("deposit-left-behind", "R11 within one mm", ("uffd-move/thp*:*", "ledger/move-huge:*")),
    Plant("anon-mapped-drifts", "accounting", ("ledger/*:*", "uffd-move/*:*")),
    Plant("one-page-in-1000-leaked", "leak", ("ledger/*leak*:*", "ledger/*:*", "compactor/*:*")),
    Plant("error-keeps-reference", "leak on an error path",
          ("ledger/*leak*:*", "uffd-move/*pin*:*")),
    # Whose page is it.
    Plant("exclusive-by-mapcount", "R2", ("uffd-move/*vmsplice*:*", "uffd-move/*exclusive*:*")),
    Plant("shared-page-moved", "R9", ("uffd-move/errno:shared-with-child", "uffd-move/*:*ksm*")),
    Plant("shared-huge-page-moved", "R9, THP", ("uffd-move/*:*fork*", "uffd-move/*:*shared*")),
    Plant("shared-swap-entry-moved", "R9, swap", ("uffd-move/*:*fork*", "uffd-move/*:*shared*")),
    Plant("pinned-page-moved", "a long-term pin", ("uffd-move/*pin*:*",)),
    Plant("copied-when-shared", "R10", ("uffd-move/errno:shared-with-child",)),
    Plant("busy-is-tried-forever", "R9", ("uffd-move/errno:*",)),
    # Retries and races.
    Plant("stale-folio-on-retry", "R3", races=("race/*",)),
    Plant("entry-not-compared-again", "R3", races=("race/*",)),
    Plant("bug-on-vanished-table", "R5", races=("race/*",)),
    Plant("efault-when-table-vanishes", "R8", races=("race/*",)),
    Plant("efault-on-migration-entry", "R8", races=("race/*",), config="numa"),
    Plant("huge-migration-entry", "R4; fixed in v6.17", races=("race/*",), config="numa"),
    Plant("swap-cache-not-looked-at", "fixed in v6.14", SWAP),
    Plant("swap-cache-race", "fixed in v6.16", races=("race/*",)),
    Plant("large-folio-livelock", "fixed in v6.14", races=("race/*",)),
    Plant("locks-in-caller-order", "deadlock", races=("race/*",)),
    Plant("signal-ignored", "fatal signal", ("uffd-move/*:*signal*", "uffd-move/*:*kill*"),
          races=("race/*",)),
    Plant("source-not-flushed", "TLB", ("uffd-move/basic:*",), races=("race/*",)),
    # The page at its new place.
    Plant("index-not-updated", "reverse map", ("uffd-move/*:*",)),
    Plant("anon-vma-not-updated", "reverse map", ("uffd-move/*:*",)),
    Plant("huge-index-not-updated", "reverse map, THP", ("uffd-move/thp*:*",)),
    Plant("dirty-bit-lost", "lost write", ("uffd-move/dirty:*",)),
    Plant("soft-dirty-not-set", "R6; mended in v6.16", ("uffd-move/soft-dirty:*",), arches=X86),
    Plant("wp-bit-kept", "R6", ("uffd-move/write-protect:*",)),
    # Refusals.
    Plant("write-into-read-only", "R6", ("uffd-move/errno:read-only", "uffd-move/permission:*")),
    Plant("protections-differ", "R6",
          ("uffd-move/errno:different-protection", "uffd-move/permission:*")),
    Plant("mlock-differs", "EINVAL", ("uffd-move/errno:mlock-mismatch", "uffd-move/mlock:*")),
    Plant("any-userfaultfd", "EINVAL",
          ("uffd-move/errno:other-userfaultfd", "uffd-move/register:*")),
    Plant("bug-on-long-range", "R11", ("uffd-move/errno:*",)),
    Plant("unaligned-warns", "R11", ("uffd-move/errno:*",)),
    Plant("no-feature-bit", "R7", ("uffd-move/probe:*",)),
    Plant("unknown-mode-accepted", "EINVAL", ("uffd-move/errno:unknown-mode",)),
    # Holes, populated destinations, what is reported.
    Plant("destination-overwritten", "EEXIST", ("uffd-move/exist:*",)),
    Plant("marker-overwritten", "EEXIST", ("uffd-move/write-protect:*", "uffd-move/*marker*:*")),
    Plant("huge-destination-retried", "EEXIST, THP", ("uffd-move/thp*:*",)),
    Plant("holes-swallowed", "ENOENT", ("uffd-move/holes:*",)),
    Plant("holes-flag-ignored", "ENOENT", ("uffd-move/holes:*",)),
    Plant("one-page-too-many-reported", "bytes moved",
          ("uffd-move/holes:*", "uffd-move/partial:*")),
    Plant("last-field-not-written", "fixed in v6.15",
          ("uffd-move/*event*:*", "uffd-move/*changing*:*")),
    Plant("changing-mappings-ignored", "EAGAIN",
          ("uffd-move/*event*:*", "uffd-move/*changing*:*")),
    Plant("no-wake", "wake", ("uffd-move/basic:wakes-waiter",)),
    Plant("dontwake-ignored", "DONTWAKE", ("uffd-move/basic:dontwake",)),
    # Huge pages, zero pages.
    Plant("huge-page-moved-for-a-part", "R4", ("uffd-move/thp*:*",)),
    Plant("huge-page-always-split", "THP", ("uffd-move/thp*:*",)),
    Plant("large-folio-not-split", "R4", ("uffd-move/thp*:*",)),
    Plant("zero-page-refused", "R12; fixed in v6.9", ("uffd-move/basic:zero-page",)),
    Plant("zero-page-stays", "R10", ("uffd-move/basic:zero-page",)),
    Plant("huge-zero-page-as-any", "R12; fixed in v6.9", ("uffd-move/*:*zero*",),
          config="debug-vm"),
    # The ABI of 2023: with its own defects, and without.
    _v2("v2-swap-entry-counted-as-page", "R1", "uffd-move/swap:other-process", *SWAP),
    _v2("v2-exclusive-by-mapcount", "R2", "uffd-move/*vmsplice*:*", "uffd-move/*exclusive*:*"),
    _v2("v2-page-table-stays-counted", "R11", "uffd-move/*:*process*"),
    _v2("v2-huge-page-stays-counted", "R11", "uffd-move/*:*process*"),
    _v2("v2-hidden-from-swapoff", "swapoff", "uffd-move/*:*process*", "uffd-move/*:*swapoff*"),
    Plant(ABI_V2, "2023's interface, healthy", control=True),
    Plant("control-comment", "a comment", control=True),
    Plant("control-printk", "an added printk", control=True),
    Plant("control-rename", "a renamed static function", control=True),
)  # fmt: skip
