# SPDX-License-Identifier: GPL-2.0-only
"""What a cell promises, and so which of its skips are honest.  Pure."""

from __future__ import annotations

from orchestrator.model import Cell, WorkloadSpec


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

    It is not where something is exercised and all of it, and all that is needed, was promised.
    Root is always there, and a needed CONFIG_X is nobody's promise unless a config provides it.
    """
    words = {*workload.exercises, *workload.needs} - {"root"}
    return not workload.exercises or not words <= promised(cell)


def promised_to(cell: Cell, workload: WorkloadSpec) -> frozenset[str]:
    """What a skip of ``workload`` in ``cell`` is held against; nothing where it may skip."""
    return frozenset() if may_skip(cell, workload) else promised(cell)
