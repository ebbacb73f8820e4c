# SPDX-License-Identifier: GPL-2.0-only
"""The bytes of a file that should hold a series: unpacked, and told apart from what cannot be one.

By its first bytes, since names lie: what a browser saved as ``x.patch`` is a page as often.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO

from orchestrator.host.compressed import decompressed, is_compressed
from orchestrator.model.errors import UserError

FORMS = "give a folder of *.patch files, an mbox, one patch or diff, git:DIR#A..B, or b4:MESSAGE-ID"
#: Bytes of a mailbox, unpacked, that are read; more is no series, and may be a bomb.
LARGEST = 128 << 20

_ELSEWHERE = {
    b"PK\x03\x04": ("is a zip archive", "unpack it, and give the folder"),
    b"7z\xbc\xaf\x27\x1c": ("is a 7z archive", "unpack it, and give the folder"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": (
        "is a file of Outlook", "save the mail as .eml, or take the series from a list archive",
    ),
    b"# v2 git bundle\n": ("is a git bundle", "`git fetch {} REF`, and give git:DIR#A..B"),
    b"# v3 git bundle\n": ("is a git bundle", "`git fetch {} REF`, and give git:DIR#A..B"),
    b"%PDF-": ("is a PDF document", FORMS),
}  # fmt: skip
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def read(path: Path) -> bytes:
    """Read a file, unpacked where gzip, xz, bzip2 or zstd has packed it, UTF-16 as UTF-8.

    :raises UserError: when it cannot be read or unpacked, is too large, or is known to be something
        else.
    """
    try:
        with path.open("rb", buffering=0) as file:
            # A regular file at once, since pieces joined take twice its size.
            size = os.fstat(file.fileno()).st_size
            data = file.read() if 0 < size <= LARGEST else _bounded(file)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", FORMS) from error
    return _unpacked(data, str(path))


def read_stream(stream: IO[bytes], name: str) -> bytes:
    """Read a stream to its end, as :func:`read` does a file.

    :param name: what messages call it.
    :raises UserError: as :func:`read` does.
    """
    try:
        data = _bounded(stream)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror or error}", FORMS) from error
    return _unpacked(data, name)


def _unpacked(data: bytes, name: str) -> bytes:
    if is_compressed(data):
        with decompressed(io.BytesIO(data), name) as packed:
            data = _bounded(packed)
    if len(data) > LARGEST:
        raise UserError(f"{name} is larger than {LARGEST >> 20} MiB: no patch series", FORMS)
    for first, (what, todo) in _ELSEWHERE.items():
        if data.startswith(first):
            raise UserError(f"{name} {what}", todo.format(name))
    if data[257:262] == b"ustar":
        raise UserError(f"{name} is a tar archive", "unpack it, and give the folder")
    if data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        raise UserError(
            f"{name} is a web page, no mail: the patch in it is not as it was sent",
            "save the raw mail, or the thread as t.mbox.gz (on lore.kernel.org: `raw`, `mbox.gz`)",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _utf8(data)
    return data


def _bounded(file: IO[bytes]) -> bytes:
    """Read a file to its end, or to a little more than is allowed."""
    chunks: list[bytes] = []
    size = 0
    while size <= LARGEST and (chunk := file.read(1 << 20)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def why_none(data: bytes) -> str:
    """Say what a file without a diff is instead, as the end of "it holds no diff"; "" if unknown.

    :param data: as read.
    """
    if not data or data.isspace():
        return ": it is empty"
    if b"\0" in data[:8000]:
        return ": it is no text"
    return ""


def _utf8(data: bytes) -> bytes:
    """Turn what PowerShell's ``>`` writes back into what was written into it."""
    try:
        return data.decode("utf-16").encode()
    except ValueError:
        return data
