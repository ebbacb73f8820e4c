# SPDX-License-Identifier: GPL-2.0-only
"""A crashed guest is examined as far as its kernel, its QEMU and the disk allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_run import good_run

from orchestrator import HOME
from orchestrator.evidence.vmcore import questions
from orchestrator.guest import dump, kdump
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import CrashReport
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.report import html
from orchestrator.runner import crash

ARCH = ARCHES["x86_64"]
REGISTERS = (HOME / "tests" / "data" / "dump" / "x86_64-registers.txt").read_text()
TYPES = "CONFIG_DEBUG_INFO=y\n# CONFIG_DEBUG_INFO_REDUCED is not set\n"


class Monitor:
    """A QEMU with a guest that stands still, or none."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone

    def ask(self, command: str, **arguments: Any) -> Any:
        if self.gone or command == "memsave":
            raise HostError(f"QEMU's monitor does not answer {command}")
        return {"running": False}

    def human(self, line: str) -> str:
        if self.gone:
            raise HostError("QEMU's monitor does not answer")
        return REGISTERS


def built(folder: Path, config: str | None = "", vmlinux: bool = True) -> BuildResult:
    """A build whose vmlinux is no ELF file, which nm refuses."""
    folder.mkdir(exist_ok=True)
    if config is not None:
        (folder / "config").write_text(config)
    (folder / "vmlinux").write_bytes(b"no kernel")
    wanted = Build("k/c/x86_64", KernelSpec("k", "s"), ConfigSpec("default", ()), "x86_64")
    return BuildResult(
        wanted, Verdict.PASS, "", 1.0, False,
        kernel_config=None if config is None else folder / "config",
        vmlinux=folder / "vmlinux" if vmlinux else None,
    )  # fmt: skip


def examine(tmp_path: Path, made: BuildResult, monitor: Monitor | None = None) -> CrashReport:
    run = tmp_path / "run"
    where = run / "cells" / "c" / "crash"
    return crash.examine(crash.Lost(monitor or Monitor(), ARCH, made, where, run))


def test_a_kernel_without_types_still_tells_its_cpus(tmp_path: Path) -> None:
    found = examine(tmp_path, built(tmp_path / "b"))
    assert (
        found.skipped == "the kernels of config default have no types; those of symbols-full have"
    )
    assert "ffffffff81447be0" in found.answers["What each CPU was doing"]
    assert "RSP=ffffc9000020bce8" in found.answers["Registers"]
    assert "CPU 1" in found.answers["Stacks"]
    assert found.answers["Symbols"].startswith("none: ")
    assert found.files == tuple(
        f"cells/c/crash/{name}.txt" for name in ("backtraces", "registers", "stacks")
    )
    assert all((tmp_path / "run" / name).stat().st_size for name in found.files)


@pytest.mark.parametrize("config", [TYPES, TYPES + "CONFIG_DEBUG_INFO_REDUCED=y\n"])
def test_what_a_dump_needs(tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "available", lambda: "")
    why = crash.why_skipped(built(tmp_path / "b", config))
    assert (why == "") == (config == TYPES)
    assert crash.why_skipped(built(tmp_path / "b", TYPES, vmlinux=False))
    monkeypatch.setattr(questions, "available", lambda: "no drgn")
    assert crash.why_skipped(built(tmp_path / "b", TYPES)) == "no drgn"


def test_a_kernel_that_died_before_its_vmcoreinfo(tmp_path: Path) -> None:
    found = examine(tmp_path, built(tmp_path / "b", TYPES))
    assert "VMCOREINFO" in found.skipped or "drgn" in found.skipped
    assert "Stacks" in found.answers


def test_a_qemu_that_is_gone(tmp_path: Path) -> None:
    found = examine(tmp_path, built(tmp_path / "b", TYPES), Monitor(gone=True))
    assert "does not answer" in found.skipped
    assert found.answers == {}


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    assert examine(tmp_path, built(tmp_path / "b")).skipped


@pytest.mark.parametrize("budget", [1 << 20, 10])
def test_a_dump_answers_and_is_kept_as_far_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    asked = []

    def ask(
        core: Path, vmlinux: Path, hints: questions.Clues, deadline: float
    ) -> questions.Answers:
        assert core.exists()
        asked.append((core.name, vmlinux.name, deadline > 0))
        return questions.Answers(version="Linux version 6.12")

    def dumped(qemu: object, path: Path, limit: int, deadline: float) -> dump.MemoryDump:
        path.write_bytes(b"flat")
        return dump.MemoryDump(path, 4, 0.5)

    def finish(flat: Path, path: Path, *_: object) -> int:
        return path.write_bytes(bytes(100))

    monkeypatch.setattr(questions, "available", lambda: "")
    monkeypatch.setattr(questions, "ask", ask)
    monkeypatch.setattr(dump, "read_vmcoreinfo", lambda *_: b"OSRELEASE=6.12")
    monkeypatch.setattr(dump, "dump_memory", dumped)
    monkeypatch.setattr(kdump, "finish", finish)
    monkeypatch.setattr(kdump, "to_elf", lambda source, target, vmlinux: target.write_bytes(b"e"))
    monkeypatch.setattr(crash, "KEPT_BYTES", budget)
    found = examine(tmp_path, built(tmp_path / "b", TYPES))
    kept = budget > 100
    assert asked == [("vmcore.elf", "vmlinux", True)]
    assert found.skipped == ""
    assert found.answers["Which kernel"] == "Linux version 6.12"
    assert "Stacks" not in found.answers
    assert found.dump_bytes == (100 if kept else 0)
    assert ("not kept" in found.answers["The dump"]) == (not kept)
    names = {Path(name).name for name in found.files}
    assert names == {"answers.json", "backtraces.txt", "registers.txt", "stacks.txt"} | (
        {"vmcore"} if kept else set()
    )


def test_a_dump_that_fails_leaves_the_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "available", lambda: "")
    monkeypatch.setattr(dump, "read_vmcoreinfo", lambda *_: b"OSRELEASE=6.12")
    failed = dump.MemoryDump(None, 0, 1.0, "QEMU failed to write it")
    monkeypatch.setattr(dump, "dump_memory", lambda *_: failed)
    found = examine(tmp_path, built(tmp_path / "b", TYPES))
    assert found.skipped == "no memory dump: QEMU failed to write it"
    assert "Stacks" in found.answers


def test_dumps_of_a_run_share_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "KEPT_BYTES", 250)
    kept = []
    for name in ("a", "b", "c"):
        path = tmp_path / name / crash.DUMP_NAME
        path.parent.mkdir()
        path.write_bytes(bytes(100))
        kept.append(crash._keep(path, tmp_path))
        assert path.exists() == bool(kept[-1])
    assert kept == [100, 100, 0]


def test_the_report_shows_the_answers() -> None:
    run = good_run()
    found = CrashReport(
        {"Which task": "<b>cat</b>, pid 7", "Registers": "RIP=0"}, "no types",
        ("cells/x/crash/registers.txt", "../../etc/passwd"), 2048, 1.5,
    )  # fmt: skip
    first = run.cells[0]
    cases = (replace(first.cases[0], crash=found), *first.cases[1:])
    page = html.render(replace(run, cells=(replace(first, cases=cases), *run.cells[1:])), None)
    assert "&lt;b&gt;cat&lt;/b&gt;, pid 7" in page
    assert "No memory dump was asked: no types" in page
    assert 'href="cells/x/crash/registers.txt"' in page
    assert "passwd" not in page
    assert "the dump has 2 KiB" in page
