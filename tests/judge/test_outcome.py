# SPDX-License-Identifier: GPL-2.0-only
"""The cases of a run as one list, and their summary."""

from __future__ import annotations

from dataclasses import replace

import sample_run

from orchestrator.judge.outcome import (
    BUDGET,
    ENDED,
    build_case,
    cases_of,
    cell_verdict,
    is_complete,
    left_out_of,
    not_run_text,
    series_case,
    summary_of,
)
from orchestrator.model.kernel import ApplyFailure
from orchestrator.model.names import NOT_RUN, Verdict
from orchestrator.model.results import CaseResult, RunResult


def counted(run: RunResult) -> dict[Verdict, int]:
    verdicts = [placed.case.verdict for placed in cases_of(run)]
    return {verdict: verdicts.count(verdict) for verdict in Verdict}


def test_the_summary_is_what_the_reports_show() -> None:
    run = sample_run.broken_run()
    shown, summary = counted(run), summary_of(run)
    assert summary.passed == shown[Verdict.PASS] > 0
    assert summary.failed == shown[Verdict.FAIL] > 0
    assert summary.skipped == shown[Verdict.SKIP]


def test_a_series_that_does_not_apply_is_counted_and_can_be_repeated() -> None:
    run = sample_run.broken_run()
    failure = ApplyFailure(1, "mm: x", "mm/x.c", 3, "does not match", "@@", "text")
    kernel = replace(
        run.kernels[0], name="cli", source="debian:6.12=1", series_origin="/a b.mbx",
        failure=failure,
    )  # fmt: skip
    lone = replace(run, kernels=(kernel,), builds=(), cells=(), problems=())
    assert summary_of(lone).failed == 1
    case = series_case(lone, kernel)
    assert case is not None
    again = "lab run --source debian:6.12=1 --series '/a b.mbx'"
    assert case.rerun == f"{again} -p smoke"
    # What was chosen among is chosen again, as it was typed; how it was shown is not.
    for typed, kept in (
        ("-p quick --arch amd64 --plain --arch=arm64", "-p quick --arch amd64 --arch=arm64"),
        (
            "--workload 'uffd-move/*' --jobs 2 --config kasan",
            "--workload 'uffd-move/*' --config kasan",
        ),
        ("'", ""),
    ):
        info = replace(run.run, command=f"lab run --series x {typed}")
        told = series_case(replace(lone, run=info), kernel)
        assert told is not None
        assert told.rerun == f"{again} {kept}".rstrip()
    other = series_case(replace(lone, run=replace(run.run, command="lab rerun --arch x")), kernel)
    assert other is not None
    assert other.rerun == again


def test_a_failed_build_is_repeated_with_what_was_to_run_after_it() -> None:
    run = sample_run.broken_run()
    kernel = replace(run.kernels[0], name="cli", source="path:/linux", series=(), series_origin="")
    build = replace(run.builds[0], kernel="cli", verdict=Verdict.FAIL, reason="x.c:1: error: y")
    this = f"--config {build.config} --arch {build.arch}"
    for typed, kept in (
        ("--arch amd64 --workload uffd-move/swap --source /linux", "--workload uffd-move/swap "),
        ("-p quick --shape=numa --arch=arm64 --config kasan --toolchain gcc-12",
         "-p quick --shape=numa "),
        ("-pquick --plain", "-pquick "),
        ("", ""),
    ):  # fmt: skip
        info = replace(run.run, command=f"lab run {typed}")
        told = build_case(replace(run, run=info, kernels=(kernel,), cells=()), build)
        assert told.rerun == f"lab run --source path:/linux {kept}{this}"


def test_what_was_never_tried_is_an_error() -> None:
    run = sample_run.broken_run()
    empty = replace(run, kernels=(), builds=(), cells=(), problems=("kernel v9: no such package",))
    assert summary_of(empty).errors == 1


def test_what_was_not_run_is_counted_by_its_reason() -> None:
    run = sample_run.good_run()
    whole = run.cells[0]
    assert (not_run_text(run.cells), is_complete(run)) == ("", True)
    late = replace(whole, id="k/a/x86_64/s", cases=(), notes=(f"{BUDGET} before its build",))
    never = replace(late, id="k/b/x86_64/s", notes=(ENDED,))
    cases = [
        CaseResult(f"{whole.id}:{name}:{NOT_RUN}", name, NOT_RUN, Verdict.SKIP, ENDED)
        for name in ("w/a", "w/b")
    ]
    cut = replace(whole, cases=(*whole.cases, *cases))
    assert left_out_of(cut) == ("w/a", "w/b")
    assert not_run_text([whole, late, never, cut]) == (
        "1 cell not run: time budget; 2 workloads and 1 cell not run: ended at the first failure"
    )
    for cell in (late, never, cut):
        assert not is_complete(replace(run, cells=(whole, cell)))
    clean = [case for case in whole.cases if case.verdict is Verdict.PASS]
    assert cell_verdict([*clean, *cases]) is Verdict.SKIP
    bad = replace(clean[0], verdict=Verdict.FAIL)
    assert cell_verdict([bad, *cases]) is Verdict.FAIL
