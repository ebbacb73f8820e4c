# SPDX-License-Identifier: GPL-2.0-only
"""expect: over a whole run: series and builds as well as cells, and over a run that is resumed."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.compare import compare
from orchestrator.judge.expectations import apply_expectations, expect_of_run
from orchestrator.judge.outcome import cell_cases, cell_verdict, exit_status, series_case
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK
from orchestrator.model.evidence import Hit
from orchestrator.model.kernel import ApplyFailure
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    Change,
    KernelRecord,
    RunInfo,
    RunResult,
    Summary,
)
from orchestrator.model.spec import Expectation, Plan
from orchestrator.report import junit
from orchestrator.runner.state import RunState

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
BUILD = "bad/default/x86_64"
CELL = f"{BUILD}/small"
RSS = "BUG: Bad rss-counter state type:MM_ANONPAGES"
FAILURE = ApplyFailure(2, "mm: move", "mm/x.c", 3, "hunk 1 does not match", "", "")


def case(verdict: Verdict, reason: str = "", title: str = "", name: str = "a") -> CaseResult:
    hits = (Hit(title, "k", "s", 1, title),) if title else ()
    return CaseResult(f"{CELL}:f/w:{name}", "f/w", name, verdict, reason, hits=hits)


def build(verdict: Verdict, reason: str = "") -> BuildRecord:
    return BuildRecord(BUILD, "bad", "default", "x86_64", verdict, reason, 1.0, False, "")


def cell(*cases: CaseResult, verdict: Verdict | None = None, notes: tuple[str, ...] = ()):
    return CellRecord(
        CELL, "bad", "default", "x86_64", "small", "tcg", verdict or cell_verdict(cases), 1.0,
        cases, notes=notes,
    )  # fmt: skip


def run_of(builds=(), cells=(), failure: ApplyFailure | None = None) -> RunResult:
    info = RunInfo("r", "s", "f", "lab run", 0, "0", "p")
    kernel = KernelRecord("bad", "s", "6.12", failure=failure)
    return RunResult(info, (kernel,), tuple(builds), tuple(cells), Summary(0, 0, 0, 0))


def expect(run: RunResult, title: str, glob: str = "*") -> tuple[RunResult, int]:
    """What a run comes to with one expectation, and its exit status."""
    wanted = Expectation("bad", "*", glob, title, "lab.yaml:9")
    kernels, builds, cells = expect_of_run(run, [wanted])
    after = replace(run, kernels=kernels, builds=builds, cells=cells)
    assert expect_of_run(after, [wanted]) == (kernels, builds, cells)
    return after, exit_status(cells, builds, kernels)


# ---------------------------------------------------------------- again


def test_applying_twice_is_applying_once() -> None:
    wanted = [Expectation("*", "*", "*", "Bad rss-counter"), Expectation("*", "*", "*", "EEXIST")]
    for cases in (
        [case(F, title=RSS)],
        [case(F, title=RSS), case(F, "got 0, expected EEXIST", name="b")],
        [replace(case(F, RSS, RSS), hits=(*case(F, title=RSS).hits, *case(F, title="KASAN").hits))],
        [case(P)],
        [case(E, "lost")],
    ):
        once = apply_expectations(cases, wanted)
        assert apply_expectations(once, wanted) == once
        # Of a lab.yaml that no longer expects it nothing stays.
        assert apply_expectations(once, []) == tuple(cases)


def test_cells_that_a_resumed_run_keeps() -> None:
    wanted = (Expectation("bad", "*", "*", "Bad rss-counter"),)
    state = RunState(
        kernels={"bad": KernelRecord("bad", "s", "6.12")}, builds={BUILD: build(P)},
        cells={CELL: cell(case(F, title=RSS))},
    )  # fmt: skip
    plan = Plan("p", (), (), wanted)
    state.settle(plan)
    (found,) = state.cells[CELL].cases
    assert (found.verdict, found.expected) == (P, "Bad rss-counter")
    assert state.cells[CELL].verdict is P
    before = (dict(state.builds), dict(state.cells), dict(state.kernels))
    state.settle(plan)
    assert (state.builds, state.cells, state.kernels) == before


# ---------------------------------------------------------------- builds and series


def test_a_build_that_fails_as_expected() -> None:
    unbooted = cell(verdict=F, notes=("not booted: its build failed",))
    run = run_of([build(F, "mm/x.c:3: implicit declaration")], [unbooted])
    after, status = expect(run, "implicit declaration", "build:build")
    assert status == EXIT_OK
    assert (after.builds[0].verdict, after.builds[0].expected) == (P, "implicit declaration")
    assert "mm/x.c:3" in after.builds[0].reason
    assert after.cells[0].verdict is S
    assert after.cells[0].notes[-1] == "as lab.yaml expects: implicit declaration"
    assert cell_cases(after, after.cells[0]) == ()
    good = run_of([build(P)], [cell(case(P))])
    assert compare(good, after).regressed == ()
    (fixed,) = [c for c in compare(after, good).cases if c.key.endswith("build:build")]
    assert fixed.change is Change.FIXED
    assert "no case was executed" not in junit.render(after, None)
    # Another failure than the expected one stays.
    after, status = expect(replace(run, builds=(build(F, "no memory"),)), "implicit", "build:build")
    assert (after.builds[0].verdict, status) == (F, EXIT_KERNEL)


def test_a_build_that_no_longer_fails_as_expected() -> None:
    after, status = expect(run_of([build(P)], [cell(case(P))]), "implicit", "build:build")
    assert status == EXIT_KERNEL
    assert after.cells[0].cases[-1].id == f"{CELL}:expect:implicit"
    # Where no guest was to be booted, it is the build's.
    after, status = expect(run_of([build(P)]), "implicit", "build:build")
    assert (after.builds[0].verdict, status) == (F, EXIT_KERNEL)
    assert "lab.yaml:9" in after.builds[0].reason
    # What speaks of cells is not held against builds alone.
    for glob in ("*", "f/w:*", "*:*"):
        after, _ = expect(run_of([build(P)]), RSS, glob)
        assert after.builds[0].verdict is P


def test_a_series_that_does_not_apply_as_expected() -> None:
    run = run_of(failure=FAILURE)
    assert exit_status((), (), run.kernels) == EXIT_KERNEL
    after, status = expect(run, "does not apply", "series:apply")
    assert status == EXIT_OK
    assert after.kernels[0].expected == "does not apply"
    found = series_case(after, after.kernels[0])
    assert found is not None
    assert (found.verdict, found.expected) == (P, "does not apply")
    assert "mm/x.c:3" in found.reason
    assert expect(run, "something else", "series:apply")[1] == EXIT_KERNEL


# ---------------------------------------------------------------- nothing was tried


def test_nothing_executed_is_never_a_success() -> None:
    unbooted = cell(verdict=F, notes=("not booted: its build failed",))
    assert exit_status([unbooted], [build(F)], regressions=0) == EXIT_KERNEL
    failed = run_of(failure=FAILURE).kernels
    assert exit_status([], [], failed, regressions=0) == EXIT_KERNEL
    assert exit_status([cell(verdict=S)], [build(P)], regressions=0) == EXIT_HOST
    assert exit_status([], [build(F)], regressions=0, need_cases=False) == EXIT_KERNEL
    # Something else ran, so what fails on both sides is no regression.
    assert exit_status([unbooted, cell(case(P))], [build(F)], regressions=0) == EXIT_OK


def test_what_an_ended_cell_has_not_met_its_rest_may() -> None:
    left = case(S, "not run: ended at the first failure", name=NOT_RUN)
    ended, _ = expect(run_of(cells=[cell(case(P), left)]), RSS)
    assert [c.case for c in ended.cells[0].cases] == ["a", NOT_RUN]
    met, status = expect(run_of(cells=[cell(case(F, title=RSS), left)]), RSS)
    assert (met.cells[0].cases[0].expected, status) == (RSS, EXIT_OK)
    whole, status = expect(run_of(cells=[cell(case(P))]), RSS)
    assert (whole.cells[0].verdict, status) == (F, EXIT_KERNEL)
