# SPDX-License-Identifier: GPL-2.0-only
"""Which patch is to blame, once, and which one mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from by_patch import BOOTS, WARNING, E, F, P, judged, run_of
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.judge.compare import compare
from orchestrator.judge.each_patch import each_patch, status_with
from orchestrator.model.names import EXPECT, Verdict
from orchestrator.model.results import CaseResult, Comparison, RunResult

CASE = "w/a:c"


def told(run: RunResult, comparison: Comparison | None = None) -> list[tuple[str, int, int, int]]:
    """Each finding as kind, patch, since and mended."""
    found = judged(run, comparison).findings
    return [(f.kind, f.patch, f.since, f.mended) for f in found]


def against(run: RunResult, base: str) -> Comparison:
    """The run beside its base, where the one case passes (+) or fails (-)."""
    only = run_of("+", {CASE: base})
    return compare(replace(only, run=replace(only.run, id="base")), run)


def test_a_run_of_the_whole_series_alone_has_none() -> None:
    assert each_patch(run_of("+", {BOOTS: "+"})) == ()


def test_all_is_well() -> None:
    one = judged(run_of("+++", {BOOTS: "+++", CASE: "+++"}))
    assert one.findings == () == one.broken
    assert [(r.n, r.built, r.builds, r.booted, r.passed, r.failed) for r in one.rows] == [
        (n, 1, 1, 1, 1, 0) for n in (1, 2, 3)
    ]
    assert [r.kernel for r in one.rows] == ["cli@patch-1", "cli@patch-2", "cli"]


def test_a_patch_that_does_not_build_and_one_that_mends_it() -> None:
    (found,) = judged(run_of("+-+")).findings
    assert (found.kind, found.patch, found.since, found.mended) == ("build", 2, 2, 3)
    assert found.subject == "mm: change 2"
    assert found.title == "mm/a.c:7: error: 'x' undeclared"
    assert found.places == ("default/x86_64",)
    assert found.case == "cli@patch-2/default/x86_64/-:build:build"
    assert "--each-patch=build" in found.rerun


def test_what_the_whole_series_has_too_is_blamed_once_where_it_begins() -> None:
    assert told(run_of("++++", {CASE: "+---"})) == [("test", 2, 2, 0)]
    assert told(run_of("+---")) == [("build", 2, 2, 0)]
    # Brought by the last: nothing is in the way of a bisection.
    one = judged(run_of("+++", {CASE: "++-"}))
    assert [f.patch for f in one.findings] == [3]
    assert one.broken == ()


@pytest.mark.parametrize(
    ("signs", "findings"),
    [
        ("+-+-+", [("test", 2, 2, 3), ("test", 4, 4, 5)]),
        ("+ -+", [("test", 3, 2, 4)]),  # one of patches 2 and 3
        ("+s-+", [("test", 3, 2, 4)]),
        ("+e-+", [("test", 3, 2, 4)]),
        ("- -+", [("test", 1, 1, 4)]),
        ("  - ", [("test", 3, 1, 0)]),
    ],
)
def test_from_which_patch_to_which(signs: str, findings: list[tuple[str, int, int, int]]) -> None:
    assert told(run_of("+" * len(signs), {CASE: signs})) == findings


def test_what_the_base_has_already_is_not_the_series() -> None:
    run = run_of("+++", {CASE: "---"})
    assert told(run, against(run, "-")) == []
    (found,) = judged(run, against(run, "+")).findings
    assert (found.patch, found.base_known) == (1, True)
    (found,) = judged(run).findings
    assert (found.patch, found.base_known) == (1, False)
    # Patch 1 mends what the base has, patch 2 breaks it again.
    run = run_of("+++", {CASE: "+-+"})
    assert told(run, against(run, "-")) == [("test", 2, 2, 3)]


def test_a_failed_build_says_nothing_of_what_would_have_run() -> None:
    one = judged(run_of("+-+", {BOOTS: "+++", CASE: "+++"}))
    assert [f.kind for f in one.findings] == ["build"]
    assert [(r.booted, r.boots) for r in one.rows] == [(1, 1), (0, 0), (1, 1)]


def test_cases_of_one_cause_and_one_patch_are_one_finding() -> None:
    run = run_of("+++", {BOOTS: "+-+", CASE: "+ +"})
    assert told(run) == [("boot", 2, 2, 3)]
    run = run_of("+++", {f"w/a:{n}": "+-+" for n in range(9)})
    reason = "w.c:3: got 0, expected 1"
    cells = tuple(
        replace(
            c, cases=tuple(replace(k, reason=reason if k.verdict is F else "") for k in c.cases)
        )
        for c in run.cells
    )
    (found,) = judged(replace(run, cells=cells)).findings
    assert found.cases == 9


def test_what_only_the_whole_series_ran_is_not_blamed_here() -> None:
    assert told(run_of("+++", {CASE: "  -"})) == []


def test_what_lab_yaml_foresees_of_the_whole_is_not_held_against_a_part() -> None:
    run = run_of("+++", {CASE: "---"})
    last = run.cells[2]
    met = replace(last, cases=(replace(last.cases[0], verdict=P, expected="drift"),))
    assert told(replace(run, cells=(*run.cells[:2], met))) == []
    # Nor is it a failure that what lab.yaml expects does not happen yet.
    assert told(run_of("+++", {f"{EXPECT}:{CASE}": "-- "})) == []


def test_a_warning_that_a_later_patch_takes_away() -> None:
    run = run_of("++++", warned={2: [WARNING], 3: [replace(WARNING, line=12)]})
    one = judged(run)
    assert [(f.kind, f.patch, f.mended, f.title) for f in one.findings] == [
        ("warning", 2, 4, "mm/a.c:9: warning: unused variable 'y'")
    ]
    assert [r.warnings for r in one.rows] == [0, 1, 0, 0]
    assert one.broken == ()  # it builds
    # One that stays is the whole series' own, and counted where it came.
    kept = judged(run_of("+++", warned={2: [WARNING], 3: [WARNING]}))
    assert kept.findings == ()
    assert [r.warnings for r in kept.rows] == [0, 1, 0]
    # Of a build that failed nobody knows its warnings.
    assert told(run_of("+-++", warned={1: [WARNING], 3: [WARNING]})) == [
        ("warning", 1, 1, 4), ("build", 2, 2, 3),
    ][::-1]  # fmt: skip


def test_in_how_many_configs() -> None:
    one, two = run_of("+-+"), run_of("+-+", place="no-thp/arm64")
    both = replace(one, builds=(*one.builds, *two.builds))
    (found,) = judged(both).findings
    assert found.places == ("default/x86_64", "no-thp/arm64")
    assert [(r.built, r.builds) for r in judged(both).rows] == [(2, 2), (0, 2), (2, 2)]


def test_the_patch_that_does_not_apply() -> None:
    run = run_of("+++")
    states = zip(run.kernels[2].series, (True, False, None), strict=True)
    series = tuple(replace(patch, applied=ok) for patch, ok in states)
    whole = replace(run.kernels[2], series=series)
    run = replace(run, kernels=(*run.kernels[:2], whole), builds=run.builds[:1])
    assert [r.applies for r in judged(run).rows] == [True, False, None]
    assert told(run) == []


@pytest.mark.parametrize(
    ("status", "builds", "expected"),
    [(0, "+-+", 1), (0, "+++", 0), (1, "+++", 1), (0, "+e+", 3), (3, "+-+", 3), (130, "+-+", 130)],
)
def test_the_exit_status(status: int, builds: str, expected: int) -> None:
    run = run_of(builds)
    assert status_with(status, each_patch(run), run) == expected


@given(
    st.lists(st.sampled_from([P, F, E, None]), min_size=2, max_size=9),
    st.sampled_from(["", "+", "-"]),
)
def test_each_failure_is_in_one_finding(verdicts: list[Verdict | None], base: str) -> None:
    """A kernel that fails where the base does not is within exactly one span of blame."""
    signs = "".join({P: "+", F: "-", E: "e", None: " "}[v] for v in verdicts)
    run = run_of("+" * len(signs), {CASE: signs})
    found = judged(run, against(run, base) if base else None).findings
    for n, sign in enumerate(signs, 1):
        blamed = [f for f in found if f.patch <= n and (not f.mended or n < f.mended)]
        if sign == "+":
            assert not blamed
        elif sign == "-":
            before = signs[: n - 1].rstrip("-e ")
            of_base = base == "-" and not before
            tried = any(s != " " for s in signs[:-1])
            assert len(blamed) == (0 if of_base or not tried else 1)
    for f in found:
        assert 1 <= f.since <= f.patch
        assert signs[f.patch - 1] == "-"


def test_a_known_failure_is_no_finding() -> None:
    known = CaseResult("cli/default/x86_64/small:w/a:c", "w/a", "c", P, known="an old bug")
    run = run_of("++", {CASE: "-+"})
    last = replace(run.cells[1], cases=(known,))
    assert told(replace(run, cells=(run.cells[0], last))) == []
