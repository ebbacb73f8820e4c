# SPDX-License-Identifier: GPL-2.0-only
"""The little of ELF that tells which code a symbol names, in a linked kernel and in an object.

64 bits and little-endian, which the kernels of all the lab's architectures are.  Facts: elf(5).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QII")  # r_info as (type, symbol)
_RELA_WHOLE = struct.Struct("<QIIq")  # and the addend
_SYMTAB, _RELA_TYPE, _NOBITS = 2, 4, 8
_ALLOC, _EXECINSTR = 2, 4
_NOTYPE, _FUNC = 0, 2
_NOTE = 7
# A note's header, and the one that names a build (elf(5), ld(1) --build-id).
_NOTE_HEADER = struct.Struct("<III")
_BUILD_ID, _GNU = 3, b"GNU\0"
# The kernel's own symbols have up to 512 bytes (KSYM_NAME_LEN, include/linux/kallsyms.h, v6.12).
_LONGEST_NAME = 4096
# init/version-timestamp.c of v6.12: linux_banner.
_BANNER = b"Linux version "
# R_X86_64_64 and R_AARCH64_ABS64; everything else in code is an instruction or a 32-bit field.
_WIDE = (1, 257)


class NotElf(ValueError):
    """A file that is no 64-bit little-endian ELF file, or a damaged one."""


@dataclass(frozen=True)
class Section:
    """A section; ``name`` as addr2line's ``-j`` takes it."""

    name: str
    kind: int
    flags: int
    address: int
    start: int
    size: int
    link: int
    info: int

    @property
    def is_loaded(self) -> bool:
        """Whether a program or kernel has it in memory: it is neither debug information nor a table
        of the file's own.
        """
        return bool(self.flags & _ALLOC)


@dataclass(frozen=True)
class Symbol:
    """A name for code: ``value`` is an address in a linked file, an offset in an object's section.

    ``size`` is 0 for a label within assembly code.
    """

    name: str
    section: int
    value: int
    size: int


