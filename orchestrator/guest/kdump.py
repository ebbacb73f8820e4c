# SPDX-License-Identifier: GPL-2.0-only
"""The file format of a kdump: what QEMU writes is made one that any reader takes.

QEMU writes makedumpfile's *flattened* format, meant for pipes: records of (offset, size, data) in
any order.  And it leaves out VMCOREINFO, the kernel's note of its own layout, unless the guest has
handed it over through a device (``-device vmcoreinfo``) and a driver (CONFIG_FW_CFG_SYSFS); without
it neither drgn nor crash can translate an address of every kernel.  The formats: makedumpfile's
IMPLEMENTATION document; include/sysemu/dump.h of QEMU 7.2.

A kdump is what is kept, for its size.  drgn is given an ELF core made of it: there it walks the
page tables itself, while it leaves those of a kdump to libkdumpfile, which does not know arm64's
52-bit addresses.  By hand: ``python -m orchestrator.guest.kdump VMCORE ELF VMLINUX``.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FLAT_MAGIC = b"makedumpfile\0\0\0\0"
_FLAT_HEADER = 4096
_RECORD = struct.Struct(">qq")  # offset in the file, size; -1 for both at the end
_MAGIC = b"KDUMP   "
#: struct utsname in the disk dump header; QEMU fills in the machine only.
_UTSNAME_AT, _UTSNAME_FIELD = 12, 65
#: In the disk dump header (after signature, version and the six fields of struct utsname).
_BLOCK_SIZE_AT = 428
#: In the sub header, which is the second block: offset and size of VMCOREINFO, offset and size of
#: the ELF notes (QEMU's hold the registers of each CPU).
_VMCOREINFO_AT = 32
_POINTERS = struct.Struct("<QQQQ")
_NOTE_NAME = b"VMCOREINFO\0"
_MAX_NOTES = 1 << 20
_PIECE = 1 << 20


class NotKdump(ValueError):
    """A file that is no kdump, or only the beginning of one."""


def finish(source: Path, target: Path, vmcoreinfo: bytes, machine: str, limit: int) -> int:
    """Write ``source`` (flattened) as a plain kdump file with VMCOREINFO; gives its size.

    :param machine: what uname(2) calls it in the guest; QEMU leaves it out for arm64.
    :param limit: bytes the plain file may have; a record beyond it is an error.
    :raises NotKdump: when ``source`` is none, or is cut off.
    :raises OSError: when the disk is full.
    """
    with source.open("rb") as flat, target.open("w+b") as plain:
        if not flat.read(_FLAT_HEADER).startswith(_FLAT_MAGIC):
            raise NotKdump(f"{source.name} is no flattened kdump")
        while True:
            head = flat.read(_RECORD.size)
            if len(head) < _RECORD.size:
                raise NotKdump(f"{source.name} is cut off")
            offset, size = _RECORD.unpack(head)
            if offset < 0:
                break
            if size < 0 or offset + size > limit:
                raise NotKdump(f"{source.name} has a record of {size} bytes at {offset}")
            plain.seek(offset)
            while size:
                data = flat.read(min(size, _PIECE))
                if not data:
                    raise NotKdump(f"{source.name} is cut off")
                plain.write(data)
                size -= len(data)
        plain.seek(0)
        header = plain.read(_BLOCK_SIZE_AT + 4)
        if len(header) < _BLOCK_SIZE_AT + 4 or not header.startswith(_MAGIC):
            raise NotKdump(f"{source.name} holds no kdump")
        if vmcoreinfo:
            block = struct.unpack_from("<I", header, _BLOCK_SIZE_AT)[0]
            _add_vmcoreinfo(plain, block, vmcoreinfo, machine.encode())
        return plain.seek(0, 2)


def _add_vmcoreinfo(file: BinaryIO, block: int, text: bytes, machine: bytes) -> None:
    """Append the notes with VMCOREINFO as one of them, and have the sub header point there.

    crash goes by the sub header's pointer to the text, libkdumpfile (drgn) reads the notes; and
    it believes the header's machine only where sysname is Linux, and release and version are given.
    """
    at = file.seek(block + _VMCOREINFO_AT)
    pointers = file.read(_POINTERS.size)
    if len(pointers) < _POINTERS.size:
        raise NotKdump(f"{file.name} is cut off")
    there, _, notes_at, notes_size = _POINTERS.unpack(pointers)
    if there or notes_size > _MAX_NOTES:
        return  # the guest has handed it over
    file.seek(notes_at)
    notes = file.read(notes_size)
    # An ELF note (elf(5)): sizes of name and content, type, both padded to four bytes.
    head = struct.pack("<III", len(_NOTE_NAME), len(text), 0) + _NOTE_NAME.ljust(12, b"\0")
    end = file.seek(0, 2)
    end += file.write(bytes(-end % 4))
    file.write(notes + head + text + bytes(-len(text) % 4))
    size = file.tell() - end
    release = text.partition(b"OSRELEASE=")[2].partition(b"\n")[0][:64]
    file.seek(_UTSNAME_AT)
    for word in (b"Linux", b"(none)", release or b"unknown", b"unknown", machine):
        file.write(word.ljust(_UTSNAME_FIELD, b"\0"))
    file.seek(at)
    file.write(_POINTERS.pack(end + len(notes) + len(head), len(text), end, size))


# ---------------------------------------------------------------- as an ELF core

# ELF64 header and program header (elf(5)), little-endian; ET_CORE is 4, PT_LOAD 1, PT_NOTE 4.
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_IDENT = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
#: A page descriptor: offset of its data in the file, size, flags (bit 0: zlib), page flags.
_DESCRIPTOR = struct.Struct("<QIIQ")
_ZLIB = 1
#: From the block size on: blocks of the sub header, blocks of both bitmaps, page frames.
_GEOMETRY = struct.Struct("<IIII")
_MAX_FRAMES = 1 << 26
_SEGMENTS = 1 << 12


def to_elf(source: Path, target: Path, vmlinux: Path) -> None:
    """Write a kdump as an ELF core with holes where pages are zero.

    :param vmlinux: says which machine it is of.
    :raises NotKdump: when it is none, or none that QEMU made with zlib.
    :raises OSError: when a file cannot be read or written.
    """
    with vmlinux.open("rb") as file:
        head = file.read(20)
    if head[:4] != _IDENT[:4]:
        raise NotKdump(f"{vmlinux.name} is no ELF file")
    machine = struct.unpack_from("<H", head, 18)[0]
    with source.open("rb") as kdump, target.open("wb") as core:
        try:
            _write_elf(kdump, core, machine)
        except (struct.error, zlib.error) as error:
            raise NotKdump(f"{source.name}: {error}") from error


def _seek(kdump: BinaryIO, offset: int) -> None:
    try:
        kdump.seek(offset)
    except (OSError, OverflowError, ValueError) as error:  # no place in any file
        raise NotKdump(f"{kdump.name} points to {offset:#x}") from error


def _write_elf(kdump: BinaryIO, core: BinaryIO, machine: int) -> None:
    header = kdump.read(_BLOCK_SIZE_AT + _GEOMETRY.size)
    if not header.startswith(_MAGIC):
        raise NotKdump(f"{kdump.name} is no kdump")
    block, sub_blocks, bitmap_blocks, frames = _GEOMETRY.unpack_from(header, _BLOCK_SIZE_AT)
    if block < 4096 or block & (block - 1) or frames > _MAX_FRAMES:
        raise NotKdump(f"{kdump.name} has blocks of {block} bytes, {frames} page frames")
    _seek(kdump, block + _VMCOREINFO_AT)
    _, _, notes_at, notes_size = _POINTERS.unpack(kdump.read(_POINTERS.size))
    _seek(kdump, notes_at)
    notes = kdump.read(min(notes_size, _MAX_NOTES))
    # Of the two bitmaps the second one says which pages are in the file.
    half = bitmap_blocks * block // 2
    _seek(kdump, (1 + sub_blocks) * block + half)
    bitmap = int.from_bytes(kdump.read(min(half, frames // 8 + 1)), "little")
    runs = list(_runs(bitmap, frames))
    if len(runs) > _SEGMENTS:
        raise NotKdump(f"{kdump.name} has memory in {len(runs)} pieces")
    _seek(kdump, (1 + sub_blocks + bitmap_blocks) * block)
    pages = sum(count for _, count in runs)
    table = kdump.read(pages * _DESCRIPTOR.size)
    data_at = -(-(_EHDR.size + _PHDR.size * (1 + len(runs)) + len(notes)) // block) * block
    _write_headers(core, machine, notes, runs, block, data_at)
    zeros, empty = bytes(block), {0}  # QEMU keeps one page of zeros for all
    for number, (offset, size, flags, _) in enumerate(_DESCRIPTOR.iter_unpack(table)):
        if offset not in empty and size <= block:
            _seek(kdump, offset)
            data = kdump.read(size)
            if flags & _ZLIB:
                data = zlib.decompressobj().decompress(data, block + 1)
            if data == zeros:
                empty.add(offset)
            elif len(data) == block:
                core.seek(data_at + number * block)
                core.write(data)
    core.truncate(data_at + pages * block)


def _write_headers(
    core: BinaryIO,
    machine: int,
    notes: bytes,
    runs: list[tuple[int, int]],
    block: int,
    data_at: int,
) -> None:
    notes_at = _EHDR.size + _PHDR.size * (1 + len(runs))
    core.write(
        _EHDR.pack(
            _IDENT, 4, machine, 1, 0, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, 1 + len(runs),
            0, 0, 0,
        )
    )  # fmt: skip
    core.write(_PHDR.pack(4, 0, notes_at, 0, 0, len(notes), len(notes), 4))
    at = data_at
    for first, count in runs:
        size = count * block
        core.write(_PHDR.pack(1, 7, at, 0, first * block, size, size, block))
        at += size
    core.write(notes)


def _runs(bitmap: int, frames: int) -> Iterator[tuple[int, int]]:
    """Runs of set bits: first, and how many."""
    bits = bin(bitmap)[:1:-1][:frames]
    at = bits.find("1")
    while at >= 0:
        end = bits.find("0", at)
        end = len(bits) if end < 0 else end
        yield at, end - at
        at = bits.find("1", end)


if __name__ == "__main__":
    to_elf(*map(Path, sys.argv[1:4]))
