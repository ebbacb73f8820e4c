# SPDX-License-Identifier: GPL-2.0-only
"""Registers, backtraces, symbols and dumps of a guest that stands still; QEMU is a fake."""

from __future__ import annotations

import contextlib
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import HOME
from orchestrator.guest import dump, kdump
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError

DATA = HOME / "tests" / "data" / "dump"
X86, ARM = ARCHES["x86_64"], ARCHES["arm64"]
TEXT = 0xFFFFFFFF81000000
STACK = 0xFFFFC90000200000
SYMBOLS = dump.parse_symbols(
    [
        "0000000000001000 A absolute",
        "0000000000000000 D fixed_percpu_data",
        f"{TEXT:016x} T _stext",
        f"{TEXT + 0x100:016x} T panic",
        f"{TEXT + 0x200:016x} t die",
        f"{TEXT + 0x300:016x} T moves",
        f"{TEXT + 0x1000:016x} T _etext",
        f"{TEXT + 0x2000:016x} D vmcoreinfo_size",
        f"{TEXT + 0x2008:016x} D vmcoreinfo_data",
        "no symbol at all",
    ]
)


class Fake:
    """A monitor over a few pages of memory."""

    def __init__(self, words: dict[int, int] | None = None) -> None:
        self.pages: dict[int, bytearray] = {}
        self.asked: list[str] = []
        self.running = False
        self.dump = ("completed", b"")
        for address, value in (words or {}).items():
            self.put(address, struct.pack("<Q", value))

    def put(self, address: int, data: bytes) -> None:
        page = self.pages.setdefault(address & -4096, bytearray(4096))
        page[address % 4096 : address % 4096 + len(data)] = data

    def ask(self, command: str, **arguments: Any) -> Any:
        self.asked.append(command)
        if command == "query-status":
            return {"running": self.running}
        if command == "memsave":
            address = int(arguments["val"])
            assert -(1 << 63) <= address < 1 << 63  # QAPI's integers
            page = self.pages.get(address & (1 << 64) - 1)
            if page is None:
                raise HostError("Invalid addr")
            Path(str(arguments["filename"])).write_bytes(page)
        if command == "dump-guest-memory":
            assert arguments["detach"] is True
            Path(str(arguments["protocol"]).removeprefix("file:")).write_bytes(self.dump[1])
        return {"status": self.dump[0]}

    def human(self, line: str) -> str:
        assert line == "info registers -a"
        return (DATA / "x86_64-registers.txt").read_text()


def memory(fake: Fake, folder: Path, seconds: float = 10.0) -> dump.Memory:
    return dump.Memory(fake, 0, folder, time.monotonic() + seconds)


def test_registers_of_a_pc() -> None:
    first, second = dump.read_vcpus(Fake())
    assert (first.index, second.index) == (0, 1)
    assert first.registers["RIP"] == 0xFFFFFFFF81447BE0
    assert first.registers["RSP"] == 0xFFFFC9000020BCE8
    assert first.registers["R8"] == 0x1FAF0
    assert second.registers["RBP"] == 0xFFFFC900000D0FD8
    assert "YMM" not in first.text
    assert "CR2=0000000000559c5a" in first.text


def test_registers_of_arm64() -> None:
    first, second = dump.parse_registers((DATA / "arm64-registers.txt").read_text())
    assert first.registers["PC"] == 0xFFFF80008001A748
    assert first.registers["X29"] == first.registers["SP"] == 0xFFFF800080A9BF70
    assert second.registers["SP"] == 0xFFFF800080C73B10
    assert "Q00" not in first.text


@given(st.text())
def test_no_text_is_too_strange_for_registers(text: str) -> None:
    dump.parse_registers("\nCPU#0\n" + text)
    dump.parse_symbols(text.splitlines())


def test_symbols_name_only_text() -> None:
    assert SYMBOLS.name(TEXT + 0x234) == "die+0x34"
    assert SYMBOLS.name(TEXT + 0x2008) == ""  # data
    assert SYMBOLS.name(0x1000) == ""
    assert SYMBOLS.address("moves") == TEXT + 0x300
    assert SYMBOLS.address("absolute") is None


