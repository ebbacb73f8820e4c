# SPDX-License-Identifier: GPL-2.0-only
"""The stages of one cell in order, with a guest that is played: what is lost, repeated, kept."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.guest import accel, facts, root, snapshot
from orchestrator.guest import boot as guest
from orchestrator.guest.accel import Accelerator
from orchestrator.guest.boot import BootFailed, GuestRequest
from orchestrator.guest.dump import Symbols
from orchestrator.guest.facts import Facts
from orchestrator.guest.qemu import Memory
from orchestrator.guest.ssh import SshLost
from orchestrator.host import memory, process
from orchestrator.host.cache.files import Cache
from orchestrator.judge.resumed import joined, workloads_done
from orchestrator.model.errors import Ended, HostError, Interrupted
from orchestrator.model.evidence import CrashReport, GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.kernel import BuildResult, ConfigMismatch
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord
from orchestrator.model.signs import Signs
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, ShapeSpec, WorkloadSpec
from orchestrator.runner import crash
from orchestrator.runner.cell import run_cell
from orchestrator.runner.context import Context, Event, Machine, RunValues, Spare, no_cores
from orchestrator.runner.standing import standing
from orchestrator.workload import programs, watch

TOKEN = "f00d"
KERNEL = KernelSpec("k", "path:x")
WARNING = (
    "[    2.000000][    T1] ------------[ cut here ]------------\n"
    "[    2.000000][    T1] WARNING: CPU: 0 PID: 1 at mm/userfaultfd.c:12 move_pages+0x1/0x2\n"
    "[    2.000000][    T1] Call Trace:\n[    2.000000][    T1]  move_pages+0x1/0x2\n"
    "[    2.000000][    T1] ---[ end trace 0000000000000000 ]---\n"
)
PANIC = "[    3.000000][    T9] Kernel panic - not syncing: oops\n"
PASSES = "KTAP version 1\n1..1\nok 1 case\n"
SAMPLES = (
    '{"phase":"before","t":0}\n{"t":0.1,"RssAnon":1}\n{"phase":"after","t":1}\n'
    '{"phase":"exit","status":0,"signal":0,"seconds":1,"page_size":4096,"cpus":2,"maxrss":1}\n'
)


def work(name: str, **more: Any) -> WorkloadSpec:
    fields: dict[str, Any] = {"args": (), "timeout": 10.0, **more}
    return WorkloadSpec(
        name=f"f/{name}", family="f", folder=Path("/f"), program=f"{name}.c", **fields
    )


class Play:
    """What each boot and each workload will come to, and what was seen of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boots: list[Any] = []  # exceptions; nothing left: it boots
        self.pushes: list[Exception] = []
        self.outcomes: dict[str, list[Any]] = {}
        self.between = ""
        self.dotconfig = "CONFIG_A=y\n# CONFIG_B is not set\n"
        self.facts = Facts(
            "CONFIG_A=y\n", frozenset({"swap"}), 4096, "6.12.1", nodes=1, cpus=2, memory_mib=1023.0
        )
        self.ran: list[str] = []
        self.requests: list[GuestRequest] = []
        self.copies: list[Exception | None] = []
        self.last_words = ""  # of a copy that does not come to life
        self.examined: list[tuple[str, tuple[str, ...]]] = []

    @contextlib.contextmanager
    def booted(
        self,
        request: GuestRequest,
        on_progress: Callable[[str], None] = lambda _: None,
        on_lost: Callable[[Any], None] = lambda _: None,
    ) -> Iterator[PlayedGuest]:
        self.requests.append(request)
        boot = self.boots.pop(0) if self.boots else ""
        request.console.write_text("[    0.100000][    T0] Linux version 6.12.1\n")
        if isinstance(boot, tuple):
            request.console.write_text(boot[1])
            on_lost("qemu")
            raise boot[0]
        if isinstance(boot, Exception):
            raise boot
        yield PlayedGuest(request)

    def examine(self, lost: crash.Lost) -> CrashReport:
        self.examined.append((lost.folder.name, tuple(hit.kind for hit in lost.hits)))
        return CrashReport({"Registers": lost.folder.name}, "no types", (), 0, 1.0)

    def push(self, machine: PlayedGuest, archive: Path) -> None:
        if self.pushes:
            raise self.pushes.pop(0)

    def run_workload(
        self,
        machine: PlayedGuest,
        spec: WorkloadSpec,
        token: str,
        tell: Callable[[str], None],
        on_lost: Callable[[], None],
        symbols: Callable[[], Symbols],
    ) -> WorkloadEvidence:
        self.ran.append(spec.name)
        assert symbols() == Symbols((), ())  # these builds have no vmlinux
        outcome = (self.outcomes.get(spec.name) or [{}]).pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        inside = outcome.pop("inside", "")
        spoils = outcome.pop("spoils", "")
        samples = SAMPLES.replace('"maxrss":1}', f'"maxrss":1,"changed":"{spoils}"}}')
        lost = outcome.get("guest", GuestEnd.ALIVE) is not GuestEnd.ALIVE
        with machine.request.console.open("a") as console:
            console.write(f"[    1.000000][   T50] lab-mark {token} begin {spec.name}\n{inside}")
            if not lost:
                console.write(f"[    2.500000][   T50] lab-mark {token} end {spec.name}\n")
            console.write(self.between)
        hung = outcome.get("stuck") is not None
        if lost or hung or outcome.get("timed_out"):
            on_lost()
        fields = {
            "stdout": PASSES, "stderr": samples, "exit_status": None if lost or hung else 0,
            "timed_out": False, "seconds": 1.0, "guest": GuestEnd.ALIVE, "console": inside,
            "console_complete": not lost,
        }  # fmt: skip
        return WorkloadEvidence(workload=spec, **fields | outcome)  # type: ignore[arg-type]


