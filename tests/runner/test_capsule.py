# SPDX-License-Identifier: GPL-2.0-only
"""Capsules: what is left in them, and their script, played with a QEMU and an ssh of our own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.evidence.klog import parse as klog
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import Hit, LedgerStep
from orchestrator.model.finds import Find
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner import capsule

IMAGE = b"a kernel"
LINE = "BUG: Bad rss-counter state mm:00000000c3a1b7d2 type:MM_ANONPAGES val:64"
HIT = Hit("BUG: Bad rss-counter state type:MM_ANONPAGES", "bad-rss-counter", "s", 1, LINE)
SPEC = WorkloadSpec(
    "mem/move", "mem", Path("/nowhere/mem"), "move.c", ("a b",), timeout=10.0,
    invariants=("counter-equals-walk",),
)  # fmt: skip


def cell(arch: str = "x86_64", *specs: WorkloadSpec, shape: ShapeSpec | None = None) -> Cell:
    shape = shape or ShapeSpec("small", swap_disk_mib=64)
    build = Build(f"cli/default/{arch}", KernelSpec("cli", "tar:/x"), ConfigSpec("default"), arch)
    return Cell(f"{build.id}/{shape.name}", build, shape, specs or (SPEC,))


def failing(name: str = "mem/move", case: str = "kernel-log", **more: object) -> CaseResult:
    result = CaseResult(f"x:{name}:{case}", name, case, Verdict.FAIL, "why", hits=(HIT,))
    return replace(result, **more)  # type: ignore[arg-type]


def run_of(where: Cell, *cases: CaseResult, accelerator: str = "tcg") -> RunResult:
    sha = hashlib.sha256(IMAGE).hexdigest()
    build = where.build
    built = BuildRecord(build.id, "cli", "default", build.arch, Verdict.PASS, "", 1.0, True, sha)
    record = CellRecord(
        where.id, "cli", "default", build.arch, where.shape.name, accelerator, Verdict.FAIL, 4.0,
        cases, kernel_config="cells/x/config",
    )  # fmt: skip
    info = RunInfo("r1", "", "x", "lab run", 1, "0", "smoke")
    kernel = KernelRecord("cli", "tar:/x", "6.12.0")
    return RunResult(info, (kernel,), (built,), (record,), Summary(0, 1, 0, 0))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    kept = cache / "builds" / "one"
    kept.mkdir(parents=True)
    (kept / "image").write_bytes(IMAGE)
    (kept / "config").write_text("")
    sha = hashlib.sha256(IMAGE).hexdigest()
    (kept / "build.json").write_text(
        json.dumps({"image_sha256": sha, "command": "", "mismatches": [], "warnings": []})
    )
    root, program = cache / "root.ext2", cache / "program"
    root.write_bytes(b"\0" * (2 << 20) + b"x")
    program.write_text("ELF")
    monkeypatch.setattr(capsule, "ensure_root", lambda *_: root)
    monkeypatch.setattr(capsule.programs, "library_folder", lambda _: cache)
    monkeypatch.setattr(
        capsule.programs, "compile_all", lambda *_: {"sampler": program, "mem/move": program}
    )
    return cache


def leave(run: RunResult, where: Cell, folder: Path, cache: Path) -> RunResult:
    return capsule.leave_capsules(Plan("p", (where.build,), (where,)), run, folder, Cache(cache))


def one(tmp_path: Path, cache: Path, *cases: CaseResult, where: Cell | None = None) -> Path:
    where = where or cell()
    leave(run_of(where, *(cases or (failing(),))), where, tmp_path / "run", cache)
    (script,) = capsule.capsules(tmp_path / "run")
    return script.parent


# ---------------------------------------------------------------- what is in it


def test_a_capsule_holds_all_it_takes(tmp_path: Path, cache: Path) -> None:
    folder = one(tmp_path, cache)
    assert folder.name == "cli__default__x86_64__small__mem__move"
    assert (folder / "image").read_bytes() == IMAGE
    assert (folder / "image").samefile(cache / "builds/one/image")
    assert (folder / "workload/mem/move").read_text() == "ELF"
    assert os.access(folder / "workload/sampler", os.X_OK)
    assert stat.S_IMODE((folder / "id_ed25519").stat().st_mode) == 0o600
    assert (folder / "known_hosts").read_text().startswith("lab-guest ssh-ed25519 AAAA")
    assert "kernel-log: why" in (folder / "expected/reasons").read_text()
    assert LINE in (folder / "expected/reports").read_text()
    assert "mem/move" in (folder / "README").read_text()
    script = (folder / "repro.sh").read_text()
    assert str(tmp_path) not in script  # it may be moved anywhere
    assert "@" not in script.replace("$@", "")
    assert "shutdown=poweroff" in script


def test_a_find_is_shown_by_its_program(tmp_path: Path, cache: Path) -> None:
    find = Find("state", "munmap", "page 1 is present, expected none (entry 0)",
                ("0 mmap at=1 n=1 prot=rw how=private", "0 munmap at=1 n=1"))  # fmt: skip
    folder = one(tmp_path, cache, failing(case="state-munmap", find=find, hits=()))
    script = (folder / "repro.sh").read_text()
    assert "--program" in script
    assert "0 mmap at=1 n=1 prot=rw how=private;0 munmap at=1 n=1" in script
    assert "--case state-munmap" in script
    program = (folder / "finds" / "state-munmap.txt").read_text()
    assert program.endswith("0 munmap at=1 n=1\n")
    assert "Found on Linux 6.12.0" in (folder / "finds" / "state-munmap.c").read_text()
    assert "finds/" in named_in(folder)


def named_in(folder: Path) -> list[str]:
    listed = (folder / "README").read_text().partition("In this folder:")[2]
    return [line.split()[0] for line in listed.splitlines() if line]


def test_the_readme_names_what_lies_there_and_no_more(tmp_path: Path, cache: Path) -> None:
    folder = one(tmp_path, cache)
    here = {path.name + "/" * path.is_dir() for path in folder.iterdir()}
    assert set(named_in(folder)) == (here - {"README", "repro.sh", "known_hosts"}) | {"last/"}
    assert "modules" not in (folder / "README").read_text()
    (cache / "builds/one/modules.tar.xz").write_text("packed")
    boot = failing("boot", "boot")
    with_modules = one(tmp_path / "again", cache, boot)
    assert (with_modules / "modules.tar.xz").read_text() == "packed"
    assert "modules.tar.xz" in named_in(with_modules)
    assert "workload/" not in named_in(with_modules)


def test_no_failure_no_capsule(tmp_path: Path, cache: Path) -> None:
    where = cell()
    run = run_of(where, failing(verdict=Verdict.PASS), failing(verdict=Verdict.ERROR))
    assert leave(run, where, tmp_path, cache) == run
    assert not (tmp_path / "capsules").exists()


def test_there_are_only_so_many_the_clearest_first(tmp_path: Path, cache: Path) -> None:
    specs = tuple(replace(SPEC, name=f"mem/w{n}") for n in range(capsule.MOST + 2))
    where = cell("x86_64", *specs)
    cases = [failing(spec.name, "counters", hits=()) for spec in specs[:-1]]
    cases.append(failing(specs[-1].name))
    run = leave(run_of(where, *cases), where, tmp_path, cache)
    left = capsule.capsules(tmp_path)
    assert len(left) == capsule.MOST
    assert any(script.parent.name.endswith(f"w{capsule.MOST + 1}") for script in left)
    notes = run.cells[0].notes
    names = ", ".join(spec.name for spec in specs[capsule.MOST - 1 : -1])
    assert notes[-1] == f"a run has {capsule.MOST} capsules: none for {names}"
    again = leave(run, where, tmp_path, cache)  # a run that is resumed
    assert again.cells[0].notes == notes


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), HostError("no root")])
def test_what_goes_wrong_is_a_note(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(capsule, "ensure_root", fails)
    where = cell()
    run = leave(run_of(where, failing()), where, tmp_path, cache)
    (note,) = run.cells[0].notes
    assert note.startswith("no capsule for mem/move: ")
    assert not list((tmp_path / "capsules").iterdir())


def test_a_kernel_that_was_trimmed_is_told(tmp_path: Path, cache: Path) -> None:
    shutil.rmtree(cache / "builds")
    where = cell()
    run = leave(run_of(where, failing()), where, tmp_path, cache)
    assert run.cells[0].notes == ("no capsule for mem/move: its kernel is no longer in the cache",)


def test_where_nothing_can_be_linked_there_is_one_copy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def only_within_the_run(source: Path, target: Path) -> None:
        if Path(source).is_relative_to(cache):
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", only_within_the_run)
    specs = (SPEC, replace(SPEC, name="mem/other"))
    where = cell("x86_64", *specs)
    leave(run_of(where, failing(), failing("mem/other")), where, tmp_path, cache)
    first, second = (script.parent / "root.ext2" for script in capsule.capsules(tmp_path))
    assert first.samefile(second)
    assert first.read_bytes() == (cache / "root.ext2").read_bytes()
    assert first.stat().st_blocks * 512 < 1 << 20  # its holes stay holes
    assert not first.samefile(cache / "root.ext2")


def test_what_a_guest_says_steers_neither_terminal_nor_shell(tmp_path: Path, cache: Path) -> None:
    evil = "\x1b]0;owned\x07$(touch /tmp/owned)`id`'\"\\"
    hit = replace(HIT, title=f"BUG: {evil}", text=f"BUG: {evil}\x00")
    folder = one(tmp_path, cache, failing(reason=evil, case=evil, hits=(hit,)))
    for path in (folder / "README", folder / "repro.sh", *(folder / "expected").iterdir()):
        text = path.read_text("ascii")
        assert "\x1b" not in text, path
        assert "\x00" not in text, path
    assert "owned" not in (folder / "repro.sh").read_text()


@pytest.mark.parametrize("arch", sorted(ARCHES))
@pytest.mark.parametrize("spec", [SPEC, None])
def test_the_script_is_a_posix_shells(
    tmp_path: Path, cache: Path, arch: str, spec: WorkloadSpec | None
) -> None:
    cases = (failing(),) if spec else (failing("boot", "boot"),)
    script = one(tmp_path, cache, *cases, where=cell(arch)) / "repro.sh"
    for shell in ("sh", "bash", "dash"):
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(script)], check=True, timeout=10)
    if shutil.which("shellcheck"):
        done = subprocess.run(
            ["shellcheck", "-s", "sh", str(script)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- what is searched for


@pytest.mark.parametrize(
    ("text", "title", "same", "other"),
    [
        (LINE, HIT.title, LINE.replace("c3a1b7d2", "0123abcd").replace("val:64", "val:-7"),
         LINE.replace("ANONPAGES", "SWAPENTS")),
        ("------------[ cut here ]------------\n"
         "WARNING: CPU: 1 PID: 213 at mm/userfaultfd.c:1187 move_swap_pte+0x1c4/0x2a0\n"
         "CPU: 1 UID: 0 PID: 213 Comm: ledger Not tainted 6.12.48+ #1",
         "WARNING at mm/userfaultfd.c in move_swap_pte",
         "WARNING: CPU: 0 PID: 9 at mm/userfaultfd.c:1187 move_swap_pte+0x1c4/0x2a0",
         "WARNING: CPU: 0 PID: 9 at mm/memory.c:1187 move_swap_pte+0x1c4/0x2a0"),
        ("page: refcount:1 mapcount:0 mapping:0000000000000000 index:0x7f pfn:0x1234\n"
         "raw: 0000 0000\npage dumped because: VM_BUG_ON_PAGE(x [y] (z))\n"
         "kernel BUG at mm/rmap.c:77!", "kernel BUG at mm/rmap.c",
         "[    5.1][   T80] kernel BUG at mm/rmap.c:77!", "kernel BUG at mm/vmscan.c:77!"),
    ],
)  # fmt: skip
def test_the_header_is_found_again_whatever_its_numbers(
    tmp_path: Path, text: str, title: str, same: str, other: str
) -> None:
    pattern = capsule.console_pattern(replace(HIT, title=title, text=text))
    (tmp_path / "patterns").write_text(pattern + "\n")

    def found(line: str) -> bool:
        argv = ["grep", "-aE", "-f", str(tmp_path / "patterns")]
        return subprocess.run(argv, input=line.encode(), capture_output=True).returncode == 0

    assert found(same)
    assert not found(other)


@pytest.mark.slow
def test_every_captured_report_has_a_pattern_that_finds_it(tmp_path: Path) -> None:
    """What the parser finds in a captured log, the script finds in the same log."""
    logs = sorted((HOME / "tests" / "data").rglob("*.log"))
    tried = 0
    for log in logs:
        for hit in list(klog.parse(log.read_bytes().splitlines(keepends=True)))[:3]:
            pattern = capsule.console_pattern(hit)
            if not pattern or hit.corrupted:
                continue
            (tmp_path / "patterns").write_text(pattern + "\n")
            argv = ["grep", "-qaE", "-f", str(tmp_path / "patterns"), str(log)]
            assert subprocess.run(argv).returncode == 0, f"{log}: {hit.title}: {pattern}"
            tried += 1
    assert tried >= 3


# ---------------------------------------------------------------- the script at work

QEMU = """#!/bin/sh
echo "$@" >"$PLAY/qemu-words"
case "$*" in *hostfwd=tcp:127.0.0.1:[0-9]*) ;; *) exit 9 ;; esac
if [ ! -e "$PLAY/tried" ] && [ "${TAKEN-}" ]; then
	: >"$PLAY/tried"
	echo "qemu: Could not set up host forwarding rule" >&2
	exit 1
