# SPDX-License-Identifier: GPL-2.0-only
"""The campaign of planted defects: what is planted, and what its runs are taken to say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import proof_detection
import pytest
from findings import (
    END,
    GENERAL_END,
    GENERAL_START,
    START,
    Failure,
    Record,
    Run,
    expected,
    failures,
    key_of,
    page,
    summary,
)
from plants import FOLDER, PLANTS, Plant
from proof_detection import Campaign

from orchestrator import HOME


def test_each_patch_has_its_plant_and_each_plant_its_patch() -> None:
    assert {path.stem for path in FOLDER.glob("*.patch")} == {plant.name for plant in PLANTS}
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_plant_is_a_small_patch_that_says_what_it_is(plant: Plant) -> None:
    text = (FOLDER / f"{plant.name}.patch").read_text()
    head, _, body = text.partition("\n---\n")
    assert re.search(r"^Subject: \[PATCH\] (mm|fs)/\w+: .+$", head, re.M)
    assert "Signed-off-by:" in head
    assert re.search("not for any tree|Harmless", body)
    touched = re.findall(r"^\+\+\+ b/(\S+)$", body, re.M)
    general = plant.name.startswith("mm-")
    move = {"mm/userfaultfd.c", "mm/huge_memory.c", "fs/userfaultfd.c"}
    assert len(touched) == 1 if general else set(touched) <= move
    changed = [line for line in body.splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
    assert 0 < len(changed) <= (150 if plant.name == "abi-v2" else 25)
    assert plant.like
    assert plant.control or plant.cases or plant.races


def test_the_lower_patch_comes_first(tmp_path: Path) -> None:
    plant = next(plant for plant in PLANTS if plant.on)
    names = sorted(path.name for path in plant.put(tmp_path / "series").iterdir())
    assert names == [f"0001-{plant.on}.patch", f"0002-{plant.name}.patch"]


def results(*failed: tuple[str, str, str]) -> dict[str, Any]:
    def case(workload: str, name: str, verdict: str, reason: str, seconds: float) -> dict[str, Any]:
        return {
            "workload": workload, "case": name, "verdict": verdict, "reason": reason,
            "seconds": seconds, "hits": [],
        }  # fmt: skip

    bad = {(workload, name): reason for workload, name, reason in failed}
    cases = [case("boot", "boot", "pass", "", 5.0)]
    for workload in ("uffd-move/holes", "uffd-move/thp", "race/zap"):
        for name, seconds in (("one", 0.5), ("kernel-log", 0.0)):
            reason = bad.get((workload, name), "")
            cases.append(case(workload, name, "fail" if reason else "pass", reason, seconds))
    return {"cells": [{"cases": cases}]}


HOLES = Plant("holes-swallowed", "ENOENT", ("uffd-move/holes:*",))


def record(*runs: Run, plant: str = "holes-swallowed", noise: tuple[str, ...] = ()) -> Record:
    return Record(plant, "x86_64", "key", "suite", "2026-11-22", runs, noise)


def run(kind: str, *failed: tuple[str, str, str], workloads: tuple[str, ...] = ()) -> Run:
    return Run.of(kind, workloads, results(*failed), 9.0)


def test_a_run_keeps_what_failed_and_how_long_its_workload_ran() -> None:
    got = run("suite", ("uffd-move/holes", "one", "\n got 0\nmore"))
    assert got.failures == (Failure("uffd-move/holes", "one", "got 0", 0.5),)
    assert (got.ran, got.seconds) == (7, 1.5)


def test_the_foreseen_case_is_the_finding() -> None:
    other, named = ("uffd-move/thp", "one", "so"), ("uffd-move/holes", "one", "thus")
    found = failures([run("suite", other, named)], HOLES)
    assert [failure.workload for failure in found] == ["uffd-move/holes", "uffd-move/thp"]
    assert [expected(HOLES, failure) for failure in found] == [True, False]


def test_the_pattern_named_first_is_preferred() -> None:
    plant = replace(HOLES, cases=("uffd-move/thp:one", "uffd-move/*:*"))
    named, other = ("uffd-move/thp", "one", "so"), ("uffd-move/holes", "one", "thus")
    assert [f.workload for f in failures([run("suite", other, named)], plant)] == [
        "uffd-move/thp",
        "uffd-move/holes",
    ]


def test_the_statistics_of_a_race_are_no_message() -> None:
    got = run("races", ("race/zap", "one", "RACE case=one seed=3 moves=9\nrace.c:1: lost"))
    assert got.failures[0].message == "race.c:1: lost"


def test_what_fails_without_a_plant_finds_nothing() -> None:
    loud = record(run("suite", ("uffd-move/thp", "one", "always")), noise=("uffd-move/thp",))
    assert loud.first is None
    assert not loud.good
    assert record(*loud.runs).first is not None


def test_runs_are_counted_where_the_finder_took_part() -> None:
    hit = ("uffd-move/holes", "one", "thus")
    again = ("uffd-move/holes",)
    got = record(
        run("named", hit, workloads=again),
        run("named", workloads=again),
        run("suite", hit, workloads=("uffd-move/holes", "uffd-move/thp")),
    )
    assert got.counted() == (2, 3)
    race = ("race/zap", "one", "lost")
    got = record(
        run("suite"),
        run("races", workloads=("race/zap",)),
        run("races", race, workloads=("race/zap",)),
        plant="entry-not-compared-again",
    )
    assert got.counted() == (1, 2)
    assert got.seconds() == 2.0  # a run in vain, and the workload that found it


def test_a_control_is_good_when_nothing_failed() -> None:
    assert record(run("suite"), plant="control-comment").good
    assert not record(run("suite", ("uffd-move/thp", "one", "so")), plant="control-comment").good
    assert not record(run("suite")).good


def test_what_has_no_verdict_is_neither_a_finding_nor_clean() -> None:
    raw = results(("uffd-move/holes", "one", "thus"))
    for case in raw["cells"][0]["cases"]:
        case["verdict"] = "error" if case["verdict"] == "fail" else case["verdict"]
    got = Run.of("suite", ("uffd-move/holes", "uffd-move/fork"), raw, 9.0)
    assert got.failures == ()
    assert got.errors == ("uffd-move/holes:one", "uffd-move/fork")
    assert not record(got).good
    assert not record(got, plant="control-comment").good
    assert not record(plant="control-comment").good


def test_a_case_nobody_foresaw_has_to_fail_twice() -> None:
    once = run("suite", ("uffd-move/thp", "one", "so"), workloads=("uffd-move/thp",))
    assert not record(once).good
    assert not record(once, run("again", workloads=("uffd-move/thp",))).good
    assert record(once, replace(once, kind="again")).good


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    kept = record(run("suite", ("uffd-move/holes", "one", "thus")), noise=("race/zap",))
    kept.save(tmp_path / "record.json")
    assert Record.load(tmp_path / "record.json") == kept


def test_a_record_of_another_patch_or_suite_does_not_hold(tmp_path: Path) -> None:
    plant = next(plant for plant in PLANTS if plant.name == "holes-swallowed")
    folder = tmp_path / plant.name / "x86_64"
    folder.mkdir(parents=True)
    campaign = Campaign(tmp_path, 3, "suite", older=False)
    kept = replace(record(run("suite")), key=key_of(plant, HOME))
    kept.save(folder / "record.json")
    assert campaign.kept(plant, "x86_64") == kept
    assert campaign.kept(plant, "arm64") is None
    replace(kept, suite="before").save(folder / "record.json")
    assert campaign.kept(plant, "x86_64") is None
    assert replace(campaign, older=True).kept(plant, "x86_64") is not None
    replace(kept, key="another").save(folder / "record.json")
    assert replace(campaign, older=True).kept(plant, "x86_64") is None


@pytest.mark.parametrize(("whole", "kinds"), [(True, ["suite"]), (False, ["named"])])
def test_a_control_is_tried_once_with_the_suite_or_with_its_own(
    whole: bool, kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("mm/ksm", "uffd-move/basic")
    listed = [{"name": name, "deterministic": True, "not_ready": ""} for name in names]
    monkeypatch.setattr(proof_detection, "_listed", lambda: listed)
    plant = next(plant for plant in PLANTS if plant.name == "mm-control-comment")
    campaign = Campaign(tmp_path, 3, "suite", older=False, whole=whole)
    done, kept = [], Record(plant.name, "x86_64", "", "suite", "", (), ())
    while (todo := campaign._next(plant, kept)) is not None:
        done.append(todo[0])
        assert todo[1] == list(names if whole else names[:1])
        kept = replace(kept, runs=(*kept.runs, run(todo[0])))
    assert done == kinds


def test_the_page_names_what_was_not_found(tmp_path: Path) -> None:
    file = tmp_path / "detection.md"
    file.write_text(f"before\n{START}old\n{END}after\n")
    rows = [
        record(run("suite", ("uffd-move/holes", "one", "a | b"), workloads=("uffd-move/holes",))),
        record(run("suite"), plant="dirty-bit-lost"),
        record(run("suite"), plant="control-comment"),
    ]
    page(file, rows, ["no-wake/arm64"], "suite")
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}after\n")
    assert "old" not in text
    assert "1 of 2 plants found, 1 of 1 controls clean; not found: dirty-bit-lost" in text
    assert "Not run on arm64 (1): no-wake." in text
    assert "| `uffd-move/holes:one` | a \\| b | 1 of 1 |" in text
    assert "| **not found** |" in text
    assert summary(rows, "another")[-1] == "3 of 3 rows are of an earlier state of the suite"


def test_plants_of_general_mm_have_a_table_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "detection.md"
    others = f"{START}kept\n{END}\n"
    file.write_text(f"{others}{GENERAL_START}old\n{GENERAL_END}\nafter\n")
    failure = Failure("mm/ksm", "forked", "ksm.c:9: got 1, expected 0", 0.5)
    found = Run("named", ("mm/ksm",), (failure,), 7, 0.5, 9.0)
    missing = ["mm-mlock-droppable/arm64", "no-wake/arm64"]
    page(file, [record(found, plant="mm-ksm-fork-keeps-counts")], missing, "suite")
    text = file.read_text()
    assert text.startswith(others)
    assert text.endswith(f"{GENERAL_END}\nafter\n")
    assert "1 of 1 plants found" in text
    assert "Not run on arm64 (1): mm-mlock-droppable." in text
    assert "old" not in text
    real = (HOME / "docs" / "detection.md").read_text()
    assert GENERAL_START in real
    assert GENERAL_END in real
