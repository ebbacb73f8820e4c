# SPDX-License-Identifier: GPL-2.0-only
"""Counts of what ran, of a program that this host's gcc compiled."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from orchestrator.evidence import gcov
from orchestrator.model.coverage import Function, Lines

PROGRAM = """#include "inner.h"
int never(int n)
{
	return n * 2;
}
int main(int count, char **words)
{
	if (count > 5)
		return never(count);
	return inner(count) - 2;
}
volatile int seen;
"""
INNER = """extern volatile int seen;
static inline int inner(int n)
{
	seen = n;
	return n + 1;
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A program that was compiled and ran."""
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/x.c").write_text(PROGRAM)
    (tmp_path / "mm/inner.h").write_text(INNER)
    words = ["gcc", "-O2", "-fprofile-arcs", "-ftest-coverage", "-c", "mm/x.c", "-o", "mm/x.o"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
    words = ["gcc", "--coverage", "mm/x.o", "-o", "x"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
    subprocess.run([str(tmp_path / "x")], cwd=tmp_path, check=True, timeout=60)
    return tmp_path


def test_lines_and_functions(folder: Path) -> None:
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", "mm/x.gcda"],
        cwd=folder, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    ((name, code, ran),) = gcov.told(done.stdout)
    assert name == "mm/x.gcda"
    assert Function("main", 6, 11) in code["mm/x.c"].functions
    assert Function("never", 2, 5) in code["mm/x.c"].functions
    assert code["mm/x.c"].lines >= Lines((4, 8, 9, 10))
    assert ran["mm/x.c"] >= Lines((8, 10))
    assert not ran["mm/x.c"] & Lines((4, 9))
    # Inlined before anything is counted: its lines count all the same.
    assert Lines((4,)) <= ran["mm/inner.h"]
    assert list(gcov.told(done.stdout * 2))[1][0] == "mm/x.gcda"


def test_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match="gcov printed something else"):
        list(gcov.told('{"files": []}'))
    with pytest.raises(ValueError, match="Expecting value"):
        list(gcov.told("nothing"))
    assert list(gcov.told("")) == []


def test_counts_that_are_all_0_tell_nothing(folder: Path) -> None:
    data = (folder / "mm/x.gcda").read_bytes()
    assert gcov.ran_at_all(data)
    assert not gcov.ran_at_all(with_counts_of_0(data))


def with_counts_of_0(data: bytes) -> bytes:
    """As a kernel writes them: a program's runtime leaves such records out."""
    found, at = bytearray(data[:16]), 16
    while at + 8 <= len(data):
        tag, length = struct.unpack_from("<Ii", data, at)
        if tag == 0x01A10000:
            length = abs(length)
            found += struct.pack("<II", tag, length) + bytes(length)
            at += 8 + (length if struct.unpack_from("<i", data, at + 4)[0] > 0 else 0)
        elif tag == 0x01000000:
            found += data[at : at + 8 + length]
            at += 8 + length
        else:  # the program's summary, which a kernel does not write
            at += 8 + max(0, length)
    return bytes(found)


def test_what_cannot_be_read_is_left_to_gcov() -> None:
    assert gcov.ran_at_all(b"")
    assert gcov.ran_at_all(struct.pack("<IIII", 0x67636461, 0x42323252, 1, 0) + b"cut")


@pytest.mark.parametrize(
    ("version", "major"), [(b"B22*", 12), (b"A93*", 9), (b"408*", 4), (b"B42*", 14)]
)
def test_the_version_of_gcc(version: bytes, major: int) -> None:
    assert gcov._major(version) == major


def test_the_folder_of_a_build_is_what_most_notes_agree_on() -> None:
    notes = ["mm/init.gcno", "mm/mmap.gcno", "fs/exec.gcno"]
    root = "/root/obj/k-coverage-x86_64/"
    names = [f"{root}{name}" for name in ("mm/mmap.gcda", "arch/x86/mm/init.gcda", "fs/exec.gcda")]
    assert gcov.folder_of(names, notes) == root
    assert gcov.folder_of([], notes) == ""