class PlayedGuest:
    def __init__(self, request: GuestRequest) -> None:
        self.request = request
        self.boot_seconds = 1.5
        self.restore_seconds = 0.0
        self.qemu = SimpleNamespace(alive=lambda: True)

    def console_size(self) -> int:
        return self.request.console.stat().st_size

    def console_bytes(self, start: int = 0) -> bytes:
        return self.request.console.read_bytes()[start:]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    made = Play(tmp_path)
    monkeypatch.setattr(accel, "choose", lambda arch, cache: Accelerator("tcg", "no KVM"))
    monkeypatch.setattr(root, "ensure_root", lambda arch, cache: tmp_path / "root.ext2")
    monkeypatch.setattr(guest, "booted", made.booted)
    monkeypatch.setattr(facts, "read_facts", lambda machine: made.facts)
    monkeypatch.setattr(programs, "library_folder", lambda workloads: tmp_path)
    monkeypatch.setattr(programs, "compile_all", lambda *_: {})
    monkeypatch.setattr(crash, "examine", made.examine)
    monkeypatch.setattr(programs, "pack", lambda *_: tmp_path / "archive")
    monkeypatch.setattr(watch, "push", made.push)
    monkeypatch.setattr(watch, "run_workload", made.run_workload)
    return made


def ready(play: Play, *workloads: WorkloadSpec) -> tuple[Cell, BuildResult, Context]:
    """A cell with its build, and where it runs."""
    build = Build("k/c/x86_64", KERNEL, ConfigSpec("c"), "x86_64")
    cell = Cell("k/c/x86_64/s", build, ShapeSpec("s"), workloads)
    dotconfig = play.folder / "dotconfig"
    dotconfig.write_text(play.dotconfig)
    built = BuildResult(
        build, Verdict.PASS, "", 1.0, False, image=play.folder / "image", kernel_config=dotconfig
    )
    machine = Machine(Cache(play.folder / "cache"), play.folder / "run", play.folder)
    return cell, built, Context(RunValues("20260101-000000", 2, token=TOKEN), machine)


def go(
    play: Play,
    *workloads: WorkloadSpec,
    shape: ShapeSpec | None = None,
    config: ConfigSpec | None = None,
    mismatches: tuple[ConfigMismatch, ...] = (),
    events: list[Event] | None = None,
    fresh: bool = False,
    bare: bool = False,
    spare: Any = no_cores,
) -> CellRecord:
    build = Build("k/c/x86_64", KERNEL, config or ConfigSpec("c"), "x86_64")
    cell = Cell(
        "k/c/x86_64/s",
        build,
        shape or ShapeSpec("s"),
        () if bare else workloads or (work("a"), work("b")),
        fresh_guests=fresh,
    )
    dotconfig = play.folder / "dotconfig"
    dotconfig.write_text(play.dotconfig)
    built = BuildResult(
        build, Verdict.PASS, "", 1.0, False, image=play.folder / "image", kernel_config=dotconfig,
        mismatches=mismatches,
    )  # fmt: skip
    context = Context(
        RunValues("20260101-000000", 2, token=TOKEN),
        Machine(Cache(play.folder / "cache"), play.folder / "run", play.folder, spare),
        events.append if events is not None else lambda _: None,
    )
    return run_cell(cell, built, context)


def spare_of(cores: int) -> Spare:
    """So many cores to spare, as an engine gives them."""
    lock, free = threading.Lock(), [cores]

    @contextlib.contextmanager
    def spare(wanted: int) -> Iterator[bool]:
        with lock:
            got = free[0] >= wanted
            free[0] -= wanted * got
        yield got
        with lock:
            free[0] += wanted * got

    return spare


def told(record: CellRecord) -> dict[str, str]:
    return {case.id.partition(":")[2]: case.verdict.value for case in record.cases}


def find(record: CellRecord, name: str) -> CaseResult:
    return next(case for case in record.cases if case.id.endswith(f":{name}"))


