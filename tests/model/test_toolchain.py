# SPDX-License-Identifier: GPL-2.0-only
"""What make is told of the tools, and which programs and packages those are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.model.arch import ARCHES
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN, Toolchain

HERE = replace(ARCHES["x86_64"], cross="")
FRAMES = "KCFLAGS=-fforce-dwarf-frame"
CROSS = replace(ARCHES["arm64"], cross="aarch64-linux-gnu-")


@pytest.mark.parametrize(
    ("text", "arch", "words", "programs", "packages"),
    [
        ("gcc", HERE, ["CC=ccache gcc"], [], []),
        ("gcc", CROSS, ["CROSS_COMPILE=aarch64-linux-gnu-", "CC=ccache aarch64-linux-gnu-gcc"],
         [], []),
        ("gcc-11", HERE, ["CC=ccache gcc-11"], ["gcc-11"], ["gcc-11"]),
        ("gcc-11", CROSS,
         ["CROSS_COMPILE=aarch64-linux-gnu-", "CC=ccache aarch64-linux-gnu-gcc-11"],
         ["aarch64-linux-gnu-gcc-11"], ["gcc-11-aarch64-linux-gnu"]),
        ("clang", HERE, ["LLVM=1", FRAMES, "CC=ccache clang"], ["clang", "ld.lld", "llvm-ar"],
         ["clang", "lld", "llvm"]),
        ("clang-16", CROSS, ["LLVM=-16", FRAMES, "CC=ccache clang-16"],
         ["clang-16", "ld.lld-16", "llvm-ar-16"], ["clang-16", "lld-16", "llvm-16"]),
    ],
)  # fmt: skip
def test_words_programs_packages(text, arch, words, programs, packages):
    toolchain = Toolchain.parse(text)
    assert str(toolchain) == text
    assert list(toolchain.make_words(arch, ccache=True)) == words
    assert list(toolchain.programs(arch)) == programs
    assert list(toolchain.packages(arch)) == packages


def test_without_ccache_only_a_version_of_gcc_is_named():
    def words(text):
        return Toolchain.parse(text).make_words(CROSS, ccache=False)

    cross = "CROSS_COMPILE=aarch64-linux-gnu-"
    assert words("gcc") == (cross,)
    assert words("gcc-11") == (cross, "CC=aarch64-linux-gnu-gcc-11")
    assert words("clang") == ("LLVM=1", FRAMES)
    assert words("clang-16") == ("LLVM=-16", FRAMES)


@pytest.mark.parametrize(
    "text", ["", "tcc", "gcc-", "gcc-0", "clang-x", "clang-16.0", "GCC", "gcc 12"]
)
def test_what_is_none(text):
    with pytest.raises(ValueError, match="clang-16"):
        Toolchain.parse(text)


def test_folders():
    assert DEFAULT_TOOLCHAIN.folder == ""
    assert Toolchain.parse("gcc-12").folder == "gcc-12"
    assert Toolchain.parse("gcc") == DEFAULT_TOOLCHAIN
