# SPDX-License-Identifier: GPL-2.0-only
"""A folder of the host's in a guest: what QEMU and the guest are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.guest.share import Share, mount, parse_share, qemu_words, refuse_twins
from orchestrator.guest.ssh import Answer
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError


class Guest:
    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.lines: list[str] = []

    def run(self, line: str, deadline: float) -> Answer:
        self.lines.append(line)
        return Answer(self.status, "", "mount: unknown filesystem type '9p'\n")


def test_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert parse_share(f"{tmp_path}/a") == Share(tmp_path / "a", "a")
    assert parse_share(f"{tmp_path}/a:rw") == Share(tmp_path / "a", "a", True)
    assert parse_share(f"{tmp_path}/a").place == "/home/a"
    with pytest.raises(UserError, match=r"--share \S+/b: there is no folder"):
        parse_share(f"{tmp_path}/b")
    for nothing in ("", ":rw"):  # would be the current folder
        with pytest.raises(UserError, match=f"--share {nothing}: which folder"):
            parse_share(nothing)
    with pytest.raises(UserError, match="two folders would be /home/a"):
        refuse_twins([Share(Path("/x/a"), "a"), Share(Path("/y/a"), "a")])


def test_only_what_is_to_be_written_can_be() -> None:
    shares = [Share(Path("/x,y"), "x,y"), Share(Path("/z"), "z", True)]
    words = qemu_words(ARCHES["x86_64"], shares)
    assert words == (
        "-fsdev",
        "local,id=share0,path=/x,,y,security_model=none,multidevs=remap,readonly=on",
        "-device", "virtio-9p-pci,fsdev=share0,mount_tag=share0",
        "-fsdev", "local,id=share1,path=/z,security_model=none,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=share1,mount_tag=share1",
    )  # fmt: skip
    assert "virtio-9p-device,fsdev=share0,mount_tag=share0" in qemu_words(ARCHES["arm64"], shares)
    assert qemu_words(ARCHES["x86_64"], []) == ()


def test_mounted_below_home() -> None:
    guest = Guest()
    mount(guest, [Share(Path("/x"), "my files"), Share(Path("/z"), "z", True)])
    (line,) = guest.lines
    assert "mkdir '/home/my files' && busybox mount -t 9p -o trans=virtio" in line
    assert ",ro share0 '/home/my files'" in line
    assert ",rw share1 /home/z" in line
    mount(guest, [])
    assert len(guest.lines) == 1
    with pytest.raises(HostError, match="unknown filesystem type") as error:
        mount(Guest(1), [Share(Path("/x"), "x")])
    assert "CONFIG_9P_FS" in error.value.hint
