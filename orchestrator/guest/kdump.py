# SPDX-License-Identifier: GPL-2.0-only
"""The file format of a kdump: what QEMU writes is made one that any reader takes.

QEMU writes makedumpfile's *flattened* format, meant for pipes: records of (offset, size, data) in
any order.  And it leaves out VMCOREINFO, the kernel's note of its own layout, unless the guest has
handed it over through a device (``-device vmcoreinfo``) and a driver (CONFIG_FW_CFG_SYSFS); without
it neither drgn nor crash can translate an address of every kernel.  The formats: makedumpfile's
IMPLEMENTATION document; include/sysemu/dump.h of QEMU 7.2.
"""

from __future__ import annotations

import struct
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


def finish(source: Path, target: Path, vmcoreinfo: bytes, limit: int) -> int:
    """Write ``source`` (flattened) as a plain kdump file with VMCOREINFO; gives its size.

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
            _add_vmcoreinfo(plain, struct.unpack_from("<I", header, _BLOCK_SIZE_AT)[0], vmcoreinfo)
        return plain.seek(0, 2)


def _add_vmcoreinfo(file: BinaryIO, block: int, text: bytes) -> None:
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
    for word in (b"Linux", b"(none)", release or b"unknown", b"unknown"):
        file.write(word.ljust(_UTSNAME_FIELD, b"\0"))
    file.seek(at)
    file.write(_POINTERS.pack(end + len(notes) + len(head), len(text), end, size))
