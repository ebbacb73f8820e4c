# SPDX-License-Identifier: GPL-2.0-only
"""A known issue of the baseline that a candidate mends: what is news of it, and what is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from judging import RSS, seen, spec
from known_runs import PANIC_HIT, WHY, cases_of, changes, known, lost, run_of, settled

from orchestrator import HOME
from orchestrator.commands.summary import summary_text
from orchestrator.judge.compare import compare, kernel_regressed
from orchestrator.judge.known_issues import settle
from orchestrator.model.kernel import PatchState
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, Change, RunResult
from orchestrator.model.spec import KnownIssue
from orchestrator.report import html, junit
from orchestrator.report.compare_text import comparison_text
from orchestrator.report.text import issue_standing
from orchestrator.results import store

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR
CELL = "stock/default/x86_64/small"
HELD = KnownIssue(WHY, title="did not come back", workload="move/held", case="*")


def held(verdict: Verdict, *names: str, reason: str = "") -> tuple[CaseResult, ...]:
    own = [
        CaseResult(f"{CELL}:move/held:{name}", "move/held", name, verdict, reason)
        for name in names or ("pinned", "forked", "in-pipe")
    ]
    beside = [
        CaseResult(f"{CELL}:move/held:{name}", "move/held", name, P)
        for name in ("kernel-log", "counters")
    ]
    return (*own, *beside)


def with_series(run: RunResult) -> RunResult:
    patch = PatchState(1, "let it end", "A <a@example.org>", "0" * 64, True)
    return replace(run, kernels=(replace(run.kernels[0], series=(patch,)),))


def counts(
    a: RunResult, b: RunResult, kernel_a: str | None = None, kernel_b: str | None = None
) -> dict[str, int]:
    found = compare(a, b, kernel_a, kernel_b)
    return dict(Counter(item.change.value for item in found.cases))


def test_a_series_that_mends_three_cases_of_a_known_issue() -> None:
    before, _ = settled(run_of(*held(F, reason="the move did not come back in 1 s")), HELD)
    after, _ = settled(with_series(run_of(*held(P))), HELD)
    assert counts(before, after) == {"fixed": 3, "unchanged": 6}
    found = changes(before, after)
    assert found["move/held:pinned"] == (
        Change.FIXED, f"a known issue on the baseline, passes now: {WHY}",
    )  # fmt: skip
    assert found["series:apply"] == (Change.UNCHANGED, "the baseline has no series")
    # The other way round nothing is news but what is known.
    back = changes(after, before)
    assert back["series:apply"] == (Change.UNCHANGED, "there is no series now")
    assert back["move/held:pinned"][0] is not Change.FIXED
    assert not kernel_regressed(compare(before, after))


def test_a_series_that_does_not_apply_stays_news() -> None:
    patch = PatchState(1, "let it end", "A <a@example.org>", "0" * 64, False)
    plain = run_of(*held(P))
    broken = replace(plain, kernels=(replace(plain.kernels[0], series=(patch,)),))
    assert changes(plain, broken)["series:apply"][0] is Change.REGRESSED
    assert changes(broken, plain)["series:apply"][0] is Change.GONE


@pytest.mark.parametrize(
    ("verdict", "change"),
    [(P, Change.FIXED), (S, Change.UNCHANGED), (E, Change.UNCHANGED), (F, Change.REGRESSED)],
)
def test_only_a_pass_is_a_fix(verdict: Verdict, change: Change) -> None:
    before, _ = settled(run_of(*held(F, reason="the move did not come back in 1 s")), HELD)
    after = run_of(*held(verdict, reason="something else"))
    assert changes(before, after)["move/held:pinned"][0] is change


def test_a_skip_that_names_a_known_issue_was_no_failure() -> None:
    (first, *rest) = held(S, "pinned", reason="not run")
    named = replace(first, known=WHY, judged="skip: not run")
    found = changes(run_of(named, *rest), run_of(*held(P, "pinned")))
    assert found["move/held:pinned"][0] is Change.NEW


def test_a_known_report_that_is_gone() -> None:
    before, _ = settled(run_of(*cases_of(seen(console=RSS))), known())
    change, reason = changes(before, run_of(*cases_of(seen())))["move/basic:kernel-log"]
    assert change is Change.FIXED
    assert WHY in reason
    assert "no longer seen: BUG: Bad rss-counter state" in reason


def test_what_stood_there_only_for_a_known_panic_is_no_news() -> None:
    workload = spec(invariants=("back-after-exit",))
    other = cases_of(seen(), "move/other")
    hung = replace(lost(), timed_out=True, host_problem="the connection was lost")
    before, _ = settled(run_of(*cases_of(hung), *other), known(PANIC_HIT))
    after = run_of(*cases_of(seen(workload=workload)), *other)
    found = changes(before, after)
    assert found["move/basic:kernel-log"][0] is Change.FIXED
    for case in ("guest", "unfinished"):
        assert found[f"move/basic:{case}"] == (
            Change.UNCHANGED, f"there only for the known issue of the baseline: {WHY}",
        )  # fmt: skip
    assert found["move/basic:counters"][0] is Change.UNCHANGED
    # What it had kept from being tried has its first result now.
    assert found["move/basic:holes"] == (
        Change.NEW, f"baseline: not reached for a known issue: {WHY}",
    )  # fmt: skip


def test_a_hang_that_was_known_and_is_gone() -> None:
    hung = replace(seen("KTAP version 1\n1..2\nok 1 basic\n"), timed_out=True)
    issue = KnownIssue(WHY, case="hang", workload="move/basic")
    before, cases = settled(run_of(*cases_of(hung)), issue)
    assert cases["move/basic:hang"].known == WHY
    found = changes(before, run_of(*cases_of(seen())))
    assert found["move/basic:hang"][0] is Change.FIXED
    # It is not where the workload did not run.
    boot = run_of()
    assert changes(before, boot)["move/basic:hang"][0] is Change.GONE


def test_a_boot_that_a_known_panic_ended_is_fixed_once() -> None:
    boot = CaseResult(
        f"{CELL}:boot:boot", "boot", "boot", F, f"panicked; {PANIC_HIT.title}", hits=(PANIC_HIT,)
    )
    left = CaseResult(
        f"{CELL}:move/basic:guest", "move/basic", "guest", S, "not run: the guest did not boot"
    )
    before, _ = settled(run_of(boot, left), known(PANIC_HIT))
    found = changes(before, run_of(*cases_of(seen())))
    assert found["boot:boot"][0] is Change.FIXED
    assert found["move/basic:guest"][0] is Change.UNCHANGED


# ---------------------------------------------------------------- runs as they were


@pytest.fixture(scope="module")
def pair() -> tuple[RunResult, RunResult]:
    """6.12.117, and a series that makes moves of held huge pages end; each ran `unsplittable`."""
    before, after = (store.load(HOME / "tests/data/mended" / name) for name in ("before", "after"))
    return before, after


def test_terminal_page_and_junit_agree(pair: tuple[RunResult, RunResult], tmp_path: Path) -> None:
    before, after = pair
    comparison = compare(before, after)
    told_as = "3 fixed, 8 unchanged"
    text = comparison_text(comparison)
    assert text.endswith(told_as)
    assert text.count("a known issue on the baseline, passes now: a move of part of") == 3
    told = summary_text(after, comparison, tmp_path, 1.0)
    assert f"against 20261129-203310 v6.12: {told_as}" in told
    standing = "not seen on cli (passes in 1 cell)"
    assert f"known issue {standing}: uffd-move/unsplittable:*" in told
    page = html.render(after, tmp_path, comparison)
    assert f"Against 20261129-203310 v6.12: {told_as}." in page
    assert page.count("a known issue on the baseline, passes now") == 3
    assert standing in page
    root = ElementTree.fromstring(junit.render(after, comparison))
    outs = [node.text or "" for node in root.iter("system-out")]
    assert sum(out.startswith("fixed: a known issue on the baseline") for out in outs) == 3
    assert not [*root.iter("skipped"), *root.iter("failure"), *root.iter("error")]


def test_both_kernels_in_one_run(pair: tuple[RunResult, RunResult]) -> None:
    """As ``--baseline v6.12`` has them."""
    before, after = pair
    run = replace(
        after, kernels=before.kernels + after.kernels, builds=before.builds + after.builds,
        cells=before.cells + after.cells,
    )  # fmt: skip
    run = settle(run, (), [KnownIssue(WHY, title="did not come back", case="*")])
    (issue,) = run.known_issues
    assert issue_standing(issue, run) == "seen in 1 of 2 cells, not on cli"
    assert counts(run, run, "v6.12", "cli") == {"fixed": 3, "unchanged": 8}


@pytest.mark.parametrize(
    ("name", "verdict"), [("guest", E), ("guest", F), ("exit-status", F), ("ktap", E)]
)
def test_a_workload_that_ended_badly_has_not_come_to_the_known_hang(
    name: str, verdict: Verdict
) -> None:
    hang = KnownIssue(WHY, title="still running", workload="move/held", case="hang")

    def one(case: str, found: Verdict, reason: str = "") -> CaseResult:
        return CaseResult(f"{CELL}:move/held:{case}", "move/held", case, found, reason)

    before, _ = settled(run_of(one("first", P), one("hang", F, "still running after 300 s")), hang)
    after, _ = settled(run_of(one("first", P), one(name, verdict, "it died")), hang)
    assert changes(before, after)["move/held:hang"][0] is Change.GONE
