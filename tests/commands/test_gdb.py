# SPDX-License-Identifier: GPL-2.0-only
"""``lab rerun --gdb``, with a guest that is played."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.commands import gdb as command
from orchestrator.commands.run import Options
from orchestrator.guest import boot
from orchestrator.guest.ssh import Answer
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model.errors import UserError
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner.context import Places

HIT = (
    "[    5.261129][   T80] BUG: Bad rss-counter state mm:00000000009d8310 "
    "type:MM_ANONPAGES val:160\n"
)
SPEC = WorkloadSpec("fam/one", "fam", Path("/x/fam"), "one.c", ("a b",))


def repeat(workload: str = "fam/one", boots: bool = True) -> Repeat:
    build = Build("k/c/x86_64", KernelSpec("k", "tar:/x"), ConfigSpec("c"), "x86_64")
    cell = Cell("k/c/x86_64/small", build, ShapeSpec("small", swap_disk_mib=1), (SPEC,))
    case = CaseResult(f"{cell.id}:{workload}:x", workload, "x", Verdict.FAIL)
    return Repeat(case, (Subject(cell),), Plan("p", (build,), (cell,)), boots)


class FakeChannel:
    def __init__(self, said: bytes = b"") -> None:
        self.stdout = bytearray()
        self.coming = said
        self.fed = b""

    def pump(self) -> bool:
        self.stdout += self.coming
        new, self.coming = bool(self.coming), b""
        return new

    def feed(self, data: bytes, deadline: float) -> None:
        self.fed += data


class World:
    """A guest, and what was asked of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.lives = True
        self.requests: list[boot.GuestRequest] = []
        self.argv: list[str] = []
        self.channels: dict[str, FakeChannel] = {}
        self.ran: list[list[str]] = []
        self.script = ""
        self.places = Places(tmp_path / "lab.yaml", tmp_path / "r", Cache(tmp_path / "c"), tmp_path)
        image, vmlinux = tmp_path / "image", tmp_path / "vm linux" / "vmlinux"
        vmlinux.parent.mkdir()
        for path in (image, vmlinux):
            path.write_text("x")
        self.built = BuildResult(
            repeat().tested.cell.build, Verdict.PASS, "", 0.0, True, image, "sha", None, vmlinux
        )

    # the stages
    def same_kernel(self, *_: Any) -> tuple[None, BuildResult | None, str]:
        return None, self.built, "the image differs"

    @contextlib.contextmanager
    def booted(self, request: boot.GuestRequest) -> Iterator[Any]:
        self.requests.append(request)
        request.console.write_text(HIT)
        yield SimpleNamespace(
            qemu=self, ssh=self, boot_seconds=2.0, slowness=1.3,
            console_size=lambda: 0, console_bytes=lambda _: request.console.read_bytes(),
        )  # fmt: skip

    @contextlib.contextmanager
    def machine(self, request: boot.GuestRequest) -> Iterator[World]:
        self.argv = boot.qemu_command(request)
        assert (request.folder / "seed.tar").exists()
        yield self

    def alive(self) -> bool:
        return self.lives

    def run(self, line: str, _deadline: float) -> Answer:
        assert line == "busybox mkfifo /tmp/lab/go"
        return Answer(0, "", "")

    def start(self, line: str) -> FakeChannel:
        self.channels[line] = FakeChannel(b"ok 1 \x1b]0;owned\x07\n")
        return self.channels[line]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    monkeypatch.setattr(command, "same_kernel", world.same_kernel)
    monkeypatch.setattr(command.boot, "booted", world.booted)
    monkeypatch.setattr(command.boot, "machine", world.machine)
    monkeypatch.setattr(command.session.root, "ensure_root", lambda *_: tmp_path / "root")
    chosen = SimpleNamespace(name="tcg", reason="")
    monkeypatch.setattr(command.session.accel, "choose", lambda *_: chosen)
    monkeypatch.setattr(command.session, "push", lambda *_: None)
    monkeypatch.setattr(command, "_debugger", lambda _: "gdb-multiarch")
    return world


def terminal(world: World, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """A terminal, and a gdb that does ``act`` with its script."""

    def run(argv: list[str], **more: Any) -> None:
        world.ran.append(argv)
        assert more["terminal"]
        world.script = Path(argv[-1]).read_text()
        act(Path(argv[-1]).parent)

    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(command.sys, stream), "isatty", lambda: True, raising=False)
    monkeypatch.setattr(process, "run", run)


