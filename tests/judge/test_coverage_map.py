# SPDX-License-Identifier: GPL-2.0-only
"""Which workloads run what is asked for."""

from __future__ import annotations

from orchestrator.judge.coverage_map import Asked, Reach, Runs, of_workload, touching
from orchestrator.model.coverage import Coverage, FileCode, Function, Lines

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
