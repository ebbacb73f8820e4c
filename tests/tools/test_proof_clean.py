# SPDX-License-Identifier: GPL-2.0-only
"""tools/proof_clean.py: what it counts as clean, without a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import proof_clean as program
import pytest

from orchestrator import HOME

CELL = "default/arm64/small"
WORKLOAD = program.Workload("uffd-move/basic", False, {"arm64": "new", "x86_64": "other"})


def run(alarms: list[str], digest: str = "new", cell: str = CELL) -> dict[str, Any]:
    return {
        "cell": cell, "workload": WORKLOAD.name, "digest": digest, "alarms": alarms,
        "date": "2026-11-22", "passed": 13, "skipped": 2, "known": ["zero"],
        "commit": "abc",
    }  # fmt: skip


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with an empty table of all workloads, and the one that is written to."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{program.START}old\n{program.END}\nafter\n")
    monkeypatch.setattr(program, "PAGE", page)
    return page


def test_an_alarm_breaks_the_row(tmp_path: Path) -> None:
    record = program.Record(tmp_path)
    record.add([run([]), run([]), run(["late: hung"])])
    assert record.in_a_row(CELL, WORKLOAD) == 0
    record.add([run([]), run([])])
    assert record.in_a_row(CELL, WORKLOAD) == 2
    assert program.Record(tmp_path).in_a_row(CELL, WORKLOAD) == 2


def test_a_changed_program_begins_anew_and_only_there(tmp_path: Path) -> None:
    record = program.Record(tmp_path)
    record.add([run([], digest="old")] * 20)
    record.add([run([], digest="other", cell="default/x86_64/small")] * 20)
    missing = {
        step.cell: step.times
        for step in program.steps()
        if program.missing_in(step, [WORKLOAD], record) and not step.races
    }
    assert CELL in missing
    assert "default/x86_64/small" not in missing


def test_twelve_builds_and_four_modes_of_huge_pages() -> None:
    wide = [step for step in program.steps() if step.times == 1]
    assert len(wide) == len({step.cell for step in wide}) == 24
    assert len({(step.config, step.arch) for step in wide}) == 12
    assert all(step.config in program.CONFIGS for step in program.steps())


@pytest.mark.parametrize(
    ("verdict", "alarms"), [("pass", 0), ("skip", 0), ("fail", 1), ("error", 1)]
)
def test_what_fails_or_errs_is_an_alarm(verdict: str, alarms: int) -> None:
    case = {"workload": WORKLOAD.name, "case": "fork", "verdict": verdict, "reason": "why"}
    other = {"workload": "uffd-move/other", "case": "x", "verdict": "fail", "reason": "not ours"}
    outcome = program._outcome({"cases": [case, other]}, WORKLOAD.name, [])
    assert len(outcome["alarms"]) == alarms


def test_a_workload_without_a_case_is_an_alarm() -> None:
    assert program._outcome({"cases": []}, WORKLOAD.name, [])["alarms"] == ["it did not run"]


def test_the_page_is_written_between_its_marks(tmp_path: Path, page: Path) -> None:
    record = program.Record(tmp_path)
    record.add([run([]), run(["late: hung"])])
    program._write([WORKLOAD], record)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert f"- {CELL} uffd-move/basic: late: hung" in text
    assert (
        f"| {CELL} | 1 of 1 deterministic | 0 of 20 | 13 | 1 | 1 | 1 | 2026-11-22 | abc |" in text
    )
    assert program.START in (HOME / "docs" / "detection.md").read_text()


def test_a_family_has_a_table_of_its_own(tmp_path: Path, page: Path) -> None:
    start, end = program.FAMILY_START.format("mm"), program.FAMILY_END.format("mm")
    whole = f"{program.START}whole\n{program.END}\n"
    page.write_text(f"{whole}{start}old\n{end}\n")
    mine = program.Workload("mm/ksm", False, {"arm64": "new", "x86_64": "other"})
    chosen = program.of_family([WORKLOAD, mine], "mm")
    assert chosen == [mine]
    record = program.Record(tmp_path)
    record.add([run([]), {**run([]), "workload": mine.name}])
    program._write(chosen, record, "mm")
    text = page.read_text()
    assert text.startswith(whole)
    assert "old" not in text
    assert (
        f"| {CELL} | 1 of 1 deterministic | 1 of 20 | 13 | 1 | 1 | 0 | 2026-11-22 | abc |" in text
    )
    assert "racing" not in text  # none of the family races: no row of none
    assert start in (HOME / "docs" / "detection.md").read_text()


def test_a_hang_is_an_alarm_though_it_be_known() -> None:
    hang = {
        "workload": WORKLOAD.name, "case": "hang", "verdict": "skip", "reason": "known: x",
        "known": "x",
    }  # fmt: skip
    outcome = program._outcome({"cases": [hang]}, WORKLOAD.name, [])
    assert outcome["alarms"] == ["hang: known: x"]
    assert outcome["known"] == ["hang"]


def test_a_clean_row_of_the_page_counts_on_another_machine(tmp_path: Path, page: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    record = program.Record(here)
    record.add([run([])] * 2)
    program._write([WORKLOAD], record)
    once = program.Step("default", "arm64", "small", 1)
    often = program.Step("default", "arm64", "small", 20)
    told = program.told_rows(page, None)
    assert program.done_before(once, [WORKLOAD], told)
    assert not program.done_before(often, [WORKLOAD], told)  # 2 of 20
    # Another machine, which has run nothing, keeps the row and only that.
    program._write([WORKLOAD], program.Record(there))
    rows = page.read_text().splitlines()
    assert sum("2 of 1 |" in row for row in rows) == 1
    assert not any("2 of 20 |" in row for row in rows)
    # Nor does it count once the program is another.
    changed = program.Workload(WORKLOAD.name, False, {"arm64": "newer", "x86_64": "other"})
    assert not program.done_before(once, [changed], program.told_rows(page, None))


def test_a_row_with_an_alarm_does_not_count(tmp_path: Path, page: Path) -> None:
    record = program.Record(tmp_path)
    record.add([run(["late: hung"]), run([])])
    program._write([WORKLOAD], record)
    once = program.Step("default", "arm64", "small", 1)
    assert not program.done_before(once, [WORKLOAD], program.told_rows(page, None))
