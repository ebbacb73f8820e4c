# SPDX-License-Identifier: GPL-2.0-only
"""What the history has that speaks for a workload's failing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sample_run

from orchestrator.judge.outcome import ENDED
from orchestrator.model.names import BUILD, HANG, NOT_RUN, Verdict
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.model.signs import Signs
from orchestrator.results import history
from orchestrator.results.signs import signs

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
X86, ARM = "default/x86_64/small", "default/arm64/small"


def run_of(day: int, *cases: tuple[str, str, Verdict, float], kernel: str = "cli") -> RunResult:
    """A run with one cell; its cases are (workload, name, verdict, seconds)."""
    run = sample_run.good_run()
    place = f"{kernel}/{X86}"
    made = tuple(
        CaseResult(f"{place}:{w}:{name}", w, name, found, seconds=seconds)
        for w, name, found, seconds in cases
    )
    cell = replace(run.cells[0], id=place, kernel=kernel, cases=made)
    info = replace(run.run, id=f"r{day}", started=f"2024-01-{day:02}T21:30:00Z")
    return replace(run, run=info, kernels=(), cells=(cell,), builds=())


def test_no_history_knows_nothing(tmp_path: Path) -> None:
    assert signs(tmp_path / "none.sqlite", ["cli"]) == {}


def test_the_last_time_that_it_ran_counts(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    history.record(db, run_of(1, ("f/a", "c", F, 4.0), ("f/b", "c", P, 1.0), ("f/b", "d", P, 0.5)))
    found = signs(db, ["cli"])
    assert found[X86, "f/a"] == Signs(failed=True, found=1, runs=1, seconds=4.0)
    assert found[X86, "f/b"] == Signs(runs=1, seconds=1.5)
    # A run that was cut before it says nothing of it; nor does what the host did.
    cut = run_of(2, ("f/a", NOT_RUN, S, 0.0), ("f/b", "c", E, 9.0))
    history.record(db, replace(cut, cells=(replace(cut.cells[0], notes=(ENDED,)),)))
    assert signs(db, ["cli"]) == found
    history.record(db, run_of(3, ("f/a", "c", P, 2.0)))
    assert signs(db, ["cli"])[X86, "f/a"] == Signs(found=1, runs=2, seconds=3.0)
    assert signs(db, ["cli"], runs=1) == {(X86, "f/a"): Signs(runs=1, seconds=2.0)}


def test_another_kernels_failure_is_one_but_not_the_last(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    history.record(db, run_of(1, ("f/a", "c", P, 1.0)))
    history.record(db, run_of(2, ("f/a", "c", F, 1.0), kernel="other"))
    assert signs(db, ["cli"])[X86, "f/a"] == Signs(found=1, runs=2, seconds=1.0)
    assert signs(db, ["cli", "other"])[X86, "f/a"].failed
    # What a kernel failed stands until that kernel ran it again.
    history.record(db, run_of(3, ("f/a", "c", P, 1.0)))
    assert signs(db, ["cli", "other"])[X86, "f/a"].failed
    history.record(db, run_of(4, ("f/a", "c", P, 1.0), kernel="other"))
    assert not signs(db, ["cli", "other"])[X86, "f/a"].failed


def test_a_failure_elsewhere_is_told_with_its_place(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    run = run_of(1, ("f/a", "c", F, 1.0), ("f/b", "c", P, 1.0))
    arm = CaseResult(f"cli/{ARM}:f/a:c", "f/a", "c", P, seconds=7.0)
    other = replace(run.cells[0], id=f"cli/{ARM}", cases=(arm,))
    history.record(db, replace(run, cells=(*run.cells, other)))
    found = signs(db, ["cli"])
    assert found[ARM, "f/a"] == Signs(failed_at=X86, runs=1, seconds=7.0)
    assert found[X86, "f/a"].failed_at == ""


def test_a_hang_tells_no_time(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    history.record(db, run_of(1, ("f/a", "c", P, 1.0)))
    history.record(db, run_of(2, ("f/a", "c", P, 1.0), ("f/a", HANG, F, 60.0)))
    assert signs(db, ["cli"])[X86, "f/a"] == Signs(failed=True, found=1, runs=2, seconds=1.0)


def test_builds_have_a_place_of_their_own(tmp_path: Path) -> None:
    db = tmp_path / "h.sqlite"
    run = sample_run.good_run()
    bad = replace(run.builds[0], verdict=F, reason="no")
    history.record(db, replace(run, builds=(bad, *run.builds[1:]), cells=()))
    found = signs(db, [bad.kernel])
    assert found[f"{bad.config}/{bad.arch}/-", BUILD].failed
