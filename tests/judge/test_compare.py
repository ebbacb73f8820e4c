# SPDX-License-Identifier: GPL-2.0-only
"""Run against run."""

from dataclasses import replace

import pytest
from sample_run import (
    broken_run,
    build,
    case,
    cell,
    cell_id,
    good_run,
    rss_hit,
    summarize,
    warn_hit,
)

from orchestrator.judge.compare import compare, figure_changes, kernel_regressed
from orchestrator.judge.noise import Noise
from orchestrator.judge.outcome import BUDGET, ENDED
from orchestrator.model.errors import UserError
from orchestrator.model.evidence import Measurement
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.results import Change, RunResult

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
KEY = "default/x86_64/small:move/basic:one"


def run_of(verdict, kernel="cli", **more) -> RunResult:
    """A run with one cell and one case, or none where ``verdict`` is None."""
    where = cell_id(kernel, "x86_64")
    other = case(where, "boot", "boot")
    cases = (other,) if verdict is None else (other, case(where, "move/basic", "one", verdict))
    cases = (*cases[:1], *(replace(c, **more) for c in cases[1:]))
    cells = (cell(kernel, "x86_64", cases),)
    run = good_run()
    return replace(
        run,
        kernels=(replace(run.kernels[0], name=kernel, series=()),),
        builds=(build(kernel, "x86_64"),),
        cells=cells,
        summary=summarize(cells),
    )


def one(a, b):
    found = [c for c in compare(a, b).cases if c.key == KEY]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("before", "after", "change", "words"),
    [
        (P, P, Change.UNCHANGED, ""),
        (P, F, Change.REGRESSED, "passed on the baseline"),
        (P, S, Change.REGRESSED, "skipped, but ran"),
        (P, E, Change.REGRESSED, "host error"),
        (F, P, Change.FIXED, "failed on the baseline"),
        (F, F, Change.STILL_FAILING, ""),
        (F, S, Change.REGRESSED, "skipped, but ran"),
        (F, E, Change.STILL_FAILING, "not shown to be fixed"),
        (S, P, Change.NEW, "skipped on the baseline"),
        (S, F, Change.REGRESSED, "new and failing"),
        (S, S, Change.UNCHANGED, "skipped"),
        (S, E, Change.UNCHANGED, "host error"),
        (E, P, Change.NEW, "only a host error"),
        (E, F, Change.REGRESSED, "only a host error"),
        (E, S, Change.UNCHANGED, "host error"),
        (E, E, Change.UNCHANGED, "host error on both"),
        (None, P, Change.NEW, "baseline"),
        (None, S, Change.NEW, "baseline"),
        (None, F, Change.REGRESSED, "new and failing"),
        (None, E, Change.NEW, "host error"),
        (P, None, Change.GONE, "its cell ran without it"),
        (F, None, Change.GONE, ""),
    ],
)
def test_every_pair_of_verdicts(before, after, change, words):
    found = one(run_of(before), run_of(after))
    assert found.change is change
    assert words in found.reason
    assert (found.before is None) is (before is None)
    assert (found.after is None) is (after is None)
    if E in (before, after):
        assert found.change is not Change.FIXED
        assert "host error" in found.reason  # never silently


def test_a_host_error_does_not_blame_the_kernel():
    assert not kernel_regressed(compare(run_of(P), run_of(E)))
    assert kernel_regressed(compare(run_of(P), run_of(F)))
    assert kernel_regressed(compare(run_of(P), run_of(S)))
    assert not kernel_regressed(compare(run_of(P), run_of(P)))


def test_another_hit_is_a_regression_and_is_named():
    found = one(run_of(F, hits=(rss_hit(),)), run_of(F, hits=(warn_hit(),)))
    assert found.change is Change.REGRESSED
    assert "new hit: WARNING at mm/userfaultfd.c in move_swap_pte" in found.reason
    assert "no longer seen: BUG: Bad rss-counter state" in found.reason
    same = one(run_of(F, hits=(rss_hit(),)), run_of(F, hits=(replace(rss_hit(), line=9),)))
    assert same.reason == ""
    assert "was: a" in one(run_of(F, reason="a"), run_of(F, reason="b")).reason


def test_expected_failures_are_no_fix():
    expected = run_of(P, expected="Bad rss-counter")
    assert one(run_of(F), expected).change is Change.STILL_FAILING
    assert one(expected, expected).change is Change.UNCHANGED
    assert one(run_of(P), expected).change is Change.UNCHANGED
    assert "lab.yaml expects" in one(run_of(P), expected).reason
    assert one(expected, run_of(P)).change is Change.FIXED
    assert one(expected, run_of(F)).change is Change.REGRESSED


def test_kernels_are_matched_without_their_names():
    found = compare(run_of(P, kernel="old"), run_of(F, kernel="new"))
    assert [c.key for c in found.regressed] == [KEY]
    assert found.baseline.endswith(" old")
    assert found.candidate.endswith(" new")


