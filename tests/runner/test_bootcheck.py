# SPDX-License-Identifier: GPL-2.0-only
"""Shapes against what guests told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.guest.facts import Facts
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import ShapeSpec
from orchestrator.runner.bootcheck import deviations

SHAPE = ShapeSpec("s", cpus=2, memory_mib=1024, swap_disk_mib=512)
FACTS = Facts("", frozenset(), 4096, "6.12", ("/dev/vdc",), 1, 2, 1023.6)
CONFIG = dict.fromkeys(("SMP", "NUMA", "NUMA_EMU", "SWAP", "ZRAM", "VIRTIO_BLK"), "y")


def texts(shape: ShapeSpec, found: Facts, config: dict[str, str] = CONFIG) -> list[str]:
    return [item.text for item in deviations(shape, ARCHES["x86_64"], found, config)]


def test_a_guest_as_its_shape_says() -> None:
    assert texts(SHAPE, FACTS) == []
    # Without NUMA there is no node; some of the memory is never the page allocator's.
    assert texts(SHAPE, replace(FACTS, nodes=0, memory_mib=900.0)) == []
    both = replace(FACTS, swaps=("/dev/zram0", "/dev/vdc"))
    assert texts(replace(SHAPE, zram_mib=256), both) == []


@pytest.mark.parametrize(
    ("shape", "found", "text"),
    [
        ({}, {"cpus": 1}, "1 CPUs online instead of 2"),
        ({}, {"memory_mib": 512.0}, "512 MiB of memory instead of 1024"),
        ({}, {"memory_mib": 2048.0}, "2048 MiB of memory instead of 1024"),
        ({"nodes": 2}, {}, "1 NUMA nodes instead of 2"),
        ({}, {"nodes": 2}, "2 NUMA nodes instead of 1"),
        ({}, {"swaps": ()}, "no swap on the swap disk"),
        ({"swap_disk_mib": 0}, {}, "a disk is used for swap"),
        ({"zram_mib": 8}, {}, "no swap on zram"),
        ({}, {"swaps": ("/dev/zram0", "/dev/vdc")}, "zram is used for swap"),
        ({}, {"cpus": 0}, "the guest did not tell its CPUs"),
        ({}, {"memory_mib": 0.0}, "the guest did not tell its memory"),
    ],
)
def test_deviations(shape: dict[str, Any], found: dict[str, Any], text: str) -> None:
    (item,) = deviations(replace(SHAPE, **shape), ARCHES["x86_64"], replace(FACTS, **found), CONFIG)
    assert item.text == text
    assert item.lacks == ""
    assert item.unknown == ("did not tell" in text)


def test_what_the_kernel_lacks_is_told() -> None:
    shape = replace(SHAPE, nodes=2, zram_mib=8)
    config = CONFIG | {"NUMA_EMU": "n", "ZRAM": "n"}
    found = deviations(shape, ARCHES["x86_64"], FACTS, config)
    assert [(item.lacks, item.word) for item in found] == [("NUMA_EMU", "numa"), ("ZRAM", "swap")]
    assert found[0].text == "1 NUMA nodes instead of 2 (the kernel has no CONFIG_NUMA_EMU)"
    (zram,) = deviations(
        replace(SHAPE, zram_mib=8), ARCHES["x86_64"], FACTS, CONFIG | {"ZRAM": "m"}
    )
    assert zram.lacks == "ZRAM"
    assert zram.text == "no swap on zram (the kernel has CONFIG_ZRAM as a module)"
    # arm64 takes its nodes from QEMU.
    found = deviations(shape, ARCHES["arm64"], FACTS, config)
    assert [item.lacks for item in found] == ["", "ZRAM"]


def test_what_boot_arguments_change_is_left_out() -> None:
    words = ("mem=512M", "maxcpus=1", "numa=off")
    shape = replace(SHAPE, nodes=2, boot_args=words)
    assert texts(shape, replace(FACTS, cpus=1, memory_mib=500.0)) == []
