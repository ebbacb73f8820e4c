# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots and copies of a guest that is played: the order of things, and what may go wrong."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.guest import boot, snapshot
from orchestrator.guest.boot import Guest, GuestRequest
from orchestrator.guest.qemu import Memory
from orchestrator.guest.seed import Keys
from orchestrator.guest.snapshot import RestoreFailed, Snapshot
from orchestrator.guest.ssh import Answer, SshLost
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.spec import ShapeSpec

KEYS = Keys(Path("/key"), "host")


class Played:
    """QEMU, its monitor and the guest's SSH in one; what is asked of them is kept in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.migration = ["active", "completed"]
        self.status = ["inmigrate", "paused"]
        self.usernet = ["TCP[ESTABLISHED] 22", "TCP[HOST_FORWARD]"]
        self.answer = Answer(0, "", "")
        self.argv: list[str] = []
        self.why = ""
        self.keeps_the_end = False
        self.fds: tuple[int, ...] = ()
        self.around: tuple[str, ...] = ()
        self.end: int | None = None
        self.read = b""

    def ask(self, command: str, **arguments: Any) -> Any:
        self.said.append(command)
        if command == "migrate" and self.end is not None:
            os.write(self.end, b"devices")
        if command == "migrate-incoming" and self.end is not None:
            self.read = os.read(self.end, 100)
        if command == "query-migrate":
            if self.migration[0] == "completed" and not self.keeps_the_end and self.end:
                os.close(self.end)
                self.end = None
            return {"status": self.migration.pop(0)}
        if command == "query-status":
            return {"status": self.status.pop(0)}
        if command.startswith("migrate-set"):
            assert arguments == {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}
        return {}

    def hand_over(self, fd: int, name: str) -> None:
        assert name == "state"
        self.said.append("descriptor")
        self.end = os.dup(fd)

    def human(self, line: str) -> str:
        self.said.append(line)
        return self.usernet.pop(0)

    def close(self) -> None:
        self.said.append("close")

    def run(self, command: str, deadline: float) -> Answer:
        self.said.append(command)
        return self.answer

    def alive(self) -> bool:
        return True

    def stopped(self) -> str:
        return self.why

    def ssh_port(self) -> int:
        return 4242


@pytest.fixture
def request_(tmp_path: Path) -> GuestRequest:
    folder = tmp_path / "private"
    folder.mkdir()
    return GuestRequest(
        ARCHES["x86_64"], ShapeSpec("s", memory_mib=64), "tcg", tmp_path / "image",
        tmp_path / "root", folder, tmp_path / "console.log", 30.0, memory=Memory((7,)),
    )  # fmt: skip


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    made = Played()

    @contextlib.contextmanager
    def running(
        argv: list[str], folder: Path, fds: tuple[int, ...], around: tuple[str, ...]
    ) -> Iterator[Played]:
        made.argv, made.fds, made.around = argv, fds, around
        yield made
        if made.end is not None:
            os.close(made.end)

    @contextlib.contextmanager
    def connected(port: int, keys: Keys, deadline: float, watch: Any) -> Iterator[Played]:
        assert (port, keys) == (4242, KEYS)
        watch()
        yield made

    monkeypatch.setattr(boot, "running", running)
    monkeypatch.setattr(snapshot, "connected", connected)
    return made


def machine(request: GuestRequest, played: Any) -> Guest:
    return Guest(request, played, played, 3.0, 4242, KEYS)


def copy(request: GuestRequest, tmp_path: Path, swap: Path | None = None) -> Any:
    folder = tmp_path / "copy"
    folder.mkdir()
    (request.folder / "state").write_bytes(b"what it was")
    kept = Snapshot(request, request.folder / "state", swap, KEYS, 3.0)
    return snapshot.restored(kept, folder, tmp_path / "copy.log")


def test_the_connection_is_closed_before_anything_is_kept(
    request_: GuestRequest, played: Played
) -> None:
    (request_.folder / "state").touch()
    kept = snapshot.take(machine(request_, played))
    assert played.said == [
        "close", "info usernet", "info usernet", "stop", "migrate-set-capabilities", "descriptor",
        "migrate", "query-migrate", "query-migrate",
    ]  # fmt: skip
    assert kept.state == request_.folder / "state"
    assert kept.state.read_bytes() == b"devices"
    assert kept.swap is None
    assert kept.boot_seconds == 3.0


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_state_that_is_not_kept(request_: GuestRequest, played: Played, status: str) -> None:
    played.migration = [status]
    with pytest.raises(HostError, match=f"could not be kept: {status}"):
        snapshot.take(machine(request_, played))


def test_a_copy_is_private_and_revived(
    request_: GuestRequest, played: Played, tmp_path: Path
) -> None:
    swap = tmp_path / "swap"
    swap.write_bytes(b"swap header")
    with copy(request_, tmp_path, swap) as made:
        assert made.slowness == 2.0, "time-outs go by the cold boot"
        assert made.restore_seconds > 0
        assert (tmp_path / "copy/swap.raw").read_bytes() == b"swap header"
    line = " ".join(played.argv)
    assert "mem-path=/proc/self/fd/7,share=off" in line
    assert line.endswith("-incoming defer")
    assert f"file={request_.folder}/seed.tar" in line, "the seed is the snapshot's"
    assert f"file={tmp_path}/copy/swap.raw" not in line, "this shape has no swap disk"
    assert played.fds == (7,)
    assert played.read == b"what it was"
    assert "prlimit" in played.around
    assert played.said[:6] == [
        "migrate-set-capabilities", "descriptor", "migrate-incoming", "query-status",
        "query-status", "cont",
    ]  # fmt: skip
    assert re.fullmatch(r"/tmp/lab/revive \d{10,}\.\d{6} [0-9a-f]{64}", played.said[6])


def test_no_two_copies_get_the_same_randomness(
    request_: GuestRequest, played: Played, tmp_path: Path
) -> None:
    drawn = set()
    for number in range(3):
        played.status = ["paused"]
        (tmp_path / str(number)).mkdir()
        with copy(request_, tmp_path / str(number)):
            drawn.add(played.said[-1].split()[-1])
    assert len(drawn) == 3


def test_a_copy_that_cannot_be_revived_is_none(
    request_: GuestRequest, played: Played, tmp_path: Path
) -> None:
    played.answer = Answer(1, "", "RNDADDENTROPY: Operation not permitted\n")
    with (
        pytest.raises(RestoreFailed, match=r"random state.*not permitted"),
        copy(request_, tmp_path),
    ):
        pytest.fail("it must not be used")


def test_a_copy_without_a_login_is_none(
    request_: GuestRequest, played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise SshLost("no SSH login: refused")

    monkeypatch.setattr(snapshot, "connected", refused)
    with pytest.raises(RestoreFailed, match="refused"), copy(request_, tmp_path):
        pytest.fail("it must not be used")


def test_a_copy_that_panics_at_once_is_none(
    request_: GuestRequest, played: Played, tmp_path: Path
) -> None:
    played.why = "guest-panic"
    with pytest.raises(RestoreFailed, match="died before"), copy(request_, tmp_path):
        pytest.fail("it must not be used")


def test_a_state_whose_last_bytes_do_not_come(
    request_: GuestRequest, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.keeps_the_end = True
    monkeypatch.setattr(snapshot, "STATE_DEADLINE", 0.05)
    with pytest.raises(HostError, match="does not come to its end"):
        snapshot.take(machine(request_, played))
    assert played.end is not None
    os.close(played.end)


def test_what_goes_wrong_in_the_block_is_not_the_copys(
    request_: GuestRequest, played: Played, tmp_path: Path
) -> None:
    with pytest.raises(SshLost, match="later"), copy(request_, tmp_path):
        raise SshLost("later")


def test_memory_is_a_file_a_node_and_goes_with_the_block(request_: GuestRequest) -> None:
    shape = ShapeSpec("n", memory_mib=65, nodes=2)
    request = replace(request_, arch=ARCHES["arm64"], shape=shape, memory=None)
    with snapshot.memory_files(request) as given:
        assert given.memory is not None
        fds = given.memory.fds
        assert [os.fstat(fd).st_size >> 20 for fd in fds] == [33, 32]
        assert not given.memory.private
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_no_memory_is_the_hosts_fault(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(HostError, match="no memory for a guest"), snapshot.memory_files(request_):
        pytest.fail("no guest without memory")


def test_a_full_disk_is_not_taken_for_no_memory(request_: GuestRequest) -> None:
    with pytest.raises(OSError, match="No space"), snapshot.memory_files(request_):
        raise OSError(28, "No space left on device")
