# SPDX-License-Identifier: GPL-2.0-only
"""What workloads ran is kept in the cache, and found there again."""

from __future__ import annotations

from pathlib import Path

from orchestrator.host.cache.files import Cache
from orchestrator.model.coverage import Coverage, FileCode, Function, Lines
from orchestrator.runner.coverage_map import counted, known, remember

ONE, TWO = Function("one", 1, 5), Function("two", 7, 9)
CODE = {"mm/x.c": FileCode(Lines(range(1, 10)), (ONE, TWO))}


def test_the_last_count_of_a_workload_is_the_one_that_is_known(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert known(cache) == ()
    both = Coverage(CODE, {"a/b": {"mm/x.c": Lines((2, 8))}, "a/a": {"mm/x.c": Lines((8,))}})
    remember(both, "x86_64", "6.12", cache)
    assert [(r.workload, r.functions) for r in known(cache)] == [
        ("a/a", {"mm/x.c": (TWO,)}), ("a/b", {"mm/x.c": (ONE, TWO)}),
    ]  # fmt: skip
    remember(Coverage(CODE, {"a/b": {"mm/x.c": Lines((2,))}}), "x86_64", "6.13", cache)
    remember(Coverage(CODE, {"a/b": {"mm/x.c": Lines((8,))}}), "arm64", "6.13", cache)
    assert [(r.workload, r.arch, r.kernel) for r in known(cache)] == [
        ("a/a", "x86_64", "6.12"), ("a/b", "arm64", "6.13"), ("a/b", "x86_64", "6.13"),
    ]  # fmt: skip


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    remember(Coverage(CODE, {"a/b": {"mm/x.c": Lines((2,))}}), "x86_64", "6.12", cache)
    (record,) = (cache.records / "ran").iterdir()
    record.write_text(record.read_text().replace("1-5", "one"))
    assert known(cache) == ()


def test_what_was_counted_is_known_whether_or_not_it_ran(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert counted(cache) == {}
    remember(Coverage(CODE, {"a/b": {"mm/x.c": Lines((2,))}}), "x86_64", "6.12", cache)
    other = {"mm/y.c": FileCode(Lines((1,)), (ONE,)), "mm/empty.h": FileCode(Lines((1,)))}
    remember(Coverage(other, {}), "x86_64", "6.13", cache)
    assert counted(cache) == {"mm/x.c": (ONE, TWO), "mm/y.c": (ONE,)}
    moved = {"mm/x.c": FileCode(Lines((1,)), (Function("one", 3, 7),))}
    remember(Coverage(moved, {}), "x86_64", "6.14", cache)
    assert [one.name for one in counted(cache)["mm/x.c"]] == ["one", "one"]  # as ran, as it is