def two_kernels() -> RunResult:
    base, patched = run_of(P, kernel="base"), run_of(F, kernel="patched")
    return replace(
        base,
        kernels=base.kernels + patched.kernels,
        builds=base.builds + patched.builds,
        cells=base.cells + patched.cells,
    )


def test_two_kernels_of_one_run():
    run = two_kernels()
    found = compare(run, run, "base", "patched")
    assert [c.key for c in found.regressed] == [KEY]
    assert compare(run, run, "patched", "base").regressed == ()
    assert compare(run, run).regressed == ()  # by name: each against itself
    assert {c.change for c in compare(run, run).cases} == {Change.UNCHANGED, Change.STILL_FAILING}


def test_kernel_names_are_checked():
    run = two_kernels()
    with pytest.raises(UserError, match="no kernel 'bse'") as caught:
        compare(run, run, "bse", "patched")
    assert "base, patched" in caught.value.hint
    with pytest.raises(UserError, match="2 kernels and none was named"):
        compare(run, run_of(P, kernel="third"), None, "third")
    # named on one side, and the other side has it too
    assert compare(run, run, None, "patched").baseline.endswith("patched")


def test_a_build_that_fails_now():
    good, bad = good_run(), good_run()
    failed = replace(bad.builds[0], verdict=F, reason="mm/x.c:3: error")
    bad = replace(bad, builds=(failed, bad.builds[1]), cells=bad.cells[1:])
    found = compare(good, bad)
    assert [c.key for c in found.regressed] == ["default/x86_64/-:build:build"]
    gone = [c for c in found.cases if c.change is Change.GONE]
    assert len(gone) == len(good.cells[0].cases)
    assert {c.reason for c in gone} == {"not run: its build failed"}
    back = compare(bad, good)
    assert [c.key for c in back.cases if c.change is Change.FIXED] == [
        "default/x86_64/-:build:build"
    ]


def test_a_build_repeated_in_its_cells_counts_once():
    bad = good_run()
    failed = replace(bad.builds[0], verdict=F, reason="mm/x.c:3: error")
    where = bad.cells[0].id
    lost = replace(bad.cells[0], verdict=F, cases=(case(where, "build", "build", F),))
    bad = replace(bad, builds=(failed, bad.builds[1]), cells=(lost, bad.cells[1]))
    found = compare(good_run(), bad)
    assert len(found.regressed) == 1
    after = found.regressed[0].after
    assert after is not None
    assert after.rerun == f"lab rerun 20240105-142233-smoke '{where}:build:build'"


def test_a_host_error_of_the_build_is_told():
    bad = good_run()
    failed = replace(bad.builds[0], verdict=E, reason="disk full")
    bad = replace(bad, builds=(failed, bad.builds[1]), cells=bad.cells[1:])
    found = compare(good_run(), bad)
    assert not kernel_regressed(found)
    assert {c.reason for c in found.cases if c.change is Change.GONE} == {
        "not run: its build failed (host error)"
    }


def test_a_series_that_no_longer_applies():
    good, bad = good_run(), broken_run()
    bad = replace(
        bad, kernels=(replace(bad.kernels[1], name="cli"),), builds=(), cells=(), summary=None
    )
    found = compare(good, bad)
    first = found.cases[0]
    assert (first.key, first.change) == ("-/-/-:series:apply", Change.REGRESSED)
    assert "patch 2 (mm: a patch for another base) does not apply at mm/userfaultfd.c:1180" in (
        first.reason
    )
    assert {c.reason for c in found.cases if c.change is Change.GONE} == {
        "not run: its series does not apply"
    }


def test_an_unfinished_run_says_so():
    part = good_run()
    part = replace(part, run=replace(part.run, finished=""), cells=part.cells[:1])
    gone = [c for c in compare(good_run(), part).cases if c.change is Change.GONE]
    assert gone
    assert all("did not finish" in c.reason for c in gone)


def test_a_cell_without_cases_is_no_pass():
    empty = good_run()
    cells = tuple(replace(c, cases=()) for c in empty.cells)
    found = compare(good_run(), replace(empty, cells=cells))
    cell_cases = [c for c in found.cases if c.key.endswith(":cell:cases")]
    assert len(cell_cases) == 2
    assert all(c.after is not None and c.after.verdict is E for c in cell_cases)


def test_order_and_duplicates():
    twice = run_of(P)
    again = replace(twice.cells[0].cases[1], verdict=F)
    twice = replace(twice, cells=(replace(twice.cells[0], cases=(*twice.cells[0].cases, again)),))
    assert one(run_of(P), twice).change is Change.REGRESSED
    changes = [c.change for c in compare(good_run(), broken_run(), "cli", "cli").cases]
    order = list(dict.fromkeys(changes))
    assert order == [Change.REGRESSED, Change.GONE, Change.UNCHANGED]
    regressed = compare(good_run(), broken_run(), "cli", "cli").regressed
    assert [c.after.verdict for c in regressed if c.after] == [F, F, F, E]


