# SPDX-License-Identifier: GPL-2.0-only
"""A stored run whose case failed, and kernels and guests that are played, to try it again on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.judge.trials import Subject
from orchestrator.model.kernel import BuildResult, KernelTree, PatchState
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
from orchestrator.model.spec import Cell
from orchestrator.results import store
from orchestrator.runner import trying
from orchestrator.runner.stages import Ran, Stages

CELL = "cli/default/x86_64/small"
CASE = f"{CELL}:fam/one:counters"
EXACT = "debian:6.12=6.12.117-1"
QEMU = "qemu -m 1024M"

LAB = """\
version: 1
kernels:
  v6.12: {source: "debian:6.12"}
  v6.1: {source: "debian:6.1"}
configs: {default: {fragments: [base]}}
shapes: {small: {memory: 1G}}
default_profile: p
workload_folders: [guest-tests]
profiles: {p: {matrix: [{configs: [default], arches: [x86_64], shapes: [small]}]}}
"""
MANIFEST = """\
family: fam
description: played
workloads:
  - {name: one, program: x.py, description: one}
  - {name: two, program: x.py, description: two}
"""


def case_of(cell: str, name: str, found: Verdict) -> CaseResult:
    return CaseResult(f"{cell}:fam/one:{name}", "fam/one", name, found, "off by 64")


def patches_of(count: int) -> tuple[PatchState, ...]:
    """A series of so many patches that applied."""
    return tuple(PatchState(n, f"mm: {n}", "A", "1", True) for n in range(1, count + 1))


class World:
    """What the played kernels do: verdicts of the case ``counters`` by kernel, one a trial."""

    def __init__(self) -> None:
        self.script: dict[str, list[Verdict]] = {}
        self.booted: list[str] = []
        self.qemu = QEMU
        self.error: Exception | None = None
        self.patches = 0

    def run_cell(self, cell: Cell, built: BuildResult, *_: Any) -> Ran:
        if self.error:
            raise self.error
        kernel = cell.build.kernel.name
        self.booted.append(kernel)
        coming = self.script.get(kernel, [])
        found = coming.pop(0) if coming else Verdict.PASS
        cases = (
            CaseResult(f"{cell.id}:boot:boot", "boot", "boot", Verdict.PASS),
            case_of(cell.id, "moves", Verdict.ERROR if found is Verdict.ERROR else Verdict.PASS),
            case_of(cell.id, "counters", found),
        )
        worst = found if found in (Verdict.FAIL, Verdict.ERROR) else Verdict.PASS
        record = CellRecord(
            cell.id, kernel, "default", "x86_64", cell.shape.name, "tcg", worst, 4.0, cases,
            qemu_command=self.qemu,
        )  # fmt: skip
        return Ran(record, cell)

    def same_kernel(self, subject: Subject, *_: Any) -> tuple[Any, BuildResult, str]:
        spec = subject.cell.build.kernel
        count = (spec.patches or self.patches) if spec.series else 0
        tree = KernelTree(spec, "6.12.117", "a", "b", patches_of(count))
        kernel = SimpleNamespace(tree=tree, slot="", source=spec.source, exact=True)
        built = BuildResult(subject.cell.build, Verdict.PASS, "", 0.0, True, Path("i"), "sha")
        return kernel, built, ""


def make_world(folder: Path, monkeypatch: pytest.MonkeyPatch, engine: Any, patches: int) -> World:
    """A lab folder with run ``r1``, in which a case of a series failed.

    :param engine: the module whose ``Stages`` are to be played.
    :param patches: how many the series has.
    """
    (folder / "lab.yaml").write_text(LAB)
    family = folder / "guest-tests" / "fam"
    family.mkdir(parents=True)
    (family / "manifest.yaml").write_text(MANIFEST)
    (family / "x.py").write_text("")
    played = World()
    played.patches = patches
    monkeypatch.setattr(
        engine, "Stages", lambda: Stages(compile=lambda *_: None, run=played.run_cell)
    )
    monkeypatch.setattr(trying, "same_kernel", played.same_kernel)
    cases = (case_of(CELL, "counters", Verdict.FAIL), case_of(CELL, "moves", Verdict.PASS))
    cell = CellRecord(
        CELL, "cli", "default", "x86_64", "small", "tcg", Verdict.FAIL, 4.0, cases,
        qemu_command=QEMU,
    )  # fmt: skip
    build = BuildRecord(
        "cli/default/x86_64", "cli", "default", "x86_64", Verdict.PASS, "", 1.0, True, "sha"
    )
    series = patches_of(patches)
    kernel = KernelRecord("cli", EXACT, "6.12.117", series, "d", series_origin="/a/series")
    info = RunInfo("r1", "2024-01-05T10:00:00Z", "2024-01-05T10:01:00Z", "lab run", 1, "0", "p")
    run = RunResult(info, (kernel,), (build,), (cell,), Summary(1, 1, 0, 0))
    store.save(run, folder / "reports" / "r1")
    return played