def test_backtrace_through_an_exception(tmp_path: Path) -> None:
    regs = STACK + 0x800
    fake = Fake(
        {
            STACK + 0x100: regs | 1,  # x86's mark of an exception's registers
            STACK + 0x108: TEXT + 0x210,
            regs + 0x20: STACK + 0x900,
            regs + 0x80: TEXT + 0x345,
            STACK + 0x900: 0,
            STACK + 0x908: TEXT + 0x200,  # die() is called last by a panic() that ends there
        }
    )
    cpu = dump.Vcpu(0, {"RIP": TEXT + 0x120, "RBP": STACK + 0x100}, "")
    lines = dump.backtrace(cpu, X86, memory(fake, tmp_path), SYMBOLS)
    assert [line.partition(" ")[2] for line in lines[:2]] == ["panic+0x20", "die+0x10"]
    assert lines[2] == "<exception>"
    assert [line.partition(" ")[2] for line in lines[3:]] == ["moves+0x45", "panic+0x100"]


def test_backtrace_with_signed_return_addresses(tmp_path: Path) -> None:
    signed = (TEXT + 0x210) & (1 << 48) - 1 | 0x1234 << 48
    fake = Fake({STACK: 0, STACK + 8: signed})
    cpu = dump.Vcpu(0, {"PC": TEXT + 0x120, "X29": STACK}, "")
    lines = dump.backtrace(cpu, ARM, memory(fake, tmp_path), SYMBOLS)
    assert lines[-1].endswith(" die+0x10")


def test_a_chain_that_bites_its_tail_ends(tmp_path: Path) -> None:
    fake = Fake({STACK: STACK + 16, STACK + 8: TEXT + 0x210,
                 STACK + 16: STACK, STACK + 24: TEXT + 0x310})  # fmt: skip
    cpu = dump.Vcpu(0, {"RIP": TEXT, "RBP": STACK}, "")
    assert len(dump.backtrace(cpu, X86, memory(fake, tmp_path), SYMBOLS)) == 3


def test_a_wild_frame_pointer_ends_the_trace(tmp_path: Path) -> None:
    for wild in (0x10, STACK + 0x123000, (1 << 64) - 1, (1 << 64) - 8):
        cpu = dump.Vcpu(0, {"RIP": TEXT + 4, "RBP": wild}, "")
        lines = dump.backtrace(cpu, X86, memory(Fake(), tmp_path), SYMBOLS)
        assert lines[0].endswith("_stext+0x4")
        assert len(lines) <= 2
    assert dump.backtrace(dump.Vcpu(0, {}, ""), X86, memory(Fake(), tmp_path), SYMBOLS) == ()


def test_the_stack_ends_where_memory_does(tmp_path: Path) -> None:
    fake = Fake({STACK + 0xFE8: 7, STACK + 0xFF0: TEXT + 0x345})
    cpu = dump.Vcpu(0, {"RSP": STACK + 0xFE8}, "")
    lines = dump.stack_excerpt(cpu, X86, memory(fake, tmp_path), SYMBOLS).splitlines()
    assert lines[0] == f"{STACK + 0xFE8:016x}: {7:016x}"
    assert lines[1].endswith("  moves+0x45")
    assert lines[3].endswith("(not readable)")
    assert len(lines) == 4


def test_memory_is_read_once_and_not_after_the_deadline(tmp_path: Path) -> None:
    fake = Fake({STACK: 1})
    reader = memory(fake, tmp_path)
    assert reader.word(STACK) == 1
    assert reader.word(STACK + 8) == 0
    assert fake.asked == ["memsave"]
    assert memory(fake, tmp_path, -1.0).word(STACK) is None
    assert fake.asked == ["memsave"]
    assert list(tmp_path.iterdir()) == []


def test_vmcoreinfo_lies_where_its_symbols_say(tmp_path: Path) -> None:
    note = b"OSRELEASE=6.12.0\nPAGESIZE=4096\n"
    fake = Fake({TEXT + 0x2000: len(note), TEXT + 0x2008: STACK})
    fake.put(STACK, note)
    assert dump.read_vmcoreinfo(memory(fake, tmp_path), SYMBOLS) == note
    for size in (0, 1 << 40):
        fake.put(TEXT + 0x2000, struct.pack("<Q", size))
        assert dump.read_vmcoreinfo(memory(fake, tmp_path), SYMBOLS) == b""
    assert dump.read_vmcoreinfo(memory(fake, tmp_path), dump.Symbols((), ())) == b""