class Elf:
    """A mapped ELF file."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        try:
            header = _HEADER.unpack_from(data, 0)
            #: Of which kind of processor, as in ``e_machine``.
            self.machine: int = header[2]
            self.sections = self._read_sections(header[6], header[12], header[13])
        except (struct.error, IndexError, OverflowError) as error:
            raise NotElf(str(error)) from error

    def _read_sections(self, at: int, count: int, names: int) -> tuple[Section, ...]:
        if bytes(self._data[:6]) != b"\x7fELF\x02\x01":
            raise NotElf("not a 64-bit little-endian ELF file")
        raw = [_SECTION.unpack_from(self._data, at + n * _SECTION.size) for n in range(count)]
        strings = raw[names][4]
        return tuple(
            Section(self._text(strings + r[0]), r[1], r[2], r[3], r[4], r[5], r[6], r[7])
            for r in raw
        )

    def _text(self, at: int) -> str:
        # What points out of the file names nothing; a file without zeros has no endless names.
        text, _, _ = bytes(self._data[at : at + _LONGEST_NAME]).partition(b"\0")
        return text.decode(errors="replace")

    @property
    def build_id(self) -> bytes:
        """What the linker named the file by; empty where it did not."""
        notes = (s for s in self.sections if s.kind == _NOTE)
        found = (build_id(bytes(self._data[s.start : s.start + s.size])) for s in notes)
        return next((one for one in found if one), b"")

    @property
    def banner(self) -> str:
        """What a kernel says of itself first in its log; empty where the file is no kernel."""
        at = -1
        while (at := self._data.find(_BANNER, at + 1)) >= 0:
            text = self._text(at)
            if text[len(_BANNER) :][:1].isdigit():
                return text.rstrip("\n")
        return ""

    @property
    def has_lines(self) -> bool:
        """Whether the file has a line table."""
        return any(section.name == ".debug_line" for section in self.sections)

    @cached_property
    def code(self) -> tuple[Symbol, ...]:
        """Every symbol that names code: functions, and the labels of assembly code."""
        table = next((section for section in self.sections if section.kind == _SYMTAB), None)
        if table is None:
            return ()
        executable = {n for n, s in enumerate(self.sections) if s.flags & _EXECINSTR}
        try:
            strings = self.sections[table.link].start
            body = bytes(self._data[table.start : table.start + table.size])
            return tuple(
                Symbol(self._text(strings + name), index, value, size)
                for name, info, _other, index, value, size in _SYMBOL.iter_unpack(body)
                if info & 15 in (_NOTYPE, _FUNC) and index in executable
            )
        except (struct.error, IndexError) as error:
            raise NotElf(str(error)) from error

    def content(self, at: int) -> bytes:
        """What a section holds; of one that is all zeros its size alone."""
        section = self.sections[at]
        if section.kind == _NOBITS:
            return str(section.size).encode()
        return bytes(self._data[section.start : section.start + section.size])

    def relocations_of(self, at: int) -> tuple[tuple[object, ...], ...]:
        """What the linker fills into a section: offset, type, addend, and the symbol's name.

        A symbol without a name is told by its section's, and where in it that is.

        :raises NotElf: when the file is damaged.
        """
        found: list[tuple[object, ...]] = []
        for section in self.sections:
            if section.kind == _RELA_TYPE and section.info == at:
                body = bytes(self._data[section.start : section.start + section.size])
                names = self._symbol_names(section.link)
                try:
                    for offset, kind, number, addend in _RELA_WHOLE.iter_unpack(body):
                        found.append((offset, kind, addend, *names[number]))
                except (struct.error, IndexError) as error:
                    raise NotElf(str(error)) from error
        return tuple(found)

    def _symbol_names(self, table: int) -> list[tuple[object, ...]]:
        section = self.sections[table]
        body = bytes(self._data[section.start : section.start + section.size])
        strings = self.sections[section.link].start
        try:
            return [
                (self._text(strings + name) or self._section_name(index), value)
                for name, _info, _other, index, value, _size in _SYMBOL.iter_unpack(body)
            ]
        except (struct.error, IndexError) as error:
            raise NotElf(str(error)) from error

    def _section_name(self, index: int) -> str:
        return self.sections[index].name if 0 < index < len(self.sections) else ""

    def bytes_of(self, symbol: Symbol) -> bytes:
        """The code that a symbol names, as it lies in the file."""
        section = self.sections[symbol.section]
        if section.kind == _NOBITS:
            return b""
        # A linked file's symbols are addresses, an object's sections all begin at 0.
        at = section.start + symbol.value - section.address
        return bytes(self._data[at : at + symbol.size])

    def patched_later(self, symbol: Symbol) -> frozenset[int]:
        """Which bytes of a symbol's code, from its start, the linker fills in (relocations)."""
        found: set[int] = set()
        for section in self.sections:
            if section.kind != _RELA_TYPE or section.info != symbol.section:
                continue
            body = bytes(self._data[section.start : section.start + section.size])
            for offset, kind, _symbol in _relocations(body):
                at = offset - symbol.value
                if -8 < at < symbol.size:
                    found.update(range(at, at + (8 if kind in _WIDE else 4)))
        return frozenset(found)


def build_id(notes: bytes) -> bytes:
    """The build's name in ELF notes, such as /sys/kernel/notes has; empty where there is none."""
    at = 0
    while at + _NOTE_HEADER.size <= len(notes):
        name_size, size, kind = _NOTE_HEADER.unpack_from(notes, at)
        name = at + _NOTE_HEADER.size
        start = name + (name_size + 3) // 4 * 4
        if kind == _BUILD_ID and notes[name : name + name_size] == _GNU:
            return notes[start : start + size]
        at = start + (size + 3) // 4 * 4
    return b""


def _relocations(body: bytes) -> Iterator[tuple[int, int, int]]:
    for at in range(0, len(body) - 23, 24):  # Elf64_Rela; the addend is of no interest
        yield _RELA.unpack_from(body, at)


@contextmanager
def opened(path: Path) -> Iterator[Elf]:
    """Map an ELF file for the length of a with block.

    :raises NotElf: it is none.
    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file
            raise NotElf(str(error)) from error
        with data:
            yield Elf(data)