def test_gdb_starts_and_starts_the_workload(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(folder: Path) -> None:
        handler = signal.getsignal(signal.SIGINT)
        assert callable(handler)
        handler(signal.SIGINT, None)  # Ctrl-C stops the guest, not the lab
        (folder / "go").touch()  # what lab-run does
        until = time.monotonic() + 5
        while (folder / "go").exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)

    terminal(world, monkeypatch, act)
    kept = signal.getsignal(signal.SIGINT)
    assert command.debug(world.places, repeat(), Path("old"), Options()) == 0
    assert signal.getsignal(signal.SIGINT) is kept
    (argv,) = world.ran
    assert argv[:3] == ["gdb-multiarch", "-q", "-x"]
    assert 'file "' in world.script  # its path has a space
    assert "vmlinux" in world.script
    (request,) = world.requests
    stub = request.extra[1].removeprefix("unix:").partition(",")[0]
    assert request.extra[0] == "-gdb"
    assert f"target remote {stub}\n" in world.script
    assert len(stub) < 100
    assert "-S" not in request.extra
    waiting, starting = world.channels
    assert waiting == (
        "read go </tmp/lab/go && cd /tmp/lab/fam && exec /tmp/lab/sampler -m gdb -w fam/one "
        "-- /tmp/lab/fam/one 'a b'"
    )
    assert starting == "cat >/tmp/lab/go"
    assert world.channels[starting].fed == b"go\n"
    said = capsys.readouterr().err
    assert "ok 1" in said
    assert "\x1b" not in said
    assert "kernel log: BUG: Bad rss-counter state type:MM_ANONPAGES" in said
    assert "one of --config symbols has lines too" in said
    assert "the image differs" in said
    assert not Path(stub).parent.exists()


def test_without_a_terminal_it_waits_for_the_guests_end(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def end() -> None:
        world.lives = False

    timer = threading.Timer(0.5, end)
    timer.start()
    assert command.debug(world.places, repeat(), Path("old"), Options()) == 0
    out = capsys.readouterr().out
    assert out.startswith("gdb-multiarch -q -x /")
    assert out.endswith("/gdb/lab.gdb\n")


def test_a_case_of_the_boot_stands_before_the_first_instruction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(world, monkeypatch, lambda _: None)
    assert command.debug(world.places, repeat("boot"), Path("old"), Options()) == 0
    assert world.argv[-1] == "-S"
    assert world.argv[-3] == "-gdb"
    assert "lab-run" not in world.script
    assert not world.requests


def test_what_cannot_be_booted(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="no guest runs in it"):
        command.debug(world.places, repeat("build", boots=False), Path("old"), Options())

    @contextlib.contextmanager
    def fails(_request: Any) -> Iterator[None]:
        raise boot.BootFailed(GuestEnd.PANIC, "the kernel panicked 1.0 s into the boot", 1.0)
        yield

    monkeypatch.setattr(command.boot, "booted", fails)
    assert command.debug(world.places, repeat(), Path("old"), Options()) == 1
    assert "the kernel panicked" in capsys.readouterr().err


def test_a_gdb_must_know_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vmlinux = tmp_path / "vmlinux"
    vmlinux.write_text("x")
    there = {"gdb"}
    said = {"gdb": (b"", b"vmlinux: not in executable format: file format not recognized")}

    def run(argv: list[str], **_: Any) -> Any:
        out, err = said[argv[0]]
        return SimpleNamespace(stdout=out, stderr=err)

    monkeypatch.setattr(process, "find_tool", lambda name: name if name in there else None)
    monkeypatch.setattr(process, "run", run)
    assert command._debugger(vmlinux) is None
    said["gdb"] = (b"\t`vmlinux', file type elf64-little.\n", b"")
    assert command._debugger(vmlinux) is None
    said["gdb"] = (b"\t`vmlinux', file type elf64-littleaarch64.\n", b"")
    assert command._debugger(vmlinux) == "gdb"
    there.add("gdb-multiarch")
    said["gdb-multiarch"] = said["gdb"]
    assert command._debugger(vmlinux) == "gdb-multiarch"
    there.clear()
    assert command._debugger(vmlinux) is None
