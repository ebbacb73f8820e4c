# SPDX-License-Identifier: GPL-2.0-only
"""Counts of what ran, as gcc's programs leave and tell them.

Facts: gcov(1) of gcc 12, "--json-format"; gcc/gcov-io.h of gcc 12 for the records of a .gcda file;
kernel/gcov/gcc_4_7.c, convert_to_gcda(), v6.12 for those that a kernel writes.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from orchestrator.model.coverage import FileCode, Function, Lines

#: Ends of the names of what is written at a program's run, and at its compile.
DATA, NOTES = ".gcda", ".gcno"
_MAGIC = 0x67636461  # "gcda"
_ARCS = 0x01A10000  # GCOV_TAG_FOR_COUNTER(GCOV_COUNTER_ARCS)
_BYTES_SINCE = 12  # since gcc 12 a record's length is in bytes, before in words


def ran_at_all(data: bytes) -> bool:
    """Whether a .gcda file counts anything: one whose every count is 0 tells nothing.

    True also for what cannot be read: gcov shall say what is wrong with it.
    """
    if len(data) < 12:
        return True
    order = "<" if struct.unpack_from("<I", data)[0] == _MAGIC else ">"
    version = struct.unpack_from(f"{order}I", data, 4)[0].to_bytes(4, "big")
    new = _major(version) >= _BYTES_SINCE
    at = 16 if new else 12  # magic, version, stamp, and since gcc 12 a checksum
    while at + 8 <= len(data):
        tag, length = struct.unpack_from(f"{order}Ii", data, at)
        size = max(0, length if new else 4 * length)  # below 0: all are 0, and left out
        at += 8
        if tag == _ARCS and data.count(0, at, at + size) < size:
            return True
        at += size
    return at != len(data)


def _major(version: bytes) -> int:
    """The major version of gcc in a file's version: ``B22*`` is 12.2, ``408*`` 4.8."""
    first, second = version[0], version[1]
    if first >= ord("A"):
        return 10 * (first - ord("A")) + second - ord("0")
    return first - ord("0")


def told(text: str) -> Iterator[tuple[str, dict[str, FileCode], dict[str, Lines]]]:
    """Read what ``gcov --json-format --stdout`` prints: for each .gcda file its name, the files
    of which it has code, and the lines that ran, by the names that the compiler had.

    A function that is inlined everywhere counts nothing itself, but its lines do.

    :raises ValueError: for anything else.
    """
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found, at = decoder.raw_decode(text, at)
        try:
            yield found["data_file"], *_files(found["files"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"gcov printed something else: {error}") from error


def _files(told_files: list[Any]) -> tuple[dict[str, FileCode], dict[str, Lines]]:
    code, ran = {}, {}
    for file in told_files:
        lines = file["lines"]
        functions = {
            Function(one["name"], one["start_line"], one["end_line"]) for one in file["functions"]
        }
        code[file["file"]] = FileCode(
            Lines(line["line_number"] for line in lines),
            tuple(sorted(functions, key=lambda one: (one.first, one.name))),
        )
        ran[file["file"]] = Lines(line["line_number"] for line in lines if line["count"])
    return code, ran


def folder_of(names: Collection[str], notes: Collection[str]) -> str:
    """The folder below which the .gcda files of a build are, as most of its notes have it.

    The kernel names them by the folder that it was built in.

    :param names: of the .gcda files, and :param notes: of the build's notes, relative to it.
    """
    ends = {name.removesuffix(DATA): name for name in names}
    votes = Counter(
        name.removesuffix(note.removesuffix(NOTES) + DATA)
        for note in notes
        for stem, name in ends.items()
        if stem.endswith("/" + note.removesuffix(NOTES))
    )
    return max(votes, key=lambda folder: (votes[folder], len(folder)), default="")
