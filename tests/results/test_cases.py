# SPDX-License-Identifier: GPL-2.0-only
"""Which case of a stored run is meant, and where its logs are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from orchestrator.judge.causes import failures
from orchestrator.model.errors import UserError
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord, RunResult
from orchestrator.results.cases import files_of, find_case, first_failure


def small(*cases: tuple[str, Verdict]) -> RunResult:
    """A run of one cell a workload's name: ``CELL:WORKLOAD:CASE``."""
    cells: dict[str, list[CaseResult]] = {}
    for case_id, verdict in cases:
        cell, workload, case = case_id.split(":")
        cells.setdefault(cell, []).append(CaseResult(case_id, workload, case, verdict, "why"))
    records = tuple(
        CellRecord(cell, *cell.split("/"), "tcg", Verdict.FAIL, 1.0, tuple(found))
        for cell, found in cells.items()
    )
    run = sample_run.good_run()
    return replace(run, kernels=(), builds=(), cells=records)


FAIL, PASS = Verdict.FAIL, Verdict.PASS
RUN = small(
    ("k/c/a/s:fam/one:first", PASS),
    ("k/c/a/s:fam/one:second", FAIL),
    ("k/c/a/s:fam/one:third", FAIL),
    ("k/c/a/s:fam/two:first", PASS),
    ("k/c/a/s:fam/two:only", PASS),
    ("k/c/b/s:fam/two:first", PASS),
    ("k/c/b/s:fam/three:third", FAIL),
)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("k/c/b/s:fam/two:first", "k/c/b/s:fam/two:first"),
        ("only", "k/c/a/s:fam/two:only"),
        # A workload is named by what is wrong with it, and then by its first case.
        ("fam/one", "k/c/a/s:fam/one:second"),
        ("one", "k/c/a/s:fam/one:second"),
        ("one:*", "k/c/a/s:fam/one:second"),
        ("one:third", "k/c/a/s:fam/one:third"),
        ("a/s:fam/two", "k/c/a/s:fam/two:first"),
        # Of several, those that failed are meant.
        ("b/s:*", "k/c/b/s:fam/three:third"),
    ],
)
def test_a_part_of_a_name_is_enough(wanted: str, meant: str) -> None:
    assert find_case(RUN, wanted).id == meant


def test_several_are_listed() -> None:
    with pytest.raises(UserError) as caught:
        find_case(RUN, "third")
    assert "'third' fits 2 failed cases of run" in caught.value.message
    assert caught.value.message.splitlines()[1:] == [
        "     k/c/a/s:fam/one:third",
        "     k/c/b/s:fam/three:third",
    ]
    with pytest.raises(UserError, match="fits 2 cases of run"):
        find_case(RUN, "fam/two:first")


def test_none_names_the_nearest() -> None:
    with pytest.raises(UserError, match="has no case 'fam/thre'") as caught:
        find_case(RUN, "fam/thre")
    assert caught.value.hint.startswith("did you mean 'fam/three'")
    with pytest.raises(UserError) as caught:
        find_case(RUN, "zzzzzzzz")
    assert "lab open" in caught.value.hint


def test_what_the_kernel_said_is_first() -> None:
    run = sample_run.broken_run()
    order = [0 if case.hits else 1 if case.counters else 2 for case in failures(run)]
    assert order == sorted(order)
    assert order[0] == 0
    first = first_failure(run)
    assert first is not None
    assert first is failures(run)[0]
    assert first_failure(sample_run.good_run()) is None


def test_the_logs_of_a_case(tmp_path: Path) -> None:
    cell = tmp_path / "cells" / "k__c__a__s"
    cell.mkdir(parents=True)
    case = RUN.cells[0].cases[1]
    assert files_of(tmp_path, RUN, case).consoles == ()
    for name in ("console.log", "console-2.log", "console-fam__one.log", "fam__one.ktap"):
        (cell / name).write_text("")
    found = files_of(tmp_path, RUN, case)
    names = [path.name for path in found.consoles]
    assert names == ["console-fam__one.log", "console-2.log", "console.log"]
    assert found.output == cell / "fam__one.ktap"
    assert found.build_log is None
    told = replace(case, console="cells/k__c__a__s/console-2.log")
    assert files_of(tmp_path, RUN, told).consoles[0].name == "console-2.log"


def test_no_log_leads_out_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "run"
    (folder / "cells").mkdir(parents=True)
    case = replace(RUN.cells[0].cases[1], console="../secret")
    assert files_of(folder, RUN, case).consoles == ()
