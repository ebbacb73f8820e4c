# SPDX-License-Identifier: GPL-2.0-only
"""`lab shell`, with every stage replaced by something that boots nothing."""

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.commands import shell
from orchestrator.guest.seed import Keys
from orchestrator.host import process
from orchestrator.model.evidence import GuestEnd
from orchestrator.model.kernel import ApplyFailure, BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.runner import session
from orchestrator.runner.stages import Stages

PANIC = (
    "[    2.012345][    T1] Kernel panic - not syncing: sysrq triggered crash\n"
    "[    2.112345][    T1] CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 6.12.0 #1\n"
)


class FakeQemu:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, command: str) -> None:
        self.asked.append(command)


class FakeGuest:
    def __init__(self, request, folder: Path) -> None:
        self.request = request
        self.qemu = FakeQemu()
        self.port = 40022
        self.keys = Keys(folder / "id_ed25519", "QUJD")
        self.boot_seconds = 1.5
        self.end = GuestEnd.ALIVE

    def state(self) -> GuestEnd:
        return self.end

    def console_size(self) -> int:
        return self.request.console.stat().st_size

    def console_bytes(self, start: int = 0) -> bytes:
        return self.request.console.read_bytes()[start:]


@pytest.fixture
def world(monkeypatch, tmp_path):
    """What the stages give, to be changed by a test, and what ssh was called with."""
    world = SimpleNamespace(
        failure=None, verdict=Verdict.PASS, status=0, end=GuestEnd.ALIVE, prints="",
        boot_failure=None, argv=None, guest=None, pushed=None,
    )  # fmt: skip

    def prepare(spec, _settings):
        tree = KernelTree(spec, "6.12.0", "a", "b", failure=world.failure)
        return SimpleNamespace(tree=tree, slot="debian-6.12", source="debian:6.12=1")

    def build(wanted, _kernel, _settings):
        good = world.verdict is Verdict.PASS
        reason = "" if good else "mm/x.c:1: error: no"
        image, log = (tmp_path / "image" if good else None), tmp_path / "build.log"
        return BuildResult(wanted, world.verdict, reason, 1.0, True, image, log=log)

    @contextlib.contextmanager
    def booted(request, *_more):
        request.console.parent.mkdir(parents=True, exist_ok=True)
        request.console.write_text("[    0.000000][    T0] Linux version 6.12.0\n")
        if world.boot_failure:
            request.console.write_text(PANIC)
            raise world.boot_failure
        world.guest = FakeGuest(request, request.folder)
        yield world.guest

    def ssh(argv, **more):
        world.argv, world.more = argv, more
        with world.guest.request.console.open("a") as console:
            console.write(world.prints)
        world.guest.end = world.end
        if world.end is not GuestEnd.ALIVE:
            time.sleep(0.5)  # the real one ends when QEMU does
        return process.Completed(tuple(argv), world.status, b"", b"", 0.0)

    monkeypatch.setattr(session, "Stages", lambda: Stages(prepare=prepare, build=build))
    monkeypatch.setattr(session.root, "ensure_root", lambda *_: tmp_path / "root.ext2")
    monkeypatch.setattr(
        session.accel, "choose", lambda *_: SimpleNamespace(name="tcg", reason="no KVM")
    )
    monkeypatch.setattr(shell.boot, "booted", booted)
    monkeypatch.setattr(session.process, "run", ssh)
    monkeypatch.setattr(
        session, "push", lambda _machine, specs, _context: setattr(world, "pushed", specs)
    )
    return world


@pytest.mark.parametrize("status", [0, 7, 255])
def test_the_commands_status_is_the_shells(status, lab, world):
    world.status = status
    assert lab("shell", "--", "true").status == status


def test_a_command_that_a_signal_ended(lab, world):
    world.status = -15
    assert lab("shell").status == 143


def test_nothing_but_the_command_writes_to_stdout(lab, world):
    done = lab("shell", "--", "uname", "-r")
    assert done.out == ""
    assert "lab: booted in 1.5 s" in done.err


