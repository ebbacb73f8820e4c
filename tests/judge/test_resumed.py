# SPDX-License-Identifier: GPL-2.0-only
"""A cell that was run in two parts: what was found stays, what was left out comes later."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.outcome import ENDED
from orchestrator.judge.resumed import joined, workloads_done
from orchestrator.model.coverage import CoveredLine
from orchestrator.model.names import BOOT, KERNEL_LOG, NOT_RUN, Verdict
from orchestrator.model.results import CaseResult, CellRecord, LoopRecord

CELL = "k/c/x86_64/s"
P, F, S = Verdict.PASS, Verdict.FAIL, Verdict.SKIP


def case(workload: str, name: str, found: Verdict = P, reason: str = "") -> CaseResult:
    return CaseResult(f"{CELL}:{workload}:{name}", workload, name, found, reason)


def record(*cases: CaseResult, **more: object) -> CellRecord:
    plain = CellRecord(CELL, "k", "c", "x86_64", "s", "tcg", P, 2.0, cases)
    return replace(plain, **more)  # type: ignore[arg-type]


FIRST = record(
    case(BOOT, BOOT), case("f/b", "x", F, "why"), case("f/a", NOT_RUN, S, ENDED),
    case("f/c", NOT_RUN, S, ENDED),
    verdict=F, console_log="console.log", notes=("slow",), loops=(LoopRecord("f/b", 1, 2.0),),
)  # fmt: skip
ORDER = ("f/a", "f/b", "f/c")


def test_what_was_run_is_known() -> None:
    assert workloads_done(FIRST) == (BOOT, "f/b")


def test_the_parts_make_one_record() -> None:
    rest = record(
        case(BOOT, BOOT), case("f/c", "x"), case("f/a", "x"),
        console_log="other.log", notes=("slow", "late"), loops=(LoopRecord("f/a", 1, 2.0),),
    )  # fmt: skip
    whole = joined(FIRST, rest, ORDER)
    assert [c.id.partition(":")[2] for c in whole.cases] == [
        "boot:boot", "f/a:x", "f/b:x", "f/c:x",
    ]  # fmt: skip
    assert (whole.verdict, whole.console_log, whole.notes) == (F, "console.log", ("slow", "late"))
    assert [loop.workload for loop in whole.loops] == ["f/b", "f/a"]


def test_what_was_counted_in_either_part_stands() -> None:
    lines = (CoveredLine(1, "mm/x.c", 3, "x"),)
    counting = replace(FIRST, coverage="c.json", covered=lines)
    rest = record(case("f/c", "x"))
    whole = joined(counting, rest, ORDER)
    assert (whole.coverage, whole.covered) == ("c.json", lines)
    more = (replace(lines[0], workloads=1, by=("f/c",)),)  # with the counts of the first part
    whole = joined(counting, replace(rest, coverage="c.json", covered=more), ORDER)
    assert whole.covered == more


def test_what_the_second_boot_finds_bad_stands_beside_the_first() -> None:
    rest = record(case(BOOT, KERNEL_LOG, F, "a warning"), case(BOOT, BOOT, F, "no login"))
    whole = joined(FIRST, rest, ORDER)
    found = {c.id.partition(":")[2]: c.verdict for c in whole.cases}
    assert found["boot:boot"] is P
    assert found["boot:boot-2"] is F
    assert found["boot:kernel-log"] is F
    assert len({c.id for c in whole.cases}) == len(whole.cases)


def test_a_rest_that_came_to_nothing_leaves_what_was_known() -> None:
    whole = joined(FIRST, record(notes=("no QEMU",)), ORDER)
    assert whole == replace(FIRST, notes=("slow", "no QEMU"))


def test_a_rest_that_was_ended_too_leaves_the_rest_of_it() -> None:
    rest = record(case(BOOT, BOOT), case("f/a", "x"), case("f/c", NOT_RUN, S, ENDED))
    whole = joined(replace(FIRST, cases=FIRST.cases[2:]), rest, ORDER)
    assert [(c.workload, c.case) for c in whole.cases][1:] == [("f/a", "x"), ("f/c", NOT_RUN)]
    assert whole.verdict is S