def test_all_goes_well(play: Play) -> None:
    events: list[Event] = []
    record = go(play, events=events)
    assert record.verdict is Verdict.PASS
    assert play.ran == ["f/a", "f/b"]
    assert len(play.requests) == 1
    cases = told(record)
    for name in ("boot:boot", "config:config", "f/a:case", "f/b:case", "boot:kernel-log"):
        assert cases[name] == "pass"
    assert record.boot_seconds == 1.5
    assert record.accelerator == "tcg"
    assert record.notes == ("emulated (TCG): no KVM",)
    folder = play.folder / "run" / "cells/k__c__x86_64__s"
    assert record.console_log == "cells/k__c__x86_64__s/console.log"
    assert {path.name for path in folder.iterdir()} == {
        "config", "console.log", "qemu-command.txt", "f__a.ktap", "f__a.samples", "f__b.ktap",
        "f__b.samples",
    }  # fmt: skip
    assert shlex.split(record.qemu_command)[0] == "qemu-system-x86_64"
    assert (folder / "qemu-command.txt").read_text() == record.qemu_command + "\n"
    assert find(record, "f/a:case").rerun == "lab rerun 20260101-000000 k/c/x86_64/s:f/a:case"
    told_cases = [event.id for event in events if event.kind == "case"]
    assert sorted(told_cases) == sorted(case.id for case in record.cases)
    workloads = list(dict.fromkeys(case.workload for case in record.cases))
    assert workloads == ["boot", "config", "f/a", "f/b"], "in the plan's order, the lab's own first"
    assert not (play.folder / "cache" / "tmp").exists() or not list(
        (play.folder / "cache" / "tmp").iterdir()
    )


def test_without_workloads_it_boots_all_the_same(play: Play) -> None:
    record = go(play, bare=True, fresh=True)
    assert record.verdict is Verdict.PASS
    assert {"boot:boot": "pass", "config:config": "pass"}.items() <= told(record).items()
    assert (len(play.requests), play.ran) == (1, [])
    play.boots = [BootFailed(GuestEnd.SILENT, "silent", 9.0)]
    again = go(play, bare=True)
    assert again.verdict is Verdict.PASS
    assert any("the first boot was repeated" in note for note in again.notes)
    play.pushes = [SshLost("gone")]
    assert go(play, bare=True).verdict is Verdict.PASS  # its kernel has booted, and was looked at


def test_a_guests_case_name_does_not_reach_the_users_shell(play: Play) -> None:
    name = "x'; touch owned; echo '$(id)"
    play.outcomes["f/a"] = [{"stdout": f"KTAP version 1\n1..1\nok 1 {name}\n"}]
    record = go(play)
    (case,) = [c for c in record.cases if "touch" in c.id]
    assert shlex.split(case.rerun) == ["lab", "rerun", "20260101-000000", case.id]
    own = RunValues("r", 1)
    assert own.rerun == "lab rerun r {case}"


def test_a_panic_costs_one_workload(play: Play) -> None:
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC, "stdout": ""}]
    record = go(play)
    assert play.ran == ["f/a", "f/b"]
    assert len(play.requests) == 2
    assert record.verdict is Verdict.FAIL
    assert find(record, "f/a:kernel-log").verdict is Verdict.FAIL
    assert "Kernel panic" in find(record, "f/a:kernel-log").reason
    assert find(record, "f/b:case").verdict is Verdict.PASS
    # Its words belong to its window, and to nothing else.
    assert find(record, "boot:kernel-log").verdict is Verdict.PASS
    assert any("fresh guest" in note for note in record.notes)
    assert play.requests[1].console.name == "console-2.log"


def test_a_guest_lost_without_a_report_is_tried_once_more(play: Play) -> None:
    lost = {"guest": GuestEnd.SSH_LOST, "stdout": "", "stderr": ""}
    play.outcomes["f/a"] = [dict(lost)]
    record = go(play)
    assert play.ran == ["f/a", "f/a", "f/b"]
    assert record.verdict is Verdict.PASS
    assert any("f/a was repeated" in note for note in record.notes)

    play.ran.clear()
    play.outcomes["f/a"] = [dict(lost), dict(lost)]
    record = go(play)
    assert play.ran == ["f/a", "f/a", "f/b"]
    assert record.verdict is Verdict.ERROR
    assert find(record, "f/a:guest").verdict is Verdict.ERROR
    assert find(record, "f/b:case").verdict is Verdict.PASS


def test_a_guest_that_takes_no_command_is_tried_once_more(play: Play) -> None:
    play.outcomes["f/a"] = [
        {"guest": GuestEnd.SSH_LOST, "stdout": "", "stderr": "", "host_problem": "no command"}
    ]
    record = go(play)
    assert play.ran == ["f/a", "f/a", "f/b"]
    assert record.verdict is Verdict.PASS


@pytest.mark.parametrize(
    "more", [{"inside": WARNING}, {"stdout": "KTAP version 1\n1..2\nnot ok 1 case\n"}]
)
@pytest.mark.parametrize("problem", ["no command", ""])
def test_a_fail_of_a_lost_guest_is_kept_and_not_repeated(
    play: Play, more: dict[str, str], problem: str
) -> None:
    lost = {"guest": GuestEnd.SSH_LOST, "stdout": "", "stderr": "", "host_problem": problem}
    play.outcomes["f/a"] = [lost | more]
    record = go(play)
    assert play.ran == ["f/a", "f/b"]
    assert record.verdict is Verdict.FAIL
    name = "f/a:kernel-log" if "inside" in more else "f/a:case"
    assert find(record, name).verdict is Verdict.FAIL
    assert find(record, "f/b:case").verdict is Verdict.PASS


def test_what_hangs_leaves_the_rest_a_fresh_guest(play: Play) -> None:
    play.outcomes["f/a"] = [{"timed_out": True, "exit_status": None}]
    record = go(play)
    assert len(play.requests) == 2
    assert find(record, "f/a:hang").verdict is Verdict.FAIL
    assert find(record, "f/b:case").verdict is Verdict.PASS