def test_nothing_against_nothing():
    nothing = replace(good_run(), kernels=(), builds=(), cells=())
    assert compare(nothing, nothing).cases == ()
    assert {c.change for c in compare(nothing, good_run(), None, None).cases} == {Change.NEW}


def test_an_expected_build_failure_is_no_regression():
    bad = good_run()
    failed = replace(bad.builds[0], verdict=F, reason="mm/x.c:3: error")
    where = bad.cells[0].id
    told = case(where, "build", "build", P, expected="mm/x.c:3: error")
    bad = replace(
        bad,
        builds=(failed, bad.builds[1]),
        cells=(replace(bad.cells[0], cases=(told,)), bad.cells[1]),
    )
    assert compare(good_run(), bad).regressed == ()


def test_a_cell_that_only_built_is_no_pass():
    run = good_run()
    only = replace(run.cells[0], cases=(case(run.cells[0].id, "build", "build"),))
    found = compare(run, replace(run, cells=(only, run.cells[1])))
    assert [c.after.verdict for c in found.cases if c.key.endswith(":cell:cases") and c.after] == [
        E
    ]


def test_what_a_time_budget_left_out_is_gone_for_that_reason():
    full = good_run()
    first, second = full.cells
    left = replace(second, cases=(), verdict=S, notes=(f"{BUDGET} before its build",))
    builds = tuple(b for b in full.builds if b.arch == first.arch)
    cut = replace(full, builds=builds, cells=(first, left))
    found = compare(full, cut)
    gone = [c for c in found.cases if c.change is Change.GONE]
    assert len(gone) == len(second.cases) + 1  # and its build
    assert {c.reason for c in gone} == {f"not run: {BUDGET}"}
    assert found.regressed == ()
    # Nor is a failure unknown for nothing, where the baseline was the one that was cut.
    bad = replace(second, cases=(replace(second.cases[0], verdict=F),))
    (worse,) = compare(cut, replace(full, cells=(first, bad))).regressed
    assert f"baseline: not run: {BUDGET}" in worse.reason


# ---------------------------------------------------------------- measurements


def measured(*measurements):
    """A run whose first case measured just that."""
    run = good_run()
    cell = run.cells[0]
    cases = (replace(cell.cases[0], measurements=measurements), *cell.cases[1:])
    return replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))


def judged(before, after, unit, noise):
    a, b = measured(Measurement("x", before, unit)), measured(Measurement("x", after, unit))
    table = {(c.key, "x"): noise for c in compare(a, b).cases} if noise else {}
    (found,) = [c for c in figure_changes(compare(a, b), table) if c.name == "x"]
    return found.judged


@pytest.mark.parametrize(
    ("before", "after", "unit", "sigma", "expected"),
    [
        (800.0, 400.0, "MB/s", 0.02, "worse"),
        (400.0, 800.0, "MB/s", 0.02, "better"),
        (10.0, 20.0, "us", 0.02, "worse"),
        (20.0, 10.0, "us", 0.02, "better"),
        (10.0, 20.0, "1", 0.02, "changed"),
        (800.0, 760.0, "MB/s", 0.02, "noise"),
        (800.0, 400.0, "MB/s", 0.5, "noise"),
        (800.0, 790.0, "MB/s", 0.0, "noise"),  # nobody would act on it
        (800.0, 800.0, "MB/s", 0.02, "same"),
        (800.0, 400.0, "MB/s", None, "unknown"),
        (0.0, 400.0, "MB/s", 0.02, "unknown"),
        (float("nan"), 400.0, "MB/s", 0.02, "unknown"),
    ],
)
def test_a_figure_is_judged_by_its_noise(before, after, unit, sigma, expected):
    noise = None if sigma is None else Noise(sigma, 9, 8)
    assert judged(before, after, unit, noise) == expected


def test_a_figure_of_another_unit_or_a_spread_is_not_compared():
    a = measured(Measurement("x", 1.0, "us"), Measurement("y-spread", 3.0, "%"))
    b = measured(Measurement("x", 1.0, "ms"), Measurement("y-spread", 9.0, "%"))
    assert not [c for c in figure_changes(compare(a, b), {}) if c.name in ("x", "y-spread")]


def test_what_an_ended_run_left_out_is_no_case_of_it():
    whole, where = run_of(P), cell_id("cli", "x86_64")
    told = replace(case(where, "move/basic", NOT_RUN, S), reason=ENDED)
    cut = replace(whole, cells=(replace(whole.cells[0], cases=(whole.cells[0].cases[0], told)),))
    gone = one(whole, cut)
    assert (gone.change, gone.reason) == (Change.GONE, ENDED)
    found = one(cut, run_of(F))
    assert (found.change, found.reason) == (
        Change.REGRESSED, f"new and failing (baseline: {ENDED})",
    )  # fmt: skip
    assert not any(NOT_RUN in item.key for item in compare(whole, cut).cases)
    left = replace(whole, cells=(replace(whole.cells[0], cases=(), notes=(ENDED,), verdict=S),))
    assert one(whole, left).reason == ENDED
