# SPDX-License-Identifier: GPL-2.0-only
"""Real guests that try to reach what they must not, and builds and guests of another user.

Each attempt is made once more without the wall, so that it is known to be one that could succeed.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labrun import HOME, lab_run

from orchestrator.guest import boot, snapshot
from orchestrator.guest.boot import GuestRequest
from orchestrator.host import walls
from orchestrator.host.cache.scratch import scratch
from orchestrator.model.arch import ARCHES
from orchestrator.model.spec import ShapeSpec
from orchestrator.model.walls import WallsSpec
from orchestrator.runner.context import Places
from orchestrator.workload import programs, watch

pytestmark = pytest.mark.guest

# In the guest: which of these addresses answers.
TRY = """
import socket, sys
for word in sys.argv[1:]:
    host, port = word.rsplit(":", 1)
    with socket.socket() as line:
        line.settimeout(5)
        try:
            line.connect((host, int(port)))
            print(word)
        except OSError:
            pass
"""


@pytest.fixture(scope="module", params=list(ARCHES))
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An architecture, and the image and root of a run that passed on it."""
    arch = request.param
    ran = lab_run(
        tmp_path_factory.mktemp("walls") / arch, "--kernel", "v6.12", "--config", "default",
        "--arch", arch, "--shape", "small", "--workload", "uffd-move/basic",
    )  # fmt: skip
    assert ran.status == 0, ran.bad()
    words = shlex.split(ran.results["cells"][0]["qemu_command"])
    assert words[words.index("-sandbox") + 1].startswith("on,")
    image = words[words.index("-kernel") + 1]
    (root,) = [word.split(",")[0].removeprefix("file=") for word in words if "id=root" in word]
    return ARCHES[arch], Path(image), Path(root)


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server on every address of this host."""
    with socket.create_server(("", 0), backlog=64) as server:
        yield server.getsockname()[1]


def own_address() -> str:
    """An address of this host's that is not the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect(("192.0.2.1", 9))
        return str(line.getsockname()[0])


@pytest.mark.parametrize("wall", [True, False], ids=["walled", "open"])
def test_a_guest_reaches_no_address_of_the_host(
    command: Any, listener: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wall: bool
) -> None:
    arch, image, root = command
    if not wall:
        restricted = boot.command_line
        monkeypatch.setattr(
            boot, "command_line",
            lambda *given: [w.replace("restrict=on", "restrict=off") for w in restricted(*given)],
        )  # fmt: skip
    # 10.0.2.2 is the host's loopback in QEMU's user network (qemu(1), "-netdev user").
    targets = [f"10.0.2.2:{listener}", f"{own_address()}:{listener}"]
    with scratch(Places.of(HOME / "lab.yaml").cache) as folder:
        request = GuestRequest(
            arch, ShapeSpec("s"), "tcg", image, root, folder, tmp_path / "console.log", 240.0
        )
        with boot.booted(request) as guest:
            words = shlex.join(["python3", "-c", TRY, *targets])
            answer = guest.ssh.run(words, 60.0 * guest.slowness)
    assert answer.status == 0, answer.stderr
    reached = answer.stdout.split()
    assert reached == [] if wall else targets[0] in reached


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")
def test_a_guest_of_another_user_and_copies_of_it(command: Any) -> None:
    arch, image, root = command
    cache = Places.of(HOME / "lab.yaml").cache
    place = Path(tempfile.mkdtemp(prefix="lab-walls-", dir="/var/tmp"))
    place.chmod(0o755)
    walls.put_up(WallsSpec(run_as="nobody"))
    try:
        for name in ("first", "copy"):
            (place / name).mkdir(mode=0o700)
        request = GuestRequest(
            arch, ShapeSpec("s", swap_disk_mib=64), "tcg", Path(shutil.copy(image, place)),
            Path(shutil.copy(root, place)), place / "first", place / "console.log", 240.0,
        )  # fmt: skip
        with snapshot.memory_files(request) as kept:
            with boot.booted(kept) as guest:
                assert guest.qemu.host_time().ran
                files = programs.compile_all((), HOME / "guest-tests/lib", arch, cache)
                watch.push(guest, programs.pack(files, cache))
                taken = snapshot.take(guest)
            with snapshot.restored(taken, place / "copy", place / "copy.log") as guest:
                assert guest.answers(60.0 * guest.slowness)
                assert (place / "copy.log").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert {(place / name).stat().st_uid for name in ("console.log", "copy.log")} == {0}
    finally:
        walls.put_up(WallsSpec())
        shutil.rmtree(place)
