# SPDX-License-Identifier: GPL-2.0-only
"""The walls around a guest: a real QEMU, without a kernel, asked to break out of each."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.guest import boot, qemu
from orchestrator.guest.boot import GuestRequest
from orchestrator.host import process, walls
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.spec import ShapeSpec
from orchestrator.model.walls import BUBBLEWRAP, WallsSpec

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")


@pytest.fixture(autouse=True)
def none_afterwards() -> Iterator[None]:
    yield
    walls.put_up(WallsSpec())


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lab-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[name for name, arch in ARCHES.items() if shutil.which(arch.qemu)])
def request_(request: pytest.FixtureRequest, place: Path) -> GuestRequest:
    """A guest that stands before its first instruction; its image is no kernel."""
    arch = ARCHES[request.param]
    folder = place / "guest"
    folder.mkdir()
    for path in (place / "root", folder / "seed.tar"):
        path.write_bytes(bytes(1 << 20))
    (place / "console.log").touch()
    made = GuestRequest(
        arch, ShapeSpec("s", cpus=1, memory_mib=64), "tcg", place / "image", place / "root",
        folder, place / "console.log", 30.0, extra=("-S",),
    )  # fmt: skip
    # What QEMU takes for a kernel without looking inside: x86's needs a header (boot.rst).
    image = bytearray(8192)
    image[0x1F1], image[0x1FE:0x200], image[0x202:0x206] = 1, b"\x55\xaa", b"HdrS"
    image[0x206:0x208] = (0x0202).to_bytes(2, "little")
    made.image.write_bytes(image)
    return made


def status(machine: qemu.Qemu) -> dict[str, str]:
    lines = Path(f"/proc/{machine._child.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limit(machine: qemu.Qemu, name: str) -> int:
    text = Path(f"/proc/{machine._child.pid}/limits").read_text()
    found = re.search(rf"^{name}\s+(\d+)", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def ended(machine: qemu.Qemu) -> int | None:
    until = time.monotonic() + 20
    while machine.alive() and time.monotonic() < until:
        time.sleep(0.02)
    return machine._child.returncode


def test_qemu_is_in_seccomps_sandbox_and_has_its_limits(request_: GuestRequest) -> None:
    with boot.machine(request_) as machine:
        assert status(machine)["Seccomp"] == "2", "a filter: Documentation/.../seccomp_filter.rst"
        assert status(machine)["NoNewPrivs"] == "1"
        assert limit(machine, "Max address space") == (64 + walls.QEMU_MIB) << 20
        assert limit(machine, "Max file size") == (64 + walls.QEMU_FILE_MIB) << 20
        assert limit(machine, "Max cpu time") == walls.QEMU_HOURS * 3600
        assert limit(machine, "Max core file size") == 0


def test_limits_grow_with_the_guest() -> None:
    big = walls.guest_limits(ShapeSpec("s", cpus=4, memory_mib=4096, swap_disk_mib=8192))
    assert big.memory_mib == 4096 + walls.QEMU_MIB
    assert big.file_mib == 8192 + walls.QEMU_FILE_MIB
    assert big.seconds == 4 * walls.QEMU_HOURS * 3600


def test_qemu_starts_no_program(request_: GuestRequest) -> None:
    """What a guest that took QEMU over would do first; without the sandbox it works."""
    mark = request_.folder / "mark"
    for sandboxed in (False, True):
        mark.unlink(missing_ok=True)
        argv = boot.qemu_command(request_)
        if not sandboxed:
            at = argv.index("-sandbox")
            del argv[at : at + 2]
        with qemu.running(argv, request_.folder) as machine:
            try:
                machine.ask("migrate", uri=f"exec:touch {mark}; cat > /dev/null")
            except HostError:
                assert sandboxed
            until = time.monotonic() + (1.0 if sandboxed else 20.0)
            while not mark.exists() and time.monotonic() < until:
                time.sleep(0.02)
        assert mark.exists() is not sandboxed


def test_a_file_of_qemus_does_not_grow_beyond_its_limit(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walls, "QEMU_FILE_MIB", -48)  # 16 of the guest's 64
    written = request_.folder / "written"
    with boot.machine(request_) as machine:
        with pytest.raises(HostError):
            machine.ask("pmemsave", val=0x40000000 if request_.arch.name == "arm64" else 0,
                        size=32 << 20, filename="written")  # fmt: skip
        assert ended(machine) == -signal.SIGXFSZ
        assert "a file that it writes, such as the console's log" in machine.last_words()
    assert written.stat().st_size <= 16 << 20


def test_qemu_gets_no_more_memory_than_its_limit(
    request_: GuestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walls, "QEMU_MIB", -32)
    with pytest.raises(HostError, match=r"does not start"), boot.machine(request_):
        pass


@as_root
def test_qemu_runs_as_the_user_that_is_named_and_can_gain_nothing(request_: GuestRequest) -> None:
    walls.put_up(WallsSpec(run_as="nobody"))
    user = pwd.getpwnam("nobody")
    secret = request_.folder.parent / "secret"
    secret.write_text("x" * 4096)
    secret.chmod(0o600)
    with boot.machine(request_) as machine:
        told = status(machine)
        assert set(told["Uid"].split()) == {str(user.pw_uid)}
        assert set(told["Gid"].split()) == {str(user.pw_gid)}
        assert {told[name] for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {"0" * 16}
        said = machine.human(f"drive_add 0 if=none,format=raw,readonly=on,file={secret}")
        assert "Permission denied" in said
        assert request_.console.stat().st_uid == user.pw_uid
    assert request_.console.stat().st_uid == 0, "no later guest writes to it"


@as_root
def test_a_user_who_cannot_reach_the_image_is_told_where_it_ends(request_: GuestRequest) -> None:
    walls.put_up(WallsSpec(run_as="nobody"))
    deep = request_.folder.parent / "deep"
    deep.mkdir(mode=0o700)
    image = deep / "image"
    shutil.copy(request_.image, image)
    with (
        pytest.raises(HostError, match=f"nobody may not enter {deep}$") as caught,
        boot.machine(replace(request_, image=image)),
    ):
        pass
    assert f"chmod o+x {deep}" in caught.value.hint


def test_a_user_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="run_as: no-such-user: this host has no such user"):
        walls.put_up(WallsSpec(run_as="no-such-user"))
    with pytest.raises(UserError, match="root is no wall"):
        walls.put_up(WallsSpec(run_as="root"))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(HostError, match="only root can run programs as another user"):
        walls.put_up(WallsSpec(run_as="nobody"))
    assert walls.standing() == WallsSpec(), "what could not be put up does not stand by half"


def test_a_fence_that_the_host_cannot_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls, "bubblewrap_works", lambda: False)
    with pytest.raises(HostError, match="bubblewrap does not work on this host") as caught:
        walls.put_up(WallsSpec(build_sandbox=BUBBLEWRAP))
    assert "bubblewrap" in caught.value.hint


def test_a_fence_hides_the_sockets_of_services(place: Path) -> None:
    """A read-only file system keeps nobody from connecting to what listens in it."""
    if not walls.bubblewrap_works():
        pytest.skip("this host has no bubblewrap, or forbids it")
    walls.put_up(WallsSpec(build_sandbox=BUBBLEWRAP))
    around = walls.around_build(30, (place,), fenced=True)
    path = Path(f"/run/lab-test-{os.getpid()}")
    if not os.access("/run", os.W_OK):
        pytest.skip("/run is not this user's to write")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        try:
            done = process.run(["ls", path], deadline=30, check=False, around=around.words)
        finally:
            path.unlink()
    assert done.status == 2


def test_a_build_cannot_leave_processes_behind(place: Path) -> None:
    if not walls.bubblewrap_works():
        pytest.skip("this host has no bubblewrap, or forbids it")
    walls.put_up(WallsSpec(build_sandbox=BUBBLEWRAP))
    around = walls.around_build(30, (place,), fenced=True)
    script = "setsid sh -c 'sleep 1; touch late' & exit 0"
    process.run(["sh", "-c", script], deadline=30, cwd=place, around=around.words)
    time.sleep(1.5)
    assert not (place / "late").exists()
