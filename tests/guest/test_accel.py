# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator runs guests, without running one."""

from __future__ import annotations

import json
import os
import platform
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.guest import accel
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES

MINE = replace(ARCHES["x86_64"], kvm_hosts=(platform.machine(),))


def answer(status: int, stderr: bytes = b"") -> process.Completed:
    return process.Completed(("qemu",), status, b"", stderr, 0.1)


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose /dev/kvm can be opened."""
    monkeypatch.setattr(os, "access", lambda path, mode: True)


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch, kvm: None) -> list[Any]:
    """Answers to the probes to come; one that is an exception is raised."""
    answers: list[Any] = []

    def run(argv: list[Any], **_: object) -> process.Completed:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(process, "run", run)
    return answers


def test_another_machines_kernel_is_emulated(tmp_path: Path) -> None:
    other = replace(MINE, kvm_hosts=("no-such-machine",))
    found = accel.choose(other, Cache(tmp_path))
    assert found.name == "tcg"
    assert platform.machine() in found.reason


def test_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "device_problem", lambda: "there is no /dev/kvm")
    found = accel.choose(MINE, Cache(tmp_path))
    assert found == accel.Accelerator("tcg", "there is no /dev/kvm")
    assert list(tmp_path.iterdir()) == []


def test_why_the_device_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    assert accel.device_problem(device) == f"there is no {device}"
    assert accel.device_group(device) == ""
    device.touch()
    assert accel.device_problem(device) == ""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(accel.grp, "getgrgid", lambda _gid: SimpleNamespace(gr_name="kvm"))
    info = SimpleNamespace(st_gid=106, st_mode=0o20660)
    monkeypatch.setattr(Path, "stat", lambda _self, **_more: info)
    assert accel.device_group(device) == "kvm"
    assert accel.device_problem(device) == f"{device} is not yours to open, but group kvm's"
    info.st_mode = 0o20600
    assert accel.device_problem(device) == f"{device} is not yours to open"
    info.st_mode, info.st_gid = 0o20660, 0
    assert accel.device_group(device) == ""


def test_probe_that_boots_is_remembered(tmp_path: Path, qemu: list[Any]) -> None:
    qemu.append(answer(33))
    assert accel.choose(MINE, Cache(tmp_path)).name == "kvm"
    assert accel.choose(MINE, Cache(tmp_path)).name == "kvm"  # no second answer was there to take
    assert qemu == []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (answer(1, b"Could not access KVM kernel module\nmore\n"), "Could not access KVM kernel"),
        (answer(0), "QEMU ended with status 0"),
        (answer(-6, b"\xff\n"), "\ufffd"),
        (process.DeadlineExpired(["qemu"], 6), "did not end within 6 s"),
    ],
)
def test_probe_that_does_not_boot(
    tmp_path: Path, qemu: list[Any], found: object, reason: str
) -> None:
    qemu.append(found)
    first = accel.choose(MINE, Cache(tmp_path))
    assert first.name == "tcg"
    assert reason in first.reason
    assert accel.choose(MINE, Cache(tmp_path)) == first


def test_missing_qemu_is_not_remembered(tmp_path: Path, qemu: list[Any]) -> None:
    qemu += [process.ToolMissing("qemu-system-x86_64"), answer(33)]
    assert "not installed" in accel.choose(MINE, Cache(tmp_path)).reason
    assert accel.choose(MINE, Cache(tmp_path)).name == "kvm"


def test_answer_of_another_boot_is_asked_again(tmp_path: Path, qemu: list[Any]) -> None:
    qemu += [answer(33), answer(1)]
    accel.choose(MINE, Cache(tmp_path))
    (kept,) = tmp_path.iterdir()
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"key": "another boot"}))
    assert accel.choose(MINE, Cache(tmp_path)).name == "tcg"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"key": 1}', "\x00"])
def test_damaged_answer_is_asked_again(tmp_path: Path, qemu: list[Any], content: str) -> None:
    qemu += [answer(33), answer(33)]
    accel.choose(MINE, Cache(tmp_path))
    (kept,) = tmp_path.iterdir()
    kept.write_text(content)
    assert accel.choose(MINE, Cache(tmp_path)).name == "kvm"
    assert qemu == []


def test_x86_probe_is_a_multiboot_kernel(tmp_path: Path) -> None:
    image = tmp_path / "probe"
    argv, good = accel._probe_x86(image)
    data = image.read_bytes()
    magic, flags, checksum, header, load, load_end, bss_end, entry = struct.unpack_from("<8I", data)
    assert magic == 0x1BADB002
    assert (magic + flags + checksum) & 0xFFFFFFFF == 0
    assert flags & 1 << 16  # the address fields hold
    assert (header, load) == (0x100000, 0x100000)
    assert (load_end, bss_end) == (0, 0)
    code = data[entry - load :]
    # mov $0xf4,%dx; mov $0x10,%al; out %al,(%dx); hlt
    assert code.startswith(bytes.fromhex("66baf400 b010 ee f4"))
    assert good == 0x10 << 1 | 1
    assert argv[argv.index("-kernel") + 1] == image
    assert argv[argv.index("-accel") + 1] == "kvm"


def test_arm64_probe_asks_psci_to_switch_off(tmp_path: Path) -> None:
    image = tmp_path / "probe"
    argv, good = accel._probe_arm64(image)
    movz, movk, hvc = struct.unpack("<3I", image.read_bytes())

    def immediate(word: int) -> int:
        """The constant a MOVZ or MOVK places, shifted (Arm ARM, C6.2: imm16 at 5, hw at 21)."""
        return (word >> 5 & 0xFFFF) << 16 * (word >> 21 & 3)

    assert immediate(movz) | immediate(movk) == 0x84000008  # PSCI SYSTEM_OFF
    assert movz & 31 == movk & 31 == 0  # both into w0
    assert hvc == 0xD4000002
    assert good == 0
    assert f"loader,file={image},addr=0x40200000" in argv
