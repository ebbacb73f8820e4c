# SPDX-License-Identifier: GPL-2.0-only
"""Compressed files read as what they hold; what is wrong with one told in a sentence."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.host.compressed import decompressed, open_compressed
from orchestrator.model.errors import EXIT_USAGE, UserError

TEXT = b"".join(b"[%5d.000000] line %d\n" % (n, n * n) for n in range(12_000))
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": lambda data: bz2.compress(data, 1),
}


def read(path: Path) -> bytes:
    with open_compressed(path) as file:
        return file.read()


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("data", [b"", b"a", b"BZh9 is no log\n", TEXT], ids=len)
def test_each_kind_is_told_by_its_first_bytes(kind: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(PACKED[kind](data))
    assert read(path) == data
    with open_compressed(path) as file:
        assert b"".join(file) == data


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_packed_pieces_in_a_row_are_one_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[kind](b"one\n") + PACKED[kind](b"two\n"))
    assert read(path) == b"one\ntwo\n"


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_of_a_file_cut_short_all_is_given_that_can_be_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    packed = PACKED[kind](TEXT)
    path.write_bytes(packed[: len(packed) * 3 // 4])
    lines: list[bytes] = []
    with pytest.raises(UserError) as caught, open_compressed(path) as file:
        lines += file
    got = b"".join(lines)
    assert TEXT.startswith(got)
    assert len(got) > len(TEXT) // 2
    assert caught.value.message == f"{path} ends in the middle of its {kind} data"
    assert caught.value.hint
    assert caught.value.exit_status == EXIT_USAGE


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_a_damaged_file_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    packed = bytearray(PACKED[kind](TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = os.urandom(40)
    path.write_bytes(packed)
    with pytest.raises(UserError, match="log is damaged: ") as caught, open_compressed(path) as f:
        for _ in f:
            pass
    assert f"({kind})" in caught.value.message


def test_another_error_of_the_block_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(TEXT)[:-100])
    with pytest.raises(ZeroDivisionError), open_compressed(path) as file:
        len(file.read()) // 0


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="/none: no such file") as missing:
        read(tmp_path / "none")
    with pytest.raises(UserError, match="is a directory") as folder:
        read(tmp_path)
    assert missing.value.message.startswith(f"cannot read {tmp_path}")
    assert missing.value.hint
    assert folder.value.hint == "name a file in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "log").touch(mode=0)
    with pytest.raises(UserError, match="permission denied"):
        read(tmp_path / "log")


def test_an_error_of_the_disk_is_told_at_the_end() -> None:
    class Bad(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with (
        pytest.raises(UserError, match="cannot read x: input/output error"),
        decompressed(Bad(TEXT), "x") as file,
    ):
        assert file.read() == TEXT[:10]


def test_zstd_takes_a_python_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x28\xb5\x2f\xfdabc")
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(UserError, match="log is a zstd file") as caught:
        read(path)
    assert "zstd -dc" in caught.value.hint
    library = ModuleType("compression.zstd")
    library.ZstdFile = lambda source: source  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compression", ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", library)
    assert read(path) == b"\x28\xb5\x2f\xfdabc"


def test_a_pipe_is_read_as_it_fills() -> None:
    back, front = os.pipe()
    seen: list[float] = []

    def work() -> None:
        with os.fdopen(back, "rb") as file, decompressed(file, "pipe") as stream:
            seen.extend(time.monotonic() for _ in stream)

    thread = threading.Thread(target=work)
    thread.start()
    for text in (b"the ", b"first line\n", b"the second line\n"):
        os.write(front, text)
        time.sleep(0.1)
    until = time.monotonic() + 10
    while len(seen) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    closed = time.monotonic()
    os.close(front)
    thread.join(10)
    assert len(seen) == 2
    assert seen[1] < closed


def test_memory_is_bounded_whatever_it_unpacks_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(bytes(20_000_000), 1))
    tracemalloc.start()
    with open_compressed(path) as file:
        while file.read(1 << 20):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