def test_reports_outside_the_windows_count(play: Play) -> None:
    # Printed after a workload's end mark, before the next one begins: a late check of an mm.
    play.between = WARNING
    record = go(play)
    found = find(record, "boot:kernel-log")
    assert found.verdict is Verdict.FAIL
    assert "outside the workloads" in found.reason
    assert len(found.hits) == 2
    lines = play.requests[0].console.read_text().splitlines()
    for hit in found.hits:
        assert "cut here" in lines[hit.line - 1]
    assert find(record, "f/a:kernel-log").verdict is Verdict.PASS


def test_a_boot_that_panics(play: Play) -> None:
    console = "[    0.100000][    T0] Linux version 6.12.1\n" + PANIC
    play.boots = [(BootFailed(GuestEnd.PANIC, "the kernel panicked", 3.0), console)]
    record = go(play)
    assert record.verdict is Verdict.FAIL
    case = find(record, "boot:boot")
    assert case.verdict is Verdict.FAIL
    assert "the kernel panicked; Kernel panic" in case.reason
    assert case.hits
    assert told(record)["f/a:guest"] == "skip"
    assert play.ran == []
    assert shlex.split(record.qemu_command)


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (GuestEnd.SILENT, Verdict.FAIL),
        (GuestEnd.SSH_LOST, Verdict.ERROR),
        (GuestEnd.QEMU_DIED, Verdict.ERROR),
    ],
)
def test_a_silent_boot_is_tried_once_more(play: Play, end: GuestEnd, verdict: Verdict) -> None:
    failed = (BootFailed(end, "no login within 240 s", 240.0), "")
    play.boots = [failed]
    record = go(play)
    assert record.verdict is Verdict.PASS
    assert any("repeated" in note for note in record.notes)

    play.boots = [failed, failed]
    record = go(play)
    assert record.verdict is verdict
    assert find(record, "boot:boot").verdict is verdict
    assert len(play.requests) == 4


def test_a_guest_lost_before_the_first_workload(play: Play) -> None:
    play.pushes = [SshLost("broke")]
    record = go(play)
    assert record.verdict is Verdict.PASS
    assert any("a boot was repeated" in note for note in record.notes)
    play.pushes = [SshLost("broke"), SshLost("broke")]
    record = go(play)
    assert record.verdict is Verdict.ERROR
    assert find(record, "boot:guest").verdict is Verdict.ERROR


def test_a_host_that_fails_at_once(play: Play) -> None:
    play.boots = [HostError("QEMU does not start")]
    with pytest.raises(HostError, match="QEMU does not start"):
        go(play)


def test_a_host_that_fails_later_takes_no_evidence_with_it(play: Play) -> None:
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC}]
    play.boots = ["", HostError("QEMU does not start")]
    record = go(play)
    assert find(record, "f/a:kernel-log").verdict is Verdict.FAIL
    assert find(record, "boot:host").reason == "QEMU does not start"
    assert find(record, "f/b:guest").verdict is Verdict.SKIP
    assert record.verdict is Verdict.FAIL


def test_needs_that_are_not_met(play: Play) -> None:
    record = go(play, work("a", needs=("numa",)), work("b", needs=("swap", "CONFIG_A")))
    assert play.ran == ["f/b"]
    case = find(record, "f/a:needs")
    assert (case.verdict, case.reason) == (Verdict.SKIP, "the guest has one NUMA node")


def test_needs_that_were_promised(play: Play) -> None:
    promise = ConfigSpec("c", provides=("numa", "uffd"))
    spec = work("a", needs=("numa",), exercises=("uffd",))
    record = go(play, spec, config=promise, shape=ShapeSpec("s", nodes=2))
    case = find(record, "f/a:needs")
    assert case.verdict is Verdict.FAIL
    assert case.reason == "skipped although provided: the guest has one NUMA node"


def test_a_promised_need_of_a_workload_that_exercises_nothing(play: Play) -> None:
    promise = ConfigSpec("c", provides=("ksm",))
    record = go(play, work("a", needs=("CONFIG_A", "ksm")), config=promise)
    assert play.ran == []
    assert find(record, "f/a:needs").verdict is Verdict.FAIL
    # Beside a promised need that is met, one that nobody promised is an honest skip.
    both = work("b", needs=("swap", "CONFIG_NO"))
    record = go(play, both, config=ConfigSpec("c", provides=("swap",)))
    assert find(record, "f/b:needs").verdict is Verdict.SKIP


def test_config_that_did_not_take(play: Play) -> None:
    missed = ConfigMismatch("THP", "y", "n", "thp.config:2", "needs HAVE_THP (mm/Kconfig)")
    play.facts = replace(play.facts, config="CONFIG_A=y\nCONFIG_NEW=y\n")
    record = go(play, mismatches=(missed,))
    case = find(record, "config:config")
    assert case.verdict is Verdict.FAIL
    assert case.reason == (
        "CONFIG_THP is n, asked for y (thp.config:2): needs HAVE_THP (mm/Kconfig); "
        "CONFIG_NEW is y in the running guest, n in .config"
    )