def test_only_a_running_guest_is_stopped() -> None:
    fake = Fake()
    dump.freeze(fake)
    assert fake.asked == ["query-status"]
    fake.running = True
    dump.freeze(fake)
    assert fake.asked[1:] == ["query-status", "stop"]


@pytest.mark.parametrize(
    ("status", "size", "problem"),
    [
        ("completed", 100, ""),
        ("failed", 100, "QEMU failed to write it"),
        ("active", 3 << 20, "larger than 2 MiB"),
        ("active", 100, "not done within 0 s"),
        ("completed", 3 << 20, "larger than 2 MiB"),
    ],
)
def test_dump(tmp_path: Path, status: str, size: int, problem: str) -> None:
    fake = Fake()
    fake.dump = (status, bytes(size))
    found = dump.dump_memory(fake, tmp_path / "x", 2 << 20, 0.1)
    assert found.problem == problem
    assert found.path == (None if problem else tmp_path / "x")
    assert (tmp_path / "x").exists() == (not problem)


def test_dump_of_a_qemu_that_is_gone(tmp_path: Path) -> None:
    class Gone(Fake):
        def ask(self, command: str, **arguments: Any) -> Any:
            raise HostError("QEMU's monitor does not answer")

    assert "does not answer" in dump.dump_memory(Gone(), tmp_path / "x", 1, 1.0).problem


# ---------------------------------------------------------------- the file format


def flattened(block: int = 4096, note: bytes = b"") -> bytes:
    """A kdump of nothing, as QEMU writes it: records in an order of their own."""
    header = bytearray(464)
    header[:8] = b"KDUMP   "
    struct.pack_into("<I", header, 428, block)
    sub = bytearray(104)
    struct.pack_into("<QQ", sub, 48, 2 * block + 64, 8)
    if note:
        struct.pack_into("<QQ", sub, 32, 3 * block, len(note))
    records = [
        (2 * block, b"bitmap".ljust(64) + b"QEMU's  "),
        (0, bytes(header)),
        (block, bytes(sub)),
    ]
    body = b"".join(struct.pack(">qq", at, len(data)) + data for at, data in records)
    return b"makedumpfile".ljust(4096, b"\0") + body + struct.pack(">qq", -1, -1)


@pytest.mark.parametrize("block", [4096, 65536])
def test_a_plain_file_with_vmcoreinfo(tmp_path: Path, block: int) -> None:
    (tmp_path / "flat").write_bytes(flattened(block))
    size = kdump.finish(tmp_path / "flat", tmp_path / "plain", b"OSRELEASE=x\n", "aarch64", 1 << 20)
    plain = (tmp_path / "plain").read_bytes()
    assert len(plain) == size
    assert plain.startswith(b"KDUMP   ")
    assert plain[2 * block :].startswith(b"bitmap")
    at, length = struct.unpack_from("<QQ", plain, block + 32)
    assert plain[at : at + length] == b"OSRELEASE=x\n"
    notes, total = struct.unpack_from("<QQ", plain, block + 48)
    assert plain[notes : notes + 5] == b"QEMU's"[:5]
    assert notes % 4 == 0
    assert plain[notes + 8 : notes + total].startswith(
        struct.pack("<III", 11, length, 0) + b"VMCOREINFO\0\0OSRELEASE=x\n"
    )
    # libkdumpfile takes the machine only from a utsname that looks like one.
    assert plain[12:17] == b"Linux"
    assert plain[12 + 2 * 65 :].startswith(b"x\0")
    assert plain[12 + 4 * 65 :].startswith(b"aarch64\0")


def test_a_note_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "flat").write_bytes(flattened(note=b"there"))
    kdump.finish(tmp_path / "flat", tmp_path / "plain", b"OSRELEASE=x\n", "aarch64", 1 << 20)
    found = struct.unpack_from("<QQ", (tmp_path / "plain").read_bytes(), 4096 + 32)
    assert found == (3 * 4096, 5)


@pytest.mark.parametrize("cut", [0, 11, 4096, 4100, 4112, 4120, 4700, -17, -1])
def test_a_cut_file_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "flat").write_bytes(flattened()[:cut])
    with pytest.raises(kdump.NotKdump):
        kdump.finish(tmp_path / "flat", tmp_path / "plain", b"", "aarch64", 1 << 20)


