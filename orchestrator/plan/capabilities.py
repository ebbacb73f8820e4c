# SPDX-License-Identifier: GPL-2.0-only
"""What a cell promises, and so which of its skips are honest.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.spec import Cell, KernelSpec, WorkloadSpec

#: What is told of a source that lab.yaml does not know.
UNPROMISED = (
    "lab.yaml has no kernel of this source, so nothing is promised of it: a feature that it lacks"
    " is skipped and does not fail (name the source there with `provides:`, or give --baseline)"
)


def unpromised(kernel: KernelSpec) -> tuple[str, ...]:
    """The note that a kernel from the command line bears whose source promises nothing."""
    return (UNPROMISED,) if kernel.where == "command line" and not kernel.provides else ()


def promised(cell: Cell) -> frozenset[str]:
    """The capabilities that nothing in ``cell`` may lack.

    What kernel and config provide, without what the config takes away (``lacks``), without swap
    where the guest has no swap device, without NUMA where it has one node, and without THP where
    the boot arguments switch it off.
    """
    config, shape = cell.build.config, cell.shape
    words = {*cell.build.kernel.provides, *config.provides} - set(config.lacks)
    if not shape.swap_disk_mib and not shape.zram_mib:
        words.discard("swap")
    if shape.nodes < 2:
        words.discard("numa")
    # The last one counts: parse_early_param() and __setup() handlers run in command line order.
    modes = [arg for arg in shape.boot_args if arg.startswith("transparent_hugepage=")]
    if modes and modes[-1] == "transparent_hugepage=never":
        words.discard("thp")
    return frozenset(words)


def may_skip(cell: Cell, workload: WorkloadSpec) -> bool:
    """Whether a skip of ``workload`` in ``cell`` is honest.

    It is not where all that it exercises and needs, if anything, was promised.  Root is always
    there, and a needed CONFIG_X is nobody's promise unless a config provides it.
    """
    words = {*workload.exercises, *workload.needs} - {"root"}
    return not words or not words <= promised(cell)


def broken(cell: Cell, missing: Iterable[str]) -> tuple[str, ...]:
    """Which of the needs that a guest of ``cell`` does not meet were promised to be met."""
    words = promised(cell)
    return tuple(need for need in missing if need in words)


def promised_to(cell: Cell, workload: WorkloadSpec) -> frozenset[str]:
    """What a skip inside a ``workload`` that runs in ``cell`` is held against; it may be nothing.

    It runs, so the kernel has every CONFIG_X it needs.  A word it needs can still fail it there
    (THP is on, and no huge page to be had), which nobody promised unless kernel or config did.
    """
    words = promised(cell)
    needed = {*workload.exercises, *workload.needs} - {"root"}
    needed = {word for word in needed if not word.startswith("CONFIG_")}
    return words if workload.exercises and needed <= words else frozenset()
