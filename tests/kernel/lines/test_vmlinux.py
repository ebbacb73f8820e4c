# SPDX-License-Identifier: GPL-2.0-only
"""Source lines out of a vmlinux that somebody else built."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_vmlinux import link, mark_in, of

from orchestrator.kernel.lines.symbols import Address
from orchestrator.kernel.lines.vmlinux import open_vmlinux
from orchestrator.model.errors import UserError


def test_inlined_calls_first(tmp_path: Path) -> None:
    path = link(tmp_path, "-g")
    (_, size), at = of(path, "outer"), mark_in(path, "outer")
    address = Address("outer", at, size, exact=True)
    wrong = Address("outer", at, size + 64, exact=True)
    with open_vmlinux(path) as vmlinux:
        assert vmlinux.banner == "Linux version 6.1.2-mine (me@here) #1 SMP"
        told = vmlinux.places([address, wrong, address])
        assert [(p.function, p.line) for p in told[address].places] == [("inner", 8), ("outer", 13)]
        assert told[address].places[0].file.endswith("/mm/move.c")
        assert told[wrong].places == ()
        assert "no such function of this size" in told[wrong].note
        assert vmlinux.places([address]) == {address: told[address]}


def refused(path: Path) -> UserError:
    with pytest.raises(UserError) as caught, open_vmlinux(path):
        pass
    return caught.value


def test_what_has_no_lines_is_refused(tmp_path: Path) -> None:
    error = refused(link(tmp_path))
    assert "has no source lines" in error.message
    assert "CONFIG_DEBUG_INFO" in error.hint
    (tmp_path / "bzImage").write_bytes(b"MZ" + bytes(4096))
    assert "is no vmlinux" in refused(tmp_path / "bzImage").message
    assert "cannot read" in refused(tmp_path / "none").message
    assert "cannot read" in refused(tmp_path).message
    data = bytearray(link(tmp_path, "-g").read_bytes())
    data[18:20] = (8).to_bytes(2, "little")  # EM_MIPS
    (tmp_path / "mips").write_bytes(data)
    assert "no architecture that is known" in refused(tmp_path / "mips").message


@pytest.mark.parametrize("at", [0x28, 0x3C, 0x3E])  # e_shoff, e_shnum, e_shstrndx (elf(5))
@pytest.mark.parametrize("value", [b"\xff" * 8, b"\0\0\0\0\0\0\0\x80", b"\xff\xff"])
def test_sections_that_are_elsewhere_are_refused(tmp_path: Path, at: int, value: bytes) -> None:
    data = bytearray(link(tmp_path, "-g").read_bytes())
    data[at : at + (8 if at == 0x28 else 2)] = value[: 8 if at == 0x28 else 2].ljust(2, b"\xff")
    (tmp_path / "odd").write_bytes(data)
    assert refused(tmp_path / "odd").hint
