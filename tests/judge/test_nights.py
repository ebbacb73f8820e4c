# SPDX-License-Identifier: GPL-2.0-only
"""Runs beside each other: what is new in one, from when to when a case failed, how often."""

import pytest

from orchestrator.judge.nights import MENDED, NEW, NONE, by_cause, rates, spells, timelines, wilson
from orchestrator.model.digest import CellDigest, RunDigest


def night(n: int, *cells: CellDigest, profile: str = "nightly", **more: object) -> RunDigest:
    day = f"2026-11-{n:02d}"
    return RunDigest(
        f"r{n}", f"{day}T01:00:00Z", f"{day}T02:00:00Z", 3600, 0, profile, "v6.12",
        1, 0, 0, 0, 0, cells=cells, folder=f"r{n}", **more,
    )  # fmt: skip


def cell(*failed: str, place: str = "default/x86_64/small", state: str = "", **more) -> CellDigest:
    told = state or ("fail" if failed else "pass")
    more = {"kernel": "v6.12", "identity": "one"} | more
    return CellDigest(place=place, state=told, cases=9, failed=failed, **more)


def line(*runs: RunDigest):
    """The only timeline of runs that are given oldest first."""
    (found,) = timelines(tuple(reversed(runs)))
    return found


def states(found, row: int = 0) -> list[str]:
    """Oldest first."""
    return [square.state for square in reversed(found.rows[row].squares)]


def test_a_failure_is_new_once() -> None:
    found = line(night(1, cell()), night(2, cell("w:a")), night(3, cell("w:a")), night(4, cell()))
    assert states(found) == ["pass", NEW, "fail", MENDED]
    assert found.rows[0].squares[2].new == ("w:a",)
    found = line(night(1, cell("w:a")), night(2, cell("w:a", "w:b")))
    assert states(found) == ["fail", NEW]  # of the first nobody knows since when


def test_a_search_is_no_night() -> None:
    search = night(2, cell("w:a"), searched="patch 1 of 2 brought it")
    found = line(night(1, cell()), search, night(3, cell()))
    assert states(found) == ["pass", "pass"]
    assert spells(found) == rates(found) == ()


def test_what_did_not_come_to_its_end_breaks_nothing() -> None:
    lost = cell("w:z", state="error")
    found = line(night(1, cell("w:a")), night(2, lost), night(3), night(4, cell("w:a")))
    assert [run.id for run in found.runs] == ["r4", "r2", "r1"]  # one without a cell is none
    assert states(found) == ["fail", "error", "fail"]
    (spell,) = spells(found)
    assert (spell.case, spell.first, spell.until, spell.runs) == ("w:a", "r1", "", 2)


def test_a_run_of_one_workload_mends_no_other() -> None:
    """`lab rerun`, and `lab run --workload`, are runs of the same cell."""
    whole, part = ("w", "v"), ("v",)
    found = line(
        night(1, cell("w:a", "v:b", workloads=whole)), night(2, cell("v:b", workloads=part)),
        night(3, cell(workloads=part)), night(4, cell("w:a", workloads=whole)),
        night(5, cell(workloads=whole)),
    )  # fmt: skip
    assert states(found) == ["fail", "fail", "pass", "fail", MENDED]
    told = {(one.case, one.until, one.runs) for one in spells(found)}
    assert told == {("w:a", "r5", 2), ("v:b", "r3", 2)}
    assert [(one.case, one.failed, one.runs) for one in rates(found)] == [
        ("w:a", 2, 3), ("v:b", 2, 5)
    ]  # fmt: skip


def test_cells_that_come_and_go() -> None:
    other = cell(place="kasan/arm64/small")
    found = line(night(1, cell()), night(2, cell(), other), night(3, other))
    assert [row.place for row in found.rows] == ["default/x86_64/small", "kasan/arm64/small"]
    assert (states(found, 0), states(found, 1)) == (["pass", "pass", NONE], [NONE, "pass", "pass"])


def test_known_issues_are_apart() -> None:
    assert states(line(night(1, cell()), night(2, cell(known=3)))) == ["pass", "met"]


