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

_FLAT_MAGIC = b"makedumpfile\0\0\0\0"
_FLAT_HEADER = 4096
_RECORD = struct.Struct(">qq")  # offset in the file, size; -1 for both at the end
_MAGIC = b"KDUMP   "
#: In the disk dump header (after signature, version and the six fields of struct utsname).
_BLOCK_SIZE_AT = 428
#: In the sub header, which is the second block: offset and size of VMCOREINFO.
_VMCOREINFO_AT = 32
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
        block = struct.unpack_from("<I", header, _BLOCK_SIZE_AT)[0]
        at = plain.seek(block + _VMCOREINFO_AT)
        if vmcoreinfo and plain.read(16) == bytes(16):
            end = plain.seek(0, 2)
            plain.write(vmcoreinfo)
            plain.seek(at)
            plain.write(struct.pack("<QQ", end, len(vmcoreinfo)))
        return plain.seek(0, 2)