fi
[ -s image ] && [ -s root.ext2 ] && [ -s seed.tar ] && [ -e swap.raw ] || exit 8
printf '%s\\n' "${BOOTS-[    0.1] lab: guest ready}" >console.log
[ -z "${DIES-}" ] || exit 0
trap 'exit 0' TERM
while :; do
	[ ! -e "$PLAY/ran" ] || [ -z "${PANICS-}" ] || { echo "$PANICS" >>console.log; exit 0; }
	sleep 0.1
done
"""
SSH = """#!/bin/sh
[ "$1 $2 $3" = "-F ssh.conf guest" ] || exit 255
[ -s key ] && [ -s known_hosts ] && grep -q "HostKeyAlias lab-guest" ssh.conf || exit 255
case "$4" in
*sampler*)
	echo "$4" >"$PLAY/command"
	cat "$PLAY/said"
	[ -z "${PRINTS-}" ] || echo "$PRINTS" >>console.log
	echo "[ 9.1] lab-mark repro end x" >>console.log
	: >"$PLAY/ran"
	[ -z "${PANICS-}" ] || { sleep 1; exit 255; }
	exit "${STATUS-0}" ;;
*tar*) cat >"$PLAY/pushed.tar" ;;
esac
"""


def play(folder: Path, tmp_path: Path, said: str = "ok 1 a\n", **env: str) -> tuple[int, str]:
    """Run the script of a capsule, moved to a folder with a space, from another folder."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("qemu-system-x86_64", QEMU), ("ssh", SSH)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "said").write_text(f"KTAP version 1\n1..1\n{said}")
    moved = tmp_path / "moved by me" / "a capsule"
    shutil.copytree(folder, moved)
    (moved / "id_ed25519").chmod(0o644)  # as unpacked from a zip file
    work = tmp_path / "work"
    work.mkdir()
    path = {"PATH": f"{tools}:/usr/bin:/bin", "PLAY": str(tmp_path), "TMPDIR": str(work)}
    done = subprocess.run(
        [str(moved / "repro.sh")], cwd="/", env={**path, **env}, timeout=60, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert not list(work.iterdir()), "nothing is left behind"
    return done.returncode, done.stdout


def test_it_did_not_fail_again(tmp_path: Path, cache: Path) -> None:
    folder = one(tmp_path, cache)
    status, said = play(folder, tmp_path, TAKEN="1")  # and the first port was taken
    assert status == 0, said
    assert said.endswith("did not fail again\n")
    assert (tmp_path / "tried").exists()
    names = subprocess.run(
        ["tar", "tf", str(tmp_path / "pushed.tar")], capture_output=True, text=True
    ).stdout
    assert "./mem/move" in names
    assert "./sampler" in names
    command = (tmp_path / "command").read_text().strip()
    assert command == (
        "cd /tmp/lab/mem && exec /tmp/lab/sampler -m repro -w mem/move -- /tmp/lab/mem/move 'a b'"
    )


LEDGER = (
    "# LEDGER step=s pid=9 rss_anon={} walk_anon=49 vm_swap=6 walk_swap=6 tolerance=2\nok 1 a\n"
)


@pytest.mark.parametrize(
    ("said", "env", "told", "status"),
    [
        ("not ok 1 a\n", {"STATUS": "1"}, "1 failed cases", 1),
        ("not ok 1 a # TODO later\n", {}, "did not fail again", 0),
        ("ok 1 a\n", {"PRINTS": f"[ 5.2][ T9] {LINE}"}, "the kernel reports", 1),
        ("ok 1 a\n", {"PANICS": "Kernel panic - not syncing: x"}, "the kernel panicked", 1),
        ("ok 1 a\n", {"PANICS": "nothing special"}, "the guest reset itself", 1),
        ("ok 1 a\n", {"STATUS": "139"}, "ended with status 139", 1),
        ("ok 1 a\n", {"STATUS": "255"}, "the connection to the guest broke", 3),
        ("", {}, "printed no case", 3),
        (LEDGER.format(49), {}, "did not fail again", 0),
        (LEDGER.format(51), {}, "did not fail again", 0),
        (LEDGER.format(40), {}, "s: RssAnon -9, VmSwap +0 pages off the page walk", 1),
    ],
)
def test_what_shows_again(
    tmp_path: Path, cache: Path, said: str, env: dict[str, str], told: str, status: int
) -> None:
    found, text = play(one(tmp_path, cache), tmp_path, said, **env)
    assert told in text
    assert found == status, text


def test_a_boot_that_fails(tmp_path: Path, cache: Path) -> None:
    folder = one(tmp_path, cache, failing("boot", "boot"))
    status, said = play(folder, tmp_path, BOOTS=f"[ 1.0] {LINE}", DIES="1")
    assert status == 1, said
    assert "the kernel reports" in said


def test_a_qemu_that_does_not_start_is_the_hosts_fault(tmp_path: Path, cache: Path) -> None:
    folder = one(tmp_path, cache)
    (folder / "seed.tar").write_bytes(b"")
    status, said = play(folder, tmp_path)
    assert status == 3, said
    assert "QEMU does not start" in said


def test_samples_are_not_judged_by_the_script(tmp_path: Path, cache: Path) -> None:
    """Growth of the whole system's memory is the lab's to judge: not seen is not passed."""
    steps = (LedgerStep("s", 9, 49, 49, 6, 6, 0),)
    folder = one(tmp_path, cache, failing(case="counters", hits=(), ledger=steps))
    status, said = play(folder, tmp_path)
    assert status == 3, said
    assert "the lab judged" in said


def test_a_kvm_guest_needs_kvm(tmp_path: Path, cache: Path) -> None:
    where = cell()
    leave(run_of(where, failing(), accelerator="kvm"), where, tmp_path, cache)
    (script,) = capsule.capsules(tmp_path)
    assert "[ -w /dev/kvm ]" in script.read_text()
    assert "-accel kvm" in script.read_text()