def test_guest_without_its_config(play: Play) -> None:
    play.facts = replace(play.facts, config="", page_size=16384)
    # What the workloads need is then looked up in .config.
    record = go(play, work("a", needs=("CONFIG_A",)))
    assert find(record, "config:config").verdict is Verdict.PASS
    assert find(record, "f/a:case").verdict is Verdict.PASS
    assert any("/proc/config.gz" in note for note in record.notes)
    assert record.page_size == 16384


def test_guest_that_should_have_shown_its_config(play: Play) -> None:
    play.dotconfig += "CONFIG_IKCONFIG_PROC=y\n"
    play.facts = replace(play.facts, config="")
    record = go(play)
    case = find(record, "config:config")
    assert case.verdict is Verdict.ERROR
    assert case.reason == "the guest showed no /proc/config.gz although IKCONFIG_PROC is on"
    missed = ConfigMismatch("THP", "y", "n", "thp.config:2")
    assert find(go(play, mismatches=(missed,)), "config:config").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("config", "facts", "provides", "verdict", "reason"),
    [
        ("CONFIG_NUMA=y\nCONFIG_NUMA_EMU=y\n", {}, (), "fail", "1 NUMA nodes instead of 2"),
        ("", {}, (), "skip", "1 NUMA nodes instead of 2 (the kernel has no CONFIG_NUMA)"),
        ("", {}, ("numa",), "fail", "1 NUMA nodes instead of 2 (the kernel has no CONFIG_NUMA)"),
        ("", {"nodes": 2}, (), "pass", ""),
        ("", {"nodes": 2, "cpus": 0}, (), "error", "the guest did not tell its CPUs"),
    ],
)
def test_shape(
    play: Play, config: str, facts: dict[str, int], provides: tuple[str, ...], verdict: str,
    reason: str,
) -> None:  # fmt: skip
    play.dotconfig += config
    play.facts = replace(play.facts, config=f"CONFIG_A=y\n{config}", **facts)
    record = go(play, shape=ShapeSpec("s", nodes=2), config=ConfigSpec("c", provides=provides))
    case = find(record, "boot:shape")
    assert (case.verdict.value, case.reason) == (verdict, reason)


def test_a_shape_with_more_cpus_than_the_host(play: Play) -> None:
    play.facts = replace(play.facts, cpus=512)
    record = go(play, shape=ShapeSpec("s", cpus=512))
    assert any(note.startswith("512 CPUs on a host with ") for note in record.notes)


def test_a_full_disk_takes_no_verdict_with_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text

    def write(path: Path, *words: Any) -> int:
        if path.name == "f__a.ktap":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *words)

    monkeypatch.setattr(Path, "write_text", write)
    record = go(play)
    assert find(record, "f/a:case").verdict is Verdict.PASS
    assert "No space left" in find(record, "boot:host").reason
    assert find(record, "f/b:guest").reason == "not run: the host failed"
    assert "f/a:guest" not in told(record)
    assert record.verdict is Verdict.ERROR


def test_a_disk_that_is_full_from_the_start(play: Play) -> None:
    play.boots = [OSError(errno.ENOSPC, "No space left on device")]
    with pytest.raises(HostError, match="No space left"):
        go(play)


def test_every_id_is_unique(play: Play) -> None:
    play.between = WARNING
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC}]
    record = go(play)
    ids = [case.id for case in record.cases]
    assert len(set(ids)) == len(ids)


