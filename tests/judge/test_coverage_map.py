# SPDX-License-Identifier: GPL-2.0-only
"""Which workloads run what is asked for."""

from __future__ import annotations

from orchestrator.judge.coverage_map import (
    Asked,
    Reach,
    Runs,
    of_series,
    of_workload,
    run_by_nobody,
    touching,
)
from orchestrator.model.coverage import Changed, Coverage, FileCode, Function, Lines

MAP, UNMAP, FAULT = (
    Function("do_mmap", 10, 20),
    Function("do_munmap", 30, 40),
    Function("fault", 5, 9),
)
CODE = {
    "mm/mmap.c": FileCode(Lines(range(10, 41)), (MAP, UNMAP)),
    "mm/memory.c": FileCode(Lines(range(5, 10)), (FAULT,)),
}


def test_a_function_ran_where_one_of_its_lines_did() -> None:
    coverage = Coverage(CODE, {"a/one": {"mm/mmap.c": Lines((35,)), "mm/memory.c": Lines((99,))}})
    found = of_workload(coverage, "a/one", "x86_64", "6.12")
    assert found == Reach("a/one", "x86_64", "6.12", {"mm/mmap.c": (UNMAP,)})
    assert of_workload(coverage, "a/two", "x86_64", "6.12").functions == {}


KNOWN = (
    Reach("a/both", "x86_64", "6.12", {"mm/mmap.c": (MAP, UNMAP)}),
    Reach("a/both", "arm64", "6.12", {"mm/mmap.c": (MAP,)}),
    Reach("a/map", "x86_64", "6.12", {"mm/mmap.c": (MAP,)}),
    Reach("a/wide", "x86_64", "6.12", {"mm/mmap.c": (MAP,), "mm/memory.c": (FAULT,)}),
    Reach("a/fault", "x86_64", "6.12", {"mm/memory.c": (FAULT,)}),
)


def test_by_name_those_that_run_least_besides_come_first() -> None:
    found = touching(KNOWN, Asked(frozenset(("do_mmap",))))
    assert [one.workload for one in found] == ["a/map", "a/wide", "a/both"]
    assert found[2] == Runs("a/both", ("do_mmap",), ("x86_64", "arm64"))


def test_by_file_those_that_run_most_of_it_come_first() -> None:
    found = touching(KNOWN, Asked(files={"mm/mmap.c": Lines()}))
    assert [one.workload for one in found] == ["a/both", "a/map", "a/wide"]
    assert found[0].functions == ("do_mmap", "do_munmap")


def test_by_lines() -> None:
    assert [r.workload for r in touching(KNOWN, Asked(files={"mm/mmap.c": Lines((33,))}))] == [
        "a/both"
    ]
    assert touching(KNOWN, Asked(files={"mm/mmap.c": Lines((25,))})) == ()
    assert touching(KNOWN, Asked(frozenset(("nobody",)))) == ()


COUNTED = {file: code.functions for file, code in CODE.items()}


def test_a_series_asks_by_name_and_by_lines_where_the_name_is_not_known() -> None:
    changes = (
        Changed("mm/mmap.c", "do_munmap", Lines((11,))),  # its lines have moved since
        Changed("mm/memory.c", "new_name", Lines((6,))),
        Changed("mm/memory.c", "", Lines((900,))),
    )
    asked = of_series(changes, COUNTED)
    assert asked.named == {"mm/mmap.c": {"do_munmap"}}
    assert asked.files == {"mm/memory.c": Lines((6, 900))}
    assert [(one.workload, one.functions) for one in touching(KNOWN, asked)] == [
        ("a/fault", ("fault",)), ("a/both", ("do_munmap",)), ("a/wide", ("fault",)),
    ]  # fmt: skip


def test_what_nobody_runs_is_told() -> None:
    whole = Asked(files={"mm/mmap.c": Lines(), "mm/memory.c": Lines()})
    assert run_by_nobody(KNOWN, whole, COUNTED) == ()
    assert run_by_nobody(KNOWN[2:3], whole, COUNTED) == ("do_munmap", "fault")
    assert run_by_nobody((), Asked(frozenset(("do_mmap",))), COUNTED) == ("do_mmap",)