def test_ssh_gets_the_terminal_and_its_type(lab, world, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-kitty")
    lab("shell")
    assert world.more["terminal"] is True
    assert world.more["env"] == {"TERM": "xterm-kitty"}
    assert world.argv[-1] == "root@127.0.0.1"


def test_the_selection_chooses_the_cell(lab, world):
    done = lab("shell", "--config", "no-thp", "--arch", "arm64", "--", "true")
    assert "lab: stable/no-thp/arm64/small" in done.err
    assert world.pushed is None
    lab("shell", "--workload", "uffd-move/*", "--", "true")
    assert {w.family for w in world.pushed} == {"uffd-move"}


def test_a_series_that_does_not_apply(lab, world):
    world.failure = ApplyFailure(2, "mm: x", "mm/x.c", 7, "patch failed", "", "")
    done = lab("shell")
    assert done.status == 1
    assert "patch 2 (mm: x) does not apply at mm/x.c:7" in done.err
    assert world.argv is None


def test_a_kernel_that_does_not_build(lab, world):
    world.verdict = Verdict.FAIL
    done = lab("shell")
    assert done.status == 1
    assert "mm/x.c:1: error: no" in done.err
    assert "build.log" in done.err
    assert world.argv is None


def test_a_kernel_that_does_not_boot(lab, world):
    world.boot_failure = shell.boot.BootFailed(GuestEnd.PANIC, "the kernel panicked", 2.0)
    done = lab("shell")
    assert done.status == 1
    assert "lab: the kernel panicked" in done.err
    assert "kernel log: Kernel panic - not syncing: sysrq triggered crash" in done.err
    assert "stable__default__x86_64__small.console.log" in done.err


def test_a_guest_that_never_lets_anybody_in_is_the_hosts(lab, world):
    world.boot_failure = shell.boot.BootFailed(GuestEnd.SSH_LOST, "no SSH login", 2.0)
    assert lab("shell").status == 3


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        (GuestEnd.PANIC, 1, "the guest's kernel panicked"),
        (GuestEnd.RESET, 1, "the guest reset itself"),
        (GuestEnd.QEMU_DIED, 3, "QEMU died"),
    ],
)
def test_a_guest_that_goes_down_under_the_user(end, status, told, lab, world):
    world.end, world.status, world.prints = end, 255, PANIC
    done = lab("shell")
    assert done.status == status
    assert f"lab: {told}" in done.err
    assert "kernel log: Kernel panic" in done.err
    assert world.guest.qemu.asked == ["quit"]


def test_reports_of_a_guest_that_lives_on_are_told(lab, world):
    world.prints = (
        "[    9.012345][   T99] BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1\n"
    )
    done = lab("shell", "--", "true")
    assert done.status == 0
    assert "kernel log: BUG: Bad rss-counter state" in done.err


# ---------------------------------------------------------------- files in and out


@pytest.fixture
def moved(monkeypatch) -> list[str]:
    """What was pushed, pulled and mounted, in order; the command itself is ``ran``."""
    done: list[str] = []
    ran = session.log_in

    def log_in(*words):
        done.append("ran")
        return ran(*words)

    def pull(_guest, _folder, item):
        if item.source == "none":
            raise shell.transfer.NotMoved("no none out of the guest")
        done.append(f"pull {item.source}")

    monkeypatch.setattr(session, "log_in", log_in)
    monkeypatch.setattr(
        shell.transfer, "push", lambda _g, _f, items: done.extend(f"push {i.goal}" for i in items)
    )
    monkeypatch.setattr(shell.transfer, "pull", pull)
    monkeypatch.setattr(
        shell.share, "mount", lambda _ssh, shares, _slow: done.extend(s.place for s in shares)
    )
    monkeypatch.setattr(FakeGuest, "ssh", None, raising=False)
    monkeypatch.setattr(FakeGuest, "slowness", 1.0, raising=False)
    return done


def test_in_before_the_command_and_out_after_it(lab, world, moved, folder):
    (folder / "f").touch()
    world.status = 7
    done = lab("shell", "--push", "f:/tmp/g", "--pull", "a", "--pull", "none", "--pull", "b",
               "--", "false")  # fmt: skip
    assert moved == ["push /tmp/g", "ran", "pull a", "pull b"]
    assert done.status == 7
    assert "lab: no none out of the guest\n" in done.err
    world.status = 0
    assert lab("shell", "--pull", "none", "--", "true").status == 3


def test_nothing_comes_out_of_a_guest_that_is_gone(lab, world, moved):
    world.end = GuestEnd.PANIC
    done = lab("shell", "--pull", "a", "--", "true")
    assert moved == ["ran"]
    assert done.status == 1
    assert "no a out of the guest: it is gone" in done.err


def test_what_is_not_there_is_told_before_anything_starts(lab, world, moved):
    for words in (("--push", "none"), ("--pull", "a:no/such/"), ("--share", "none")):
        assert lab("shell", *words).status == 2
    assert world.guest is None


def test_a_shared_folder_takes_a_kernel_of_its_own(lab, world, moved, folder):
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    done = lab("shell", "--share", "in", "--share", "out:rw", "--", "true")
    assert done.status == 0
    assert done.err.startswith("lab: stable/default+share/x86_64/small\n")
    assert moved == ["/home/in", "/home/out", "ran"]
    extra = world.guest.request.extra
    assert any("readonly=on" in word for word in extra)
    assert f"local,id=share1,path={folder}/out,security_model=none,multidevs=remap" in extra
    assert f"{folder}/in is /home/in" in done.err
    assert lab("shell", "--", "true").err.startswith("lab: stable/default/x86_64/small\n")
    assert world.guest.request.extra == ()
