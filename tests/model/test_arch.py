# SPDX-License-Identifier: GPL-2.0-only
"""The table of architectures: each row is whole, has its fragment and is documented."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.guest import accel
from orchestrator.model.arch import ARCHES, Arch

rows = pytest.mark.parametrize("arch", ARCHES.values(), ids=list(ARCHES))


@rows
def test_row_is_whole(arch: Arch) -> None:
    assert ARCHES[arch.name] is arch
    for field in ("kernel_arch", "image_target", "debian", "qemu", "machine", "cpu_tcg"):
        assert getattr(arch, field), field
    assert arch.image.startswith("arch/")
    assert Path(arch.image).name == arch.image_target
    assert arch.gcc.endswith("gcc")
    assert arch.virtio in ("pci", "device")
    assert arch.kvm_hosts
    # The accelerator's probe needs a program for each.
    assert arch.name in accel._PROBES


def test_the_table_explains_what_it_has() -> None:
    told = set(re.findall(r"``(\w+)``", Arch.__doc__ or ""))
    assert told | {"name"} == {field.name for field in fields(Arch)}


@rows
def test_its_folder_in_the_sources(arch: Arch) -> None:
    assert arch.image.startswith(f"arch/{arch.srcarch}/boot/")


@rows
def test_numa_arguments_take_the_number_of_nodes(arch: Arch) -> None:
    for word in arch.numa_boot_args:
        assert "{" not in word.format(nodes=2)


@rows
def test_has_its_fragment(arch: Arch) -> None:
    fragment = HOME / "kernel-configs" / f"{arch.name}.config"
    assert fragment.read_text().startswith("# ")


@rows
def test_is_documented(arch: Arch) -> None:
    pages = [HOME / "README.md", *(HOME / "docs").glob("*.md")]
    word = re.compile(rf"\b{re.escape(arch.name)}\b")
    assert any(word.search(page.read_text()) for page in pages)


def test_nothing_else_compares_an_architectures_name() -> None:
    names = "|".join(ARCHES)
    comparison = re.compile(rf"(==|!=|\bin) *\(?[\"']({names})[\"']")
    for path in (HOME / "orchestrator").rglob("*.py"):
        if path.name != "arch.py":
            assert not comparison.search(path.read_text()), path
