# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig files as people have them: packed, complete, damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.kernel.build import kfile
from orchestrator.model.errors import UserError

HEAD = """#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.12.117 Kernel Configuration
#
"""
TEXT = HEAD + 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="a # b"\nCONFIG_D=0x10\n'


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-cq"], input=data, check=True, capture_output=True).stdout


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress, zstd])
def test_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    if pack is zstd and not shutil.which("zstd"):
        pytest.skip("no zstd")
    path = tmp_path / "config"
    path.write_bytes(pack(TEXT.encode()))
    full = kfile.read_complete(path)
    assert full.text == TEXT
    assert {name: (one.value, one.line) for name, one in full.settings.items()} == {
        "A": ("y", 5), "B": ("n", 6), "C": ('"a # b"', 7), "D": ("0x10", 8),
    }  # fmt: skip
    assert (full.arch, full.version) == ("x86", "6.12.117")
    assert kfile.is_complete(kfile.read_lines(path))


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "config.xz"
    path.write_bytes(lzma.compress(TEXT.encode())[:-20])
    with pytest.raises(UserError, match=r"config\.xz"):
        kfile.read_lines(path)
    if shutil.which("zstd"):
        path.write_bytes(zstd(TEXT.encode())[:-5])
        with pytest.raises(UserError, match="damaged"):
            kfile.read_lines(path)


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "config.xz"
    path.write_bytes(lzma.compress(b"#\n" * kfile.MOST_BYTES))
    with pytest.raises(UserError, match="more than 8 MiB"):
        kfile.read_lines(path)


@pytest.mark.parametrize("line", ["\x00", "# \x7fELF", "CONFIG_A=y\x1b[1m"])
def test_bytes_that_are_no_text(tmp_path: Path, line: str) -> None:
    path = tmp_path / "config"
    path.write_text(f"CONFIG_X=y\n{line}\n")
    with pytest.raises(UserError, match=r"config:2: bytes that are no Kconfig"):
        kfile.read_lines(path)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "CONFIG_X=y\nwhat\n", "CONFIG_X=y\nCONFIG_A=\n"]
)
def test_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config:2: not a Kconfig line|sets a symbol"):
        kfile.read_complete(path)


def test_what_is_complete() -> None:
    many = [f"CONFIG_S{n}=y" if n % 2 else f"# CONFIG_S{n} is not set" for n in range(2000)]
    assert kfile.is_complete(many)
    assert not kfile.is_complete(many[1:])
    assert not kfile.is_complete(["# a comment"] * 3000)
    assert not kfile.is_complete(["CONFIG_A=y"])
    assert kfile.is_complete(["#", "# Automatically generated make config: don't edit", "#"])


def test_line_ends_and_marks(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"\xef\xbb\xbfCONFIG_A=y\r\n\r\nCONFIG_B=m")
    assert kfile.read_lines(path) == ["CONFIG_A=y", "", "CONFIG_B=m"]