@pytest.fixture
def copies(play: Play, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Snapshots that are played too; the consoles of the copies that were made, by name."""
    made: list[str] = []

    @contextlib.contextmanager
    def memory_files(request: GuestRequest) -> Iterator[GuestRequest]:
        yield replace(request, memory=Memory((7,)))

    @contextlib.contextmanager
    def restored(kept: object, folder: Path, console: Path) -> Iterator[PlayedGuest]:
        console.write_text(play.last_words)
        assert folder.is_dir()
        assert kept == "kept"
        made.append(console.name)
        fate = play.copies.pop(0) if play.copies else None
        if fate:
            raise fate
        console.write_text("")
        machine = PlayedGuest(replace(play.requests[0], console=console))
        machine.restore_seconds = 0.5
        yield machine

    monkeypatch.setattr(snapshot, "memory_files", memory_files)
    monkeypatch.setattr(snapshot, "take", lambda machine: "kept")
    monkeypatch.setattr(snapshot, "restored", restored)
    return made


def test_a_lost_guest_is_examined_before_it_goes(play: Play) -> None:
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC}]
    record = go(play)
    assert play.examined == [("f__a", ("panic",))]
    told_in = [case.id.partition(":")[2] for case in record.cases if case.crash]
    assert told_in == ["f/a:kernel-log"]
    play.examined.clear()
    play.outcomes["f/a"] = [{"timed_out": True, "exit_status": None}]
    record = go(play)
    assert play.examined == [("f__a", ())], "a live guest in which a workload hangs is one too"
    assert find(record, "f/a:hang").crash is not None
    play.boots = [(BootFailed(GuestEnd.PANIC, "the kernel panicked", 3.0), PANIC)]
    assert find(go(play), "boot:boot").crash is not None


@pytest.mark.parametrize("end", [GuestEnd.ALIVE, GuestEnd.SILENT, GuestEnd.SSH_LOST])
def test_a_kernel_that_is_proved_to_hang_fails_at_once(play: Play, end: GuestEnd) -> None:
    """No second try, and the next workload has a guest of its own."""
    hit = Hit("endless loop in f", "endless-loop", "5e", 0, "look 1 of 5", fatal=True)
    play.outcomes["f/a"] = [{"guest": end, "stuck": hit}]
    record = go(play)
    case = find(record, "f/a:hang")
    assert (case.verdict, case.hits) == (Verdict.FAIL, (hit,))
    assert case.crash is not None
    assert play.ran == ["f/a", "f/b"]
    assert len(play.requests) == 2
    assert record.notes == tuple(note for note in record.notes if "repeated" not in note)


def test_a_kernel_that_hangs_twice_fails(play: Play) -> None:
    dead = {"guest": GuestEnd.SILENT, "hang": "its kernel does not react", "inside": ""}
    play.outcomes["f/a"] = [dict(dead), dict(dead)]
    record = go(play)
    case = find(record, "f/a:hang")
    assert case.verdict is Verdict.FAIL
    assert case.reason == "the kernel hung twice without a report (its kernel does not react)"
    assert told(record)["f/b:case"] == "pass"
    play.outcomes["f/a"] = [dict(dead)]
    assert go(play).verdict is Verdict.PASS, "once may be the host's doing"


def test_each_workload_gets_a_copy_of_the_guest(play: Play, copies: list[str]) -> None:
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC}]
    record = go(play, work("a"), work("b"), work("c", needs=("ksm",)), work("d"), fresh=True)
    assert play.ran == ["f/a", "f/b", "f/d"]
    assert len(play.requests) == 1, "the panic cost a copy and no boot"
    assert copies == ["console-f__a.log", "console-f__b.log", "console-f__d.log"]
    cases = told(record)
    assert cases["f/b:case"] == cases["f/d:case"] == "pass"
    assert cases["f/c:needs"] == "skip"
    where = "cells/k__c__x86_64__s"
    assert find(record, "f/a:kernel-log").console == f"{where}/console-f__a.log"
    assert find(record, "boot:boot").console == f"{where}/console.log"
    assert record.restore_seconds == 0.5
    assert not any("fresh guest was booted" in note for note in record.notes)


def test_copies_run_side_by_side_where_cores_are_free(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at a time of four with cores for two more; each with its own console."""
    together = threading.Barrier(3, timeout=10)
    run_workload = watch.run_workload
    left = itertools.count()

    def meet(*words: Any) -> WorkloadEvidence:
        if next(left) < 3:
            together.wait()
        return run_workload(*words)

    monkeypatch.setattr(watch, "run_workload", meet)
    names = [work(name) for name in "abcd"]
    record = go(play, *names, fresh=True, spare=spare_of(4))
    assert record.verdict is Verdict.PASS
    assert [c.id.split(":")[1] for c in record.cases if c.case == "case"] == [
        "f/a", "f/b", "f/c", "f/d",
    ]  # fmt: skip
    for case in record.cases:
        if case.case == "case":
            assert case.console.endswith(f"console-f__{case.workload[-1]}.log")


def test_no_more_copies_than_memory(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "SPARE_MIB", 1 << 30)
    running = threading.Lock()
    run_workload = watch.run_workload

    def alone(*words: Any) -> WorkloadEvidence:
        assert running.acquire(blocking=False), "two at a time"
        try:
            return run_workload(*words)
        finally:
            running.release()

    monkeypatch.setattr(watch, "run_workload", alone)
    assert go(play, fresh=True, spare=spare_of(64)).verdict is Verdict.PASS


def test_what_spoils_a_copy_harms_nobody(play: Play, copies: list[str]) -> None:
    play.outcomes["f/a"] = [{"spoils": "/proc/swaps "}]
    record = go(play, fresh=True)
    assert record.verdict is Verdict.PASS
    assert (len(play.requests), len(copies)) == (1, 2)


def test_a_copy_lost_without_a_report_is_tried_again(play: Play, copies: list[str]) -> None:
    play.outcomes["f/a"] = [{"guest": GuestEnd.SSH_LOST}]
    record = go(play, fresh=True)
    assert play.ran == ["f/a", "f/a", "f/b"]
    assert copies == ["console-f__a.log", "console-f__a-2.log", "console-f__b.log"]
    assert record.verdict is Verdict.PASS


def test_where_no_copy_comes_to_life_they_share_a_guest(play: Play, copies: list[str]) -> None:
    play.copies = [None, snapshot.RestoreFailed("QEMU said no")]
    record = go(play, work("a"), work("b"), work("c"), fresh=True)
    assert play.ran == ["f/a", "f/b", "f/c"]
    assert len(play.requests) == 2
    assert "the workloads share a guest: QEMU said no" in record.notes
    assert record.verdict is Verdict.PASS


def test_a_copy_that_oopses_before_its_login_is_a_hit(play: Play, copies: list[str]) -> None:
    play.copies = [snapshot.RestoreFailed("a copy died")]
    play.last_words = PANIC
    record = go(play, work("a"), work("b"), fresh=True)
    case = find(record, "boot:kernel-log-2")
    assert case.verdict is Verdict.FAIL
    assert [hit.kind for hit in case.hits] == ["panic"]
    assert play.ran == ["f/a", "f/b"], "and the workloads run in a guest that they share"


def test_where_no_snapshot_can_be_taken_they_share_a_guest(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(machine: object) -> None:
        raise HostError("no room")

    monkeypatch.setattr(snapshot, "take", take)
    record = go(play, fresh=True)
    assert play.ran == ["f/a", "f/b"]
    assert copies == []
    assert "the workloads share a guest: no room" in record.notes
    assert record.verdict is Verdict.PASS


def test_one_workload_needs_no_copy(play: Play, copies: list[str]) -> None:
    assert go(play, work("a"), fresh=True).verdict is Verdict.PASS
    assert copies == []


def test_what_a_workload_spoils_is_not_the_next_ones(play: Play) -> None:
    """One that switches swap off costs the others a boot, and fails none of them."""
    play.outcomes["f/a"] = [{"spoils": "/proc/swaps "}]
    record = go(play, work("a"), work("b"), work("c"))
    assert record.verdict is Verdict.PASS
    assert play.ran == ["f/a", "f/b", "f/c"]
    assert len(play.requests) == 2
    assert any("it left changed: /proc/swaps" in note for note in record.notes)


def test_a_standing_guest_gives_each_trial_a_copy(play: Play, copies: list[str]) -> None:
    play.outcomes["f/a"] = [{}, {"stdout": PASSES.replace("ok 1", "not ok 1")}, {}]
    cell, built, context = ready(play, work("a"), work("needs-ksm", needs=("ksm",)))
    with standing(cell, built, context) as once:
        found = []
        for number in range(3):
            machine = replace(context.machine, folder=play.folder / f"trial-{number}")
            found.append(once(cell.workloads[0], replace(context, machine=machine)))
        assert [c.case for c in once(cell.workloads[1], context)] == ["needs"]
    verdicts = [next(c.verdict for c in cases if c.case == "case") for cases in found]
    assert verdicts == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]
    assert len(play.requests) == 1
    assert copies == ["console-f__a.log"] * 3
    assert (play.folder / "trial-1/cells/k__c__x86_64__s/console-f__a.log").is_file()


def test_a_guest_lost_in_a_trial_is_tried_once_more(play: Play, copies: list[str]) -> None:
    dead = {"guest": GuestEnd.SILENT, "hang": "its kernel does not react", "inside": ""}
    play.outcomes["f/a"] = [dict(dead), dict(dead)]
    cell, built, context = ready(play, work("a"))
    with standing(cell, built, context) as once:
        cases = once(cell.workloads[0], context)
    assert [c.verdict for c in cases if c.case == "hang"] == [Verdict.FAIL]
    assert len(copies) == 2


def test_a_standing_guest_that_does_not_boot_is_the_hosts_trouble_here(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, built, context = ready(play, work("a"))
    play.boots = [BootFailed(GuestEnd.SILENT, "the guest fell silent", 3.0)]
    with (
        pytest.raises(HostError, match="did not come up again: the guest fell silent"),
        standing(cell, built, context),
    ):
        pass
    monkeypatch.setattr("orchestrator.runner.standing.memory_for", lambda mib: False)
    with (
        pytest.raises(HostError, match="no memory for another guest of 1024 MiB"),
        standing(cell, built, context),
    ):
        pass


# ---------------------------------------------------------------- ended at a failure


FAILS = {"stdout": "KTAP version 1\n1..1\nnot ok 1 case\n"}


def until_a_failure(
    play: Play, *workloads: WorkloadSpec, fresh: bool = False, done: tuple[str, ...] = (),
    spare: Spare = no_cores,
) -> CellRecord:  # fmt: skip
    """A cell that ends at its first failing case, as a run with --fail-fast ends it."""
    cell, built, context = ready(play, *workloads)
    ending = threading.Event()

    def listen(event: Event) -> None:
        if event.kind == "case" and event.verdict is Verdict.FAIL:
            ending.set()

    context = replace(context, machine=replace(context.machine, spare=spare))
    cell = replace(cell, fresh_guests=fresh, done=done)
    return run_cell(cell, built, context.ended_by(ending, listen))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_cell_ends_at_a_failure_with_its_evidence(
    play: Play, copies: list[str], fresh: bool
) -> None:
    play.outcomes["f/b"] = [{"inside": WARNING} | FAILS]
    record = until_a_failure(play, work("a"), work("b"), work("c"), work("d"), fresh=fresh)
    assert play.ran == ["f/a", "f/b"]
    cases = told(record)
    assert (cases["f/a:case"], cases["f/b:case"], cases["f/b:kernel-log"]) == (
        "pass", "fail", "fail",
    )  # fmt: skip
    assert cases["boot:kernel-log"] == "pass", "what lies outside the windows is judged too"
    for name in ("f/c:not-run", "f/d:not-run"):
        assert find(record, name).verdict is Verdict.SKIP
        assert find(record, name).reason == "not run: ended at the first failure"
    assert record.verdict is Verdict.FAIL
    folder = play.folder / "run" / "cells/k__c__x86_64__s"
    assert "not ok 1" in (folder / "f__b.ktap").read_text()


def test_what_runs_beside_the_failure_is_ended(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy is given up in the middle: it is neither a pass nor a failure."""
    together = threading.Barrier(2, timeout=10)
    run_workload = watch.run_workload

    def meet(machine: Any, spec: WorkloadSpec, *words: Any) -> WorkloadEvidence:
        together.wait()
        while spec.name != "f/a":
            process.sleep(0.01)
        return run_workload(machine, spec, *words)

    monkeypatch.setattr(watch, "run_workload", meet)
    play.outcomes["f/a"] = [dict(FAILS)]
    record = until_a_failure(play, *map(work, "abc"), fresh=True, spare=spare_of(2))
    assert play.ran == ["f/a"]
    cases = told(record)
    assert (cases["f/b:not-run"], cases["f/c:not-run"]) == ("skip", "skip")


def test_a_cell_that_is_ended_by_another_keeps_what_it_knows(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, built, context = ready(play, work("a"), work("b"), work("c"))
    ending = threading.Event()
    run_workload = watch.run_workload

    def then(machine: Any, spec: WorkloadSpec, *words: Any) -> WorkloadEvidence:
        if spec.name == "f/b":
            ending.set()
            process.sleep(0)
        return run_workload(machine, spec, *words)

    monkeypatch.setattr(watch, "run_workload", then)
    record = run_cell(cell, built, context.ended_by(ending, lambda _: None))
    cases = told(record)
    assert (cases["f/a:case"], cases["f/b:not-run"], cases["f/c:not-run"]) == (
        "pass", "skip", "skip",
    )  # fmt: skip
    assert record.verdict is Verdict.SKIP, "a part of a cell is no pass"
    assert cases["boot:kernel-log"] == "pass", "what was printed by then is judged"
    with pytest.raises(Ended):
        run_cell(cell, built, context.ended_by(ending, lambda _: None))


@pytest.mark.parametrize("fresh", [False, True])
def test_what_was_found_before_an_interruption_stays_found(
    play: Play, copies: list[str], monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    cell, built, context = ready(play, work("a"), work("b"), work("c"))
    run_workload = watch.run_workload
    stops_at = "f/b"

    def stopped(machine: Any, spec: WorkloadSpec, *words: Any) -> WorkloadEvidence:
        if spec.name == stops_at:
            raise Interrupted("interrupted")
        return run_workload(machine, spec, *words)

    monkeypatch.setattr(watch, "run_workload", stopped)
    play.outcomes["f/a"] = [dict(FAILS)]
    record = run_cell(replace(cell, fresh_guests=fresh), built, context)
    cases = told(record)
    assert (cases["f/a:case"], cases["f/b:not-run"], cases["f/c:not-run"]) == (
        "fail", "skip", "skip",
    )  # fmt: skip
    assert find(record, "f/b:not-run").reason == "not run: interrupted"
    assert record.verdict is Verdict.FAIL
    stops_at = "f/a"
    with pytest.raises(Interrupted):  # a boot alone is nothing
        run_cell(replace(cell, fresh_guests=fresh), built, context)


def test_a_crash_is_examined_although_the_run_ends(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, built, context = ready(play, work("a"), work("b"))
    ending = threading.Event()

    def examine(lost: crash.Lost) -> CrashReport:
        ending.set()  # another cell has failed meanwhile
        process.sleep(0)
        return play.examine(lost)

    monkeypatch.setattr(crash, "examine", examine)
    play.outcomes["f/a"] = [{"guest": GuestEnd.PANIC, "inside": PANIC}]
    record = run_cell(cell, built, context.ended_by(ending, lambda _: None))
    assert not any("fresh guest was booted" in note for note in record.notes)
    assert find(record, "f/a:kernel-log").crash is not None
    assert find(record, "f/b:not-run").verdict is Verdict.SKIP


def test_the_rest_of_a_cell_keeps_the_logs_of_what_was_run(play: Play) -> None:
    play.outcomes["f/a"] = [{"inside": WARNING} | FAILS]
    works = (work("a"), work("b"))
    first = until_a_failure(play, *works)
    folder = play.folder / "run" / "cells/k__c__x86_64__s"
    before = (folder / "console.log").read_bytes()
    rest = until_a_failure(play, *works, done=workloads_done(first))
    assert play.ran == ["f/a", "f/b"]
    assert play.requests[-1].console.name == "console-2.log"
    assert (folder / "console.log").read_bytes() == before
    whole = joined(first, rest, [spec.name for spec in works])
    assert told(whole)["f/a:case"] == "fail"
    assert told(whole)["f/b:case"] == "pass"
    assert "f/b:not-run" not in told(whole)


# ---------------------------------------------------------------- in turn


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_likeliest_to_fail_runs_first_and_is_told_in_its_place(
    play: Play, copies: list[str], fresh: bool
) -> None:
    cell, built, context = ready(play, *map(work, "abc"))
    signs = (
        ("f/a", Signs(runs=1, seconds=9.0)), ("f/b", Signs(runs=1, seconds=1.0)),
        ("f/c", Signs(failed=True, found=1, runs=1, seconds=5.0)),
    )  # fmt: skip
    plain = run_cell(replace(cell, fresh_guests=fresh), built, context)
    play.ran.clear()
    record = run_cell(replace(cell, fresh_guests=fresh, signs=signs), built, context)
    assert play.ran == ["f/c", "f/b", "f/a"]
    assert [(c.id, c.verdict) for c in record.cases] == [(c.id, c.verdict) for c in plain.cases]