def test_a_record_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    for offset, size in ((1 << 50, 1), (0, 1 << 50), (0, -5)):
        wild = b"makedumpfile".ljust(4096, b"\0") + struct.pack(">qq", offset, size) + bytes(64)
        (tmp_path / "flat").write_bytes(wild)
        with pytest.raises(kdump.NotKdump):
            kdump.finish(tmp_path / "flat", tmp_path / "plain", b"", "aarch64", 1 << 20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage_is_no_kdump(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "flat").write_bytes(b"makedumpfile".ljust(4096, b"\0") + data)
    with pytest.raises(kdump.NotKdump):
        kdump.finish(tmp_path / "flat", tmp_path / "plain", b"", "aarch64", 1 << 16)


def kdump_of(pages: dict[int, bytes], frames: int = 64, block: int = 4096) -> bytes:
    """A plain kdump with these page frames; all others are not in the file."""
    header = bytearray(464)
    header[:8] = b"KDUMP   "
    struct.pack_into("<IIII", header, 428, block, 1, 2, frames)
    notes = b"the notes"
    bitmap = sum(1 << pfn for pfn in pages).to_bytes(block, "little")
    stored: dict[bytes, bytes] = {data: zlib.compress(data) for data in pages.values()}
    places, at = {}, 4 * block + 24 * len(pages) + len(notes)
    for data, packed in stored.items():
        places[data] = (at, len(packed))
        at += len(packed)
    sub = bytearray(block)
    struct.pack_into("<QQ", sub, 48, 4 * block + 24 * len(pages), len(notes))
    table = b"".join(struct.pack("<QIIQ", *places[data], 1, 0) for _, data in sorted(pages.items()))
    parts = (bytes(header).ljust(block, b"\0"), bytes(sub), bitmap * 2, table, notes)
    return b"".join((*parts, *stored.values()))


def test_an_elf_core_of_a_kdump(tmp_path: Path) -> None:
    one, two, none = b"1" * 4096, b"2" * 4096, bytes(4096)
    (tmp_path / "d").write_bytes(kdump_of({3: one, 4: none, 5: two, 9: one}))
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF".ljust(18, b"\0") + struct.pack("<H", 183))
    kdump.to_elf(tmp_path / "d", tmp_path / "core", tmp_path / "vmlinux")
    core = (tmp_path / "core").read_bytes()
    kind, machine = struct.unpack_from("<HH", core, 16)
    assert (kind, machine) == (4, 183)
    (table,) = struct.unpack_from("<Q", core, 32)
    (count,) = struct.unpack_from("<H", core, 56)
    headers = [struct.unpack_from("<IIQQQQQQ", core, table + 56 * n) for n in range(count)]
    note, first, second = headers
    assert note[0] == 4
    assert core[note[2] : note[2] + note[5]] == b"the notes"
    assert (first[4], first[5]) == (3 * 4096, 3 * 4096)
    assert core[first[2] : first[2] + first[5]] == one + none + two
    assert (second[4], second[5]) == (9 * 4096, 4096)
    assert core[second[2] :] == one


def test_no_elf_core_of_anything_else(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF".ljust(64, b"\0"))
    (tmp_path / "no").write_bytes(b"no ELF file")
    whole = kdump_of({3: b"1" * 4096})
    broken = whole[: 3 * 4096] + b"\xff" * 4096
    for data in (b"", b"KDUMP   ", whole[:500], whole[:4200], broken):
        (tmp_path / "d").write_bytes(data)
        with contextlib.suppress(kdump.NotKdump):
            kdump.to_elf(tmp_path / "d", tmp_path / "core", tmp_path / "vmlinux")
    (tmp_path / "d").write_bytes(whole)
    with pytest.raises(kdump.NotKdump):
        kdump.to_elf(tmp_path / "d", tmp_path / "core", tmp_path / "no")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 464), st.binary(min_size=1, max_size=40))
def test_a_damaged_header_raises_nothing_else(tmp_path: Path, at: int, data: bytes) -> None:
    whole = bytearray(kdump_of({3: b"1" * 4096, 7: b"2" * 4096}))
    whole[at : at + len(data)] = data
    whole[4096 + at : 4096 + at + len(data)] = data
    (tmp_path / "d").write_bytes(whole)
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF".ljust(64, b"\0"))
    with contextlib.suppress(kdump.NotKdump):
        kdump.to_elf(tmp_path / "d", tmp_path / "core", tmp_path / "vmlinux")
