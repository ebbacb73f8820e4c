# SPDX-License-Identifier: GPL-2.0-only
"""What is tried again within a run, when that is enough, and what it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.judge.compare import compare, kernel_regressed
from orchestrator.judge.retried import ALONE, Suspect, Tally, retried_text, suspects, to_try
from orchestrator.model.evidence import Hit
from orchestrator.model.judging import Decision, ErrorRates, Retried
from orchestrator.model.names import Verdict
from orchestrator.model.results import (
    CaseResult,
    CellRecord,
    Change,
    EarlierRuns,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import (
    HOST_CONFIG,
    HOST_SHAPE,
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    ShapeSpec,
    WorkloadSpec,
)

PASS, FAIL, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.SKIP
RATES = ErrorRates()
STEADY = WorkloadSpec("f/steady", "f", Path("/f"), "x.py")
RACY = replace(STEADY, name="f/racy", deterministic=False)


def case(kernel: str, workload: str, name: str, found: Verdict, **more: object) -> CaseResult:
    return CaseResult(
        f"{kernel}/c/x86_64/s:{workload}:{name}", workload, name, found, "why", **more
    )  # type: ignore[arg-type]


def run(*found: tuple[str, str, Verdict, Verdict], **more: object) -> RunResult:
    """A run of ``old`` and ``new``: workload, case, verdict there and here; SKIP there: no case."""
    cells = []
    for side, kernel in enumerate(("old", "new")):
        extra = more if side else {}
        cases = [case(kernel, workload, name, verdicts[side], **extra)
                 for workload, name, *verdicts in found if verdicts[side] is not SKIP]  # fmt: skip
        record = CellRecord(
            f"{kernel}/c/x86_64/s", kernel, "c", "x86_64", "s", "tcg", FAIL, 1.0, tuple(cases)
        )
        cells.append(record)
    kernels = tuple(KernelRecord(name, "x", "6.12") for name in ("old", "new"))
    info = RunInfo("r1", "t", "t", "lab run", 1, "0", "p", baseline="old")
    return RunResult(info, kernels, (), tuple(cells), Summary(0, 0, 0, 0))


def cells(on_host: bool = False) -> dict[str, Cell]:
    config = HOST_CONFIG if on_host else ConfigSpec("c")
    build = Build("new/c/x86_64", KernelSpec("new", "x", "s"), config, "x86_64")
    shape = HOST_SHAPE if on_host else ShapeSpec("s")
    return {"new/c/x86_64/s": Cell("new/c/x86_64/s", build, shape, (STEADY, RACY))}


def found(result: RunResult, on_host: bool = False) -> list[tuple[str, bool, bool]]:
    every = suspects(compare(result, result, "old", "new"), cells(on_host))
    return [(f"{one.case.workload}:{one.case.case}", one.steady, one.decided) for one in every]


def test_what_fails_here_alone_is_suspect_and_a_steady_workload_decided_by_the_runs_pair() -> None:
    result = run(
        ("f/steady", "a", PASS, FAIL),
        ("f/racy", "b", PASS, FAIL),
        ("f/steady", "both", FAIL, FAIL),
        ("f/steady", "good", PASS, PASS),
    )
    assert found(result) == [("f/steady:a", True, True), ("f/racy:b", False, False)]


def test_a_hang_of_a_steady_workload_is_confirmed_by_one_more_pair() -> None:
    result = run(("f/steady", "one", PASS, PASS), ("f/steady", "hang", SKIP, FAIL))
    assert found(result) == [("f/steady:hang", True, False)]


def test_what_the_baseline_never_ran_is_no_suspect() -> None:
    assert found(run(("f/racy", "new", SKIP, FAIL))) == []
    assert found(run(("gone/away", "a", PASS, FAIL))) == [], "no such workload in the cell"
    assert found(run(("boot", "boot", PASS, FAIL))) == []


@pytest.mark.parametrize(
    ("earlier", "steady"),
    [
        (EarlierRuns(), True),
        (EarlierRuns(failed=3), True),
        (EarlierRuns(passed=1, failed=2), False),
        (EarlierRuns(passed_elsewhere=9), True),
        (EarlierRuns(passed_elsewhere=9, failed_elsewhere=1), False),
    ],
)
def test_the_history_knows_better_than_the_manifest(earlier: EarlierRuns, steady: bool) -> None:
    result = run(("f/steady", "a", PASS, FAIL), earlier=earlier)
    assert found(result) == [("f/steady:a", steady, steady)]


def test_on_the_host_nothing_is_tried_but_what_is_steady_is_decided() -> None:
    result = run(("f/steady", "a", PASS, FAIL), ("f/racy", "b", PASS, FAIL))
    assert found(result, on_host=True) == [("f/steady:a", True, True)]


# ---------------------------------------------------------------- one case's trials


def suspect(steady: bool = False, decided: bool = False) -> Suspect:
    spec = STEADY if steady else RACY
    return Suspect(case("new", spec.name, "a", FAIL), spec, steady, decided)


def tally(one: Suspect, *pairs: tuple[bool, bool], most: int = 100, base: str = "old") -> Tally:
    """As many of the pairs as it takes."""
    made = Tally(one, RATES, most, base)
    for pair in pairs:
        assert not made.enough
        made.pairs.append(pair)
    return made


def test_a_steady_failure_takes_no_trial() -> None:
    made = tally(suspect(steady=True, decided=True))
    assert made.enough
    assert made.retried() == Retried(Decision.REGRESSION, 1, 1, 0, 1, "old", steady=True)
    told = "fails 1 of 1 with the series, 0 of 1 without, and its workload is deterministic"
    assert retried_text(made.retried()) == f"regression: {told}"


def test_a_steady_failure_of_time_takes_one_pair_that_agrees() -> None:
    made = tally(suspect(steady=True), (True, False))
    assert made.enough
    assert (made.retried().failed, made.retried().trials_base) == (2, 2)
    assert made.retried().steady
    made = tally(suspect(steady=True), (False, False))
    assert not made.enough, "it is not steady after all"
    assert not made.retried().steady


def test_trials_go_on_until_they_decide_and_the_runs_own_pair_is_not_counted() -> None:
    made = tally(suspect(), *[(True, False)] * 4)
    assert made.enough
    assert retried_text(made.retried()) == (
        "regression: fails 4 of 4 with the series, 0 of 4 without (wrong in at most 1%)"
    )
    flake = tally(suspect(), *[(True, True), (False, False)] * 3)
    assert not flake.enough


def test_as_many_trials_as_asked_for_and_no_more() -> None:
    made = tally(suspect(), (True, False), (False, False), most=2)
    assert made.enough
    assert retried_text(made.retried()) == (
        "undecided: fails 1 of 2 with the series, 0 of 2 without"
    )


def test_where_the_time_is_spent_it_is_told() -> None:
    made = tally(suspect(), (True, False))
    made.note = "the time for it was spent"
    assert made.enough
    assert retried_text(made.retried()) == (
        "undecided: fails 1 of 1 with the series, 0 of 1 without (the time for it was spent)"
    )
    nothing = tally(suspect())
    nothing.note = "no memory"
    assert retried_text(nothing.retried()) == "not tried again (no memory)"


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ([True] * ALONE, "fails each time: fails 5 of 5 with the series"),
        ([False] * ALONE, "not seen again: fails 0 of 5 with the series"),
        ([True, False], "flaky here, on the baseline not known: fails 1 of 2 with the series"),
    ],
)
def test_without_a_base_to_try_it_is_told_what_is_known(failed: list[bool], said: str) -> None:
    made = tally(suspect(), *[(one, False) for one in failed], base="")
    assert made.enough
    told = f"{said}; the baseline is another run, and was not tried"
    assert retried_text(made.retried()) == told


def test_words_where_no_series_makes_the_difference() -> None:
    made = replace(tally(suspect(), *[(True, False)] * 4).retried(), series=False)
    assert "fails 4 of 4 here, 0 of 4 on the baseline" in retried_text(made)
    assert retried_text(None) == ""


def test_small_rates_are_told_as_they_are() -> None:
    rates = ErrorRates(0.005, 0.025, 0.25)
    told = retried_text(Retried(Decision.REGRESSION, 9, 9, 0, 9, "old", rates=rates))
    assert told.endswith("(wrong in at most 0.5%)")
    told = retried_text(Retried(Decision.FLAKY, 9, 30, 9, 30, "old", rates=rates))
    assert told.endswith("(a regression of 25 points would be missed in at most 2.5%)")


def test_of_a_cause_one_workload_is_tried_and_the_others_only_while_it_is_not_decided() -> None:
    one, two = (Tally(suspect(), RATES, 100, "old", cause=7) for _ in range(2))
    two = replace(two, suspect=replace(two.suspect, spec=replace(RACY, name="f/other")))
    alone = replace(two, cause=None)
    assert to_try((one, two), (one, two)) == ("f/racy",)
    assert to_try((two,), (one, two)) == ("f/other",), "of another cell"
    assert to_try((one, two, alone), (one, two, alone)) == ("f/racy", "f/other")
    one.pairs += [(True, True), (False, False)] * 100
    assert to_try((one, two), (one, two)) == ("f/other",), "a flake decides nothing of the others"
    one.pairs[:] = [(True, False)] * 4
    assert to_try((one, two), (one, two)) == ()
    assert two.note == f"what it fails for is decided by {one.suspect.case.id}"
    assert not alone.note


# ---------------------------------------------------------------- the comparison

HIT = Hit("WARNING in f", "warning", "0123456789abcdef", 1, "")


@pytest.mark.parametrize(
    ("outcome", "hits", "change"),
    [
        (Retried(Decision.REGRESSION, 4, 4, 0, 4, "old"), (), Change.REGRESSED),
        (Retried(Decision.UNDECIDED, 2, 9, 1, 9, "old"), (), Change.REGRESSED),
        (Retried(Decision.FLAKY, 6, 40, 8, 40, "old"), (HIT,), Change.FLAKY),
        (Retried(Decision.BOTH, 9, 9, 9, 9, "old"), (), Change.FLAKY),
        (Retried(Decision.NEITHER, 0, 15, 0, 15, "old"), (), Change.FLAKY),
        (Retried(Decision.HARMLESS, 1, 20, 0, 20, "old"), (), Change.FLAKY),
        (Retried(Decision.HARMLESS, 1, 20, 0, 20, "old"), (HIT,), Change.REGRESSED),
        (Retried(Decision.HARMLESS, 1, 20, 0, 20, "old"), (replace(HIT, known="x"),), Change.FLAKY),
        (Retried(Decision.UNDECIDED, 2, 5), (), Change.REGRESSED),
        # Of trials against another kernel this comparison is not about.
        (Retried(Decision.FLAKY, 6, 40, 8, 40, "other"), (), Change.REGRESSED),
    ],
)
def test_only_what_the_series_breaks_is_a_regression(
    outcome: Retried, hits: tuple[Hit, ...], change: Change
) -> None:
    result = run(("f/racy", "a", PASS, FAIL), retried=outcome, hits=hits)
    comparison = compare(result, result, "old", "new")
    (item,) = comparison.cases
    assert item.change is change
    assert kernel_regressed(comparison) is (change is Change.REGRESSED)
    if outcome.base != "other":
        assert f"fails {outcome.failed} of {outcome.trials} with the series" in item.reason


def test_against_another_run_a_flake_of_this_ones_kernels_says_nothing() -> None:
    flaky = Retried(Decision.FLAKY, 6, 40, 8, 40, "old")
    result = run(("f/racy", "a", PASS, FAIL), retried=flaky)
    other = replace(result, run=replace(result.run, id="r0"))
    (item,) = compare(other, result, "old", "new").cases
    assert item.change is Change.REGRESSED