def test_spells_of_all_cells_are_one() -> None:
    places = ("default/x86_64/small", "kasan/x86_64/small")

    def both(*failed: str) -> list[CellDigest]:
        return [cell(*failed, place=place) for place in places]

    found = spells(line(night(1, *both()), night(2, *both("w:a")), night(3, *both("w:a", "w:b")),
                        night(4, *both("w:b"))))  # fmt: skip
    assert [(s.case, s.first, s.until, s.runs, s.places) for s in found] == [
        ("w:b", "r3", "", 2, places),
        ("w:a", "r2", "r4", 2, places),
    ]


def test_profiles_have_timelines_of_their_own() -> None:
    runs = [night(n, cell(), profile="nightly" if n % 3 else "smoke") for n in range(1, 9)]
    found = timelines(tuple(reversed(runs)))
    assert [(one.profile, len(one.runs)) for one in found] == [("nightly", 6), ("smoke", 2)]
    assert timelines((night(1, cell()),)) == ()
    assert timelines(()) == ()


def test_the_baselines_cells_are_left_out_and_kernels_kept_apart() -> None:
    base = cell("w:a", kernel="v6.1")
    found = line(night(1, cell(), base, baseline="v6.1"), night(2, cell(), base))
    assert [row.place for row in found.rows] == [
        "default/x86_64/small", "v6.1/default/x86_64/small", "v6.12/default/x86_64/small"
    ]  # fmt: skip


def test_a_rate_is_of_one_kernel() -> None:
    flaky = [night(n, cell(*(["w:a"] if n in (2, 5) else []))) for n in range(1, 9)]
    (rate,) = rates(line(*flaky))
    assert (rate.failed, rate.runs, rate.strip) == (2, 8, "pfppfppp")
    assert rate.low < 0.25 < rate.high
    # It fails on one kernel and passes on another: that is a change and no flake.
    changed = [
        night(n, cell(*(["w:a"] if n > 4 else []), identity=str(n > 4))) for n in range(1, 9)
    ]
    assert rates(line(*changed)) == ()
    unknown = [night(n, cell(*(["w:a"] if n == 4 else []), identity="")) for n in range(1, 9)]
    assert rates(line(*unknown)) == ()


def test_wilsons_interval() -> None:
    # Wilson's score interval of 2 in 10, as in any table of it.
    assert wilson(2, 10) == (pytest.approx(0.0567, abs=1e-3), pytest.approx(0.5098, abs=1e-3))
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_spells_of_one_cause_that_begin_and_end_together_are_one_group() -> None:
    why = {"causes": ("a BUG", "a check"), "why": (0, 0, 1)}
    bad = cell("w:a", "w:b", "w:c", **why)
    arm = cell("w:a", place="default/arm64/small", causes=("a BUG",), why=(0,))
    found = by_cause(spells(line(night(1, cell()), night(2, bad, arm), night(3, bad, arm))))
    assert [(group.cause, [s.case for s in group.spells]) for group in found] == [
        ("a BUG", ["w:a", "w:b"]), ("a check", ["w:c"]),
    ]  # fmt: skip
    assert found[0].places == ("default/arm64/small", "default/x86_64/small")
    assert (found[0].first, found[0].until, found[0].runs) == ("r2", "", 2)


def test_what_ends_earlier_stands_apart_and_so_does_what_has_no_cause() -> None:
    why = {"causes": ("a BUG",), "why": (0, 0)}
    found = by_cause(spells(line(
        night(1, cell("w:a", "w:b", **why)), night(2, cell("w:a", causes=("a BUG",), why=(0,))),
    )))  # fmt: skip
    assert [(group.until, [s.case for s in group.spells]) for group in found] == [
        ("", ["w:a"]), ("r2", ["w:b"]),
    ]  # fmt: skip
    old = by_cause(spells(line(night(1, cell("w:a", "w:b")), night(2, cell("w:a", "w:b")))))
    assert [group.cause for group in old] == ["", ""]
