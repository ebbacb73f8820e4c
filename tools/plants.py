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
    workloads that are not.  ``on`` is another patch that goes below.  A ``control`` has no defect,
    and its ``cases`` are what it is tried with where the whole suite is left out.
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
MOVE = "uffd-move"
SWAP = (f"{MOVE}/swap:*", f"{MOVE}/swap-kinds:*", "ledger/move-swap:*")
THP = (f"{MOVE}/thp:*", f"{MOVE}/thp-parts:*")
ZAP = ("race/zap", "race/fill", "race/mover")
THP_RACES = ("race/thp-zap", "race/thp", "race/khugepaged")
PLANTS = (
    # Accounting.
    Plant("swap-entry-counted-as-page", "R1 within one mm", SWAP),
    Plant("page-table-counted-twice", "R11 within one mm", ("ledger/move-huge:*", *THP)),
    Plant("deposit-left-behind", "R11 within one mm", ("ledger/move-huge:*", *THP)),
    Plant("anon-mapped-drifts", "accounting", ("ledger/leak:*", "ledger/move:*")),
    Plant("one-page-in-1000-leaked", "leak", ("ledger/leak:*",)),
    Plant("error-keeps-reference", "leak on an error path", (f"{MOVE}/pinned:*", "ledger/leak:*")),
    Plant("refused-page-leaked", "leak on an error path", ("ledger/leak:*",)),
    # Whose page is it.
    Plant("exclusive-by-mapcount", "R2",
          (f"{MOVE}/fork:pipe-reads-no-secret", f"{MOVE}/fork:*", f"{MOVE}/vmsplice:*")),
    Plant("shared-page-moved", "R9", (f"{MOVE}/errno:*", f"{MOVE}/fork:*", f"{MOVE}/ksm:*")),
    Plant("shared-huge-page-moved", "R9, THP", (f"{MOVE}/fork-huge:*",)),
    Plant("shared-swap-entry-moved", "R9, swap", (f"{MOVE}/swap-kinds:*", f"{MOVE}/fork:*")),
    Plant("pinned-page-moved", "a long-term pin", (f"{MOVE}/pinned:*", f"{MOVE}/pinned-gup:*")),
    Plant("copied-when-shared", "R10", (f"{MOVE}/errno:*", f"{MOVE}/fork:*")),
    Plant("busy-is-tried-forever", "R9", (f"{MOVE}/errno:*",)),
    # Retries and races.
    Plant("stale-folio-on-retry", "R3", races=ZAP),
    Plant("entry-not-compared-again", "R3", races=ZAP),
    Plant("bug-on-vanished-table", "R5", races=THP_RACES),
    Plant("efault-when-table-vanishes", "R8", races=THP_RACES),
    Plant("efault-on-migration-entry", "R8", races=("race/numa", "race/compact")),
    Plant("huge-migration-entry", "R4; fixed in v6.17", races=("race/numa",), config="numa"),
    Plant("swap-cache-not-looked-at", "fixed in v6.14", SWAP, races=("race/swap",)),
    Plant("swap-cache-race", "fixed in v6.16", races=("race/swap",)),
    Plant("large-folio-livelock", "fixed in v6.14", races=("race/thp",)),
    Plant("locks-in-caller-order", "deadlock", races=("race/mover", "race/thp")),
    Plant("signal-ignored", "fatal signal", (f"{MOVE}/killed:*",), races=("race/signal",)),
    Plant("source-not-flushed", "TLB", (f"{MOVE}/atomic:*", f"{MOVE}/basic:*"), ZAP),
    # The page at its new place.
    Plant("index-not-updated", "reverse map", (f"{MOVE}/dirty:*", f"{MOVE}/swap:*")),
    Plant("anon-vma-not-updated", "reverse map", (f"{MOVE}/dirty:*", f"{MOVE}/swap:*")),
    Plant("huge-index-not-updated", "reverse map, THP", THP, races=("race/thp-swap", "race/thp")),
    Plant("dirty-bit-lost", "lost write", (f"{MOVE}/dirty:*",)),
    Plant("soft-dirty-not-set", "R6; mended in v6.16", (f"{MOVE}/soft-dirty:*",), arches=X86),
    Plant("wp-bit-kept", "R6", (f"{MOVE}/write-protect:*",)),
    # Who has page tables of its own.
    Plant("device-not-told", "MMU notifiers", (f"{MOVE}/mirror:*",), config="selftests"),
    Plant("device-not-told-huge", "MMU notifiers, THP", (f"{MOVE}/mirror-huge:*",),
          config="selftests"),
    # Refusals.
    Plant("write-into-read-only", "R6", (f"{MOVE}/errno:read-only", f"{MOVE}/permission:*")),
    Plant("protections-differ", "R6",
          (f"{MOVE}/errno:different-protection", f"{MOVE}/permission:*")),
    Plant("mlock-differs", "EINVAL", (f"{MOVE}/errno:mlock-mismatch", f"{MOVE}/mlock:*")),
    Plant("any-userfaultfd", "EINVAL",
          (f"{MOVE}/errno:other-userfaultfd", f"{MOVE}/register:*")),
    Plant("bug-on-long-range", "R11", (f"{MOVE}/errno:*",)),
    Plant("unaligned-warns", "R11", (f"{MOVE}/errno:*",)),
    Plant("no-feature-bit", "R7", (f"{MOVE}/probe:*",)),
    Plant("unknown-mode-accepted", "EINVAL", (f"{MOVE}/errno:unknown-mode",)),
    # Holes, populated destinations, what is reported.
    Plant("destination-overwritten", "EEXIST", (f"{MOVE}/exist:*",)),
    Plant("marker-overwritten", "EEXIST", (f"{MOVE}/marker:*",)),
    Plant("huge-destination-retried", "EEXIST, THP", (f"{MOVE}/thp:*",)),
    Plant("holes-swallowed", "ENOENT", (f"{MOVE}/holes:*",)),
    Plant("holes-flag-ignored", "ENOENT", (f"{MOVE}/holes:*",)),
    Plant("one-page-too-many-reported", "bytes moved",
          (f"{MOVE}/holes:*", f"{MOVE}/partial:*")),
    Plant("last-field-not-written", "fixed in v6.15", (f"{MOVE}/changing:*",)),
    Plant("changing-mappings-ignored", "EAGAIN", (f"{MOVE}/changing:*",)),
    Plant("no-wake", "wake", (f"{MOVE}/basic:wakes-waiter", f"{MOVE}/handler:*")),
    Plant("dontwake-ignored", "DONTWAKE", (f"{MOVE}/basic:dontwake", f"{MOVE}/handler:*")),
    # Huge pages, zero pages.
    Plant("huge-page-moved-for-a-part", "R4", THP),
    Plant("huge-page-always-split", "THP", THP),
    Plant("large-folio-not-split", "R4", THP),
    Plant("zero-page-refused", "R12; fixed in v6.9", (f"{MOVE}/basic:zero-page", f"{MOVE}/zero:*")),
    Plant("zero-page-stays", "R10", (f"{MOVE}/basic:zero-page", f"{MOVE}/zero:*")),
    Plant("huge-zero-page-as-any", "R12; fixed in v6.9", (f"{MOVE}/zero-huge:*",)),
    # General mm: what the family mm/ is to find.
    Plant("mm-ksm-fork-keeps-counts", "fixed in v6.18", ("mm/ksm:*",)),
    Plant("mm-ksm-unmergeable-drops-flags", "fixed in v6.18", ("mm/ksm:*",)),
    Plant("mm-ksm-exec-not-scanned", "mended in v6.19", ("mm/ksm:*",)),
    Plant("mm-ksm-zero-pages-not-forked", "accounting", ("mm/ksm:*",)),
    Plant("mm-mremap-keeps-wp", "fixed in v6.13", ("mm/protect:*",)),
    Plant("mm-mremap-keeps-wp-huge", "fixed in v6.13, THP", ("mm/protect-huge:*",)),
    Plant("mm-mremap-keeps-wp-swap", "fixed in v6.13, swap", ("mm/protect-swap:*",)),
    Plant("mm-zero-page-loses-wp", "fixed in v6.18", ("mm/protect-huge:*",)),
    Plant("mm-zero-page-loses-soft-dirty", "fixed in v6.18", ("mm/softdirty-huge:*",), arches=X86),
    Plant("mm-scan-without-answer", "fixed in v6.17", ("mm/protect-huge:*",)),
    Plant("mm-scan-misses-huge-zero", "fixed in v6.17", ("mm/protect-huge:*",)),
    Plant("mm-scan-empty-not-written", "fixed in 2026", ("mm/protect:*", "mm/protect-huge:*")),
    Plant("mm-dontunmap-splits-late", "mended in 2026", ("mm/mlock:*",)),
    Plant("mm-dontunmap-counts-twice", "mended in 2026", ("mm/mlock:*",)),
    Plant("mm-hugetlb-mremap-loses-place", "fixed in 2026", ("mm/hugetlb:*",)),
    Plant("mm-swap-stays-charged", "mended in v6.16", ("mm/memcg:*",), races=("mm/memcg",)),
    Plant("mm-mlock-droppable", "fixed in 2026", ("mm/lockfork:*",)),
    Plant("mm-fork-inherits-lock", "mlock", ("mm/lockfork:*",)),
    Plant("mm-unmapped-stays-mlocked", "mlock", ("mm/mlock:*", "mm/lockfork:*")),
    Plant("mm-hole-takes-copies", "lost write", ("mm/rss:*",)),
    Plant("mm-copy-stays-counted", "accounting", ("mm/rss:*",)),
    Plant("mm-fork-counts-shmem-as-file", "accounting", ("mm/rss:*",)),
    Plant("mm-swapped-hole-keeps-blocks", "accounting", ("mm/rss:*",)),
    Plant("mm-refused-fault-costs-mount", "mended in 2026", ("mm/hugefile:*",)),
    Plant("mm-refused-mmap-costs-mount", "mended in v6.15", ("mm/hugefile:*",)),
    Plant("mm-truncate-keeps-reservation", "reservations", ("mm/hugefile:*",)),
    Plant("mm-control-comment", "a comment", ("mm/*:*",), control=True),
    Plant("mm-control-order", "two assignments in another order", ("mm/*:*",), control=True),
    # The ABI of 2023: with its own defects, and without.
    _v2("v2-swap-entry-counted-as-page", "R1",
        f"{MOVE}/swap:other-process", f"{MOVE}/cross-swap:*"),
    _v2("v2-exclusive-by-mapcount", "R2", f"{MOVE}/fork:pipe-reads-no-secret", f"{MOVE}/fork:*"),
    _v2("v2-page-table-stays-counted", "R11", f"{MOVE}/cross-huge:*"),
    _v2("v2-huge-page-stays-counted", "R11", f"{MOVE}/cross-huge:*"),
    _v2("v2-hidden-from-swapoff", "swapoff", f"{MOVE}/swapoff:*"),
    Plant(ABI_V2, "2023's interface, healthy", control=True),
    Plant("control-comment", "a comment", control=True),
    Plant("control-printk", "an added printk", control=True),
    Plant("control-rename", "a renamed static function", control=True),
)  # fmt: skip
