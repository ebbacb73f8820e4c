# SPDX-License-Identifier: GPL-2.0-only
"""Which clean and complete run another is compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord, RunResult
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, Plan, ShapeSpec
from orchestrator.model.spec import WorkloadSpec as Spec
from orchestrator.results import clean, runs, store

K, C, S = KernelSpec("k", "path:x"), ConfigSpec("c"), ShapeSpec("s")


def plan_of(**cells: str) -> Plan:
    """Cells of one kernel by config, each with its workloads (``one="f/a f/b"``)."""
    made = []
    for config, names in cells.items():
        build = Build(f"k/{config}/x86_64", K, replace(C, name=config), "x86_64")
        specs = tuple(Spec(name, "f", Path(), "a.c") for name in names.split())
        made.append(Cell(f"{build.id}/s", build, S, specs))
    return Plan("night", tuple(cell.build for cell in made), tuple(made))


def run_of(plan: Plan, *, profile: str = "night", status: int = 0, whole: bool = True) -> RunResult:
    cells = tuple(
        CellRecord(
            cell.id, "k", cell.build.config.name, "x86_64", "s", "tcg", Verdict.PASS, 1.0,
            tuple(CaseResult(f"{cell.id}:{w.name}:c", w.name, "c", Verdict.PASS)
                  for w in cell.workloads),
        )
        for cell in plan.cells
    )  # fmt: skip
    run = sample_run.good_run()
    info = replace(run.run, profile=profile, exit_status=status, complete=whole)
    return replace(run, run=info, cells=cells)


def keep(folder: Path, began: int, run: RunResult) -> Path:
    info = replace(run.run, id=folder.name, started=f"2024-01-{began:02}T00:00:00Z")
    store.save(replace(run, run=info), folder)
    return folder


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return tmp_path / "reports"


WHOLE = plan_of(one="f/a f/b", two="f/a")


def best(reports: Path, plan: Plan = WHOLE, *beside: Path) -> str | None:
    found = clean.last_clean(reports, plan, beside)
    return None if found is None else found.name


def test_there_may_be_none(reports: Path) -> None:
    assert best(reports) is None
    keep(reports / "a", 1, run_of(WHOLE, status=1))
    keep(reports / "b", 2, run_of(WHOLE, whole=False))
    keep(reports / "c", 3, run_of(WHOLE, profile="smoke"))
    keep(reports / "d", 4, run_of(plan_of(three="f/a")))
    assert best(reports) is None


def test_the_newest_that_tried_all_of_the_plan(reports: Path) -> None:
    keep(reports / "old", 1, run_of(WHOLE))
    keep(reports / "night", 2, run_of(WHOLE))
    keep(reports / "narrow", 3, run_of(plan_of(one="f/a")))
    keep(reports / "red", 4, run_of(WHOLE, status=1))
    assert best(reports) == "night"
    assert best(reports, plan_of(one="f/a")) == "narrow"


def test_a_new_cell_does_not_lose_the_baseline(reports: Path) -> None:
    keep(reports / "night", 1, run_of(WHOLE))
    keep(reports / "narrow", 2, run_of(plan_of(one="f/a")))
    assert best(reports, plan_of(one="f/a f/b f/new", two="f/a", new="f/a")) == "night"


def test_a_collection_is_tried_by_its_programs(reports: Path) -> None:
    keep(reports / "night", 1, run_of(plan_of(one="kselftest/mm/cow kselftest/mm/ksm")))
    keep(reports / "narrow", 2, run_of(plan_of(one="kselftest/net/x")))
    assert best(reports, plan_of(one="kselftest/mm")) == "night"


def test_one_kept_elsewhere_counts(reports: Path, tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", 2, run_of(WHOLE))
    assert best(reports, WHOLE, kept, tmp_path / "nothing") == "kept"
    keep(reports / "old", 1, run_of(WHOLE))
    assert best(reports, WHOLE, kept) == "kept"
    keep(reports / "new", 3, run_of(WHOLE))
    assert best(reports, WHOLE, kept) == "new"


def test_a_damaged_one_is_passed_by(reports: Path) -> None:
    keep(reports / "old", 1, run_of(WHOLE))
    damaged = keep(reports / "new", 2, run_of(WHOLE)) / "results.json"
    damaged.write_text(damaged.read_text().replace('"kernels": [', '"kernels": [7, ', 1))
    assert runs.is_clean(damaged.parent)
    assert best(reports) == "old"
