# SPDX-License-Identifier: GPL-2.0-only
"""known_issues: what they excuse, what they never do, and that a gone one is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from judging import PANIC, RSS, seen, spec
from known_runs import (
    CELL,
    PANIC_HIT,
    RSS_HIT,
    WARN,
    WARN_HIT,
    WHY,
    cases_of,
    changes,
    known,
    lost,
    place,
    run_of,
    settled,
)
from sample_run import good_run

from orchestrator import HOME
from orchestrator.commands.summary import summary_text
from orchestrator.judge.compare import compare, kernel_regressed
from orchestrator.judge.known_issues import mark, settle
from orchestrator.judge.outcome import exit_status
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK
from orchestrator.model.evidence import GuestEnd, Hit, WorkloadEvidence
from orchestrator.model.formats import check_range, in_range
from orchestrator.model.names import UNFINISHED, Verdict
from orchestrator.model.results import (
    CaseResult,
    Change,
    IssueRecord,
    RunResult,
)
from orchestrator.model.spec import Expectation, KnownIssue, MessageRules
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.problems import Problems
from orchestrator.plan.selftest_table import read_table
from orchestrator.report import html, junit
from orchestrator.results import store

P, F, S, E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR


def status(run: RunResult) -> int:
    return exit_status(run.cells, run.builds, run.kernels)


# ---------------------------------------------------------------- which hit


@pytest.mark.parametrize(
    ("issue", "version", "good"),
    [
        (known(), "6.12.20", True),
        (known(kernels=(">= 6.8, < 6.12.30",)), "6.12.20", True),
        (known(kernels=(">= 6.8, < 6.12.30",)), "6.12.30", False),
        (known(kernels=("< 6.1.5", "= 6.12")), "6.12.99", True),
        (known(kernels=("> 6.0",)), "", False),
        (known(kernel="st*", config="default", arch="x86_64"), "6.12.20", True),
        (known(kernel="other"), "6.12.20", False),
        (known(config="kasan"), "6.12.20", False),
        (known(arch="arm64"), "6.12.20", False),
        (known(workload="move"), "6.12.20", True),
        (known(workload="move/b*"), "6.12.20", True),
        (known(workload="boot"), "6.12.20", False),
        (known(signature="0" * 16), "6.12.20", False),
        (known(signature="", title="^BUG: Bad rss-counter .*ANONPAGES$"), "6.12.20", True),
        (known(signature="", title="SWAPENTS"), "6.12.20", False),
        (known(title="ANONPAGES"), "6.12.20", True),
        (known(title="SWAPENTS"), "6.12.20", False),
    ],
)
def test_which_hit_is_meant(issue: KnownIssue, version: str, good: bool) -> None:
    run = run_of(*cases_of(seen(console=RSS)), version=version)
    assert status(run) == EXIT_KERNEL
    after, cases = settled(run, issue)
    log = cases["move/basic:kernel-log"]
    assert log.verdict is (P if good else F)
    assert bool(log.known) is good
    assert [hit.known for hit in log.hits] == [WHY if good else ""]
    assert status(after) == (EXIT_OK if good else EXIT_KERNEL)
    if good:
        assert log.reason == f"known: {WHY}"
        assert log.judged == f"fail: {RSS_HIT.title}"
        assert after.summary.failed == 0


def test_a_hang_that_was_proved_is_known_by_its_hit() -> None:
    """One that only outlasted its time has none, and is meant by its case."""
    hit = Hit("endless loop in move_pages", "endless-loop", "5e" * 8, 0, "look 1 of 5", fatal=True)
    hung = seen("KTAP version 1\n1..2\nok 1 basic\n", exit_status=None, stuck=hit)
    run = run_of(*cases_of(hung))
    assert status(run) == EXIT_KERNEL
    after, cases = settled(run, known(signature="5e" * 8))
    assert cases["move/basic:hang"].verdict is P
    assert cases["move/basic:hang"].known == WHY
    assert status(after) == EXIT_OK
    assert settled(run, known(signature="6f" * 8))[1]["move/basic:hang"].verdict is F
    late = run_of(*cases_of(seen(exit_status=None, timed_out=True)))
    assert settled(late, known(signature="", case="hang"))[1]["move/basic:hang"].known == WHY


def test_a_corrupted_report_is_known_by_its_title_alone() -> None:
    (log,) = (c for c in cases_of(seen(console=RSS)) if c.case == "kernel-log")
    cut = replace(log, hits=(replace(RSS_HIT, corrupted=True),))
    good = CaseResult(f"{CELL}:move/basic:a", "move/basic", "a", P)
    assert settled(run_of(good, cut), known())[1]["move/basic:kernel-log"].verdict is F
    both = known(title="Bad rss-counter")
    assert settled(run_of(good, cut), both)[1]["move/basic:kernel-log"].verdict is F
    title = known(signature="", title="Bad rss-counter")
    assert settled(run_of(good, cut), title)[1]["move/basic:kernel-log"].verdict is P


@pytest.mark.parametrize(
    ("version", "text", "inside"),
    [
        ("6.12.0-rc3", "< 6.12", False),
        ("6.12.0-rc3", ">= 6.12", True),
        ("6.12.0-rc3", "< 6.12-rc4", True),
        ("6.12.0", "< 6.12-rc4", False),
        ("6.12.5", "<= 6.12", True),
        ("6.12.5", "> 6.12", False),
        ("6.13", "> 6.12", True),
        ("6.12.5", "6.12", True),
        ("6.12.5", "= 6.12.4", False),
        ("6.9.1-custom+", ">=6.8,<6.10", True),
        ("next", "> 1.0", False),
    ],
)
def test_ranges(version: str, text: str, inside: bool) -> None:
    check_range(text)
    assert in_range(version, text) is inside


@pytest.mark.parametrize(
    "text",
    ["> 6.12, < 6.13", "> 6.12.3, < 6.12.4", "> 6.12, = 6.12", "= 6.12, = 6.13", "< 6.1, > 6.12",
     "< 0.0", "> 6.12-rc3, < 6.12-rc4"],
)  # fmt: skip
def test_a_range_that_holds_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no version is in this range"):
        check_range(text)


@pytest.mark.parametrize(
    ("text", "held"),
    [("> 6.12, < 6.13-rc3", "6.13-rc2"), ("> 6.12.3, < 6.13", "6.12.4"),
     ("= 6.12, < 6.12.30", "6.12.29"), (">= 6.12-rc3, < 6.12.1", "6.12-rc3"),
     ("<= 6.12", "6.12.30"), ("> 6.12", "6.13"), ("6.12", "6.12.7"),
     (">= 6.12, <= 6.12", "6.12.30"), ("> 6.12-rc3, < 6.12-rc5", "6.12-rc4")],
)  # fmt: skip
def test_a_range_that_holds_something_is_taken(text: str, held: str) -> None:
    check_range(text)
    assert in_range(held, text)


def test_the_tables_ranges_hold_for_the_kernels_they_mean() -> None:
    problems = Problems()
    path = HOME / "guest-tests/kselftest/mm.yaml"
    table = read_table(path, "mm.yaml", "kselftest/mm", problems)
    assert table is not None
    assert not len(problems)
    ranges = [text for issue in table.known for text in issue.kernels]
    assert ranges
    for text in ranges:
        assert in_range("6.12.117", text)
        assert not in_range("6.13.1", text)


@pytest.mark.parametrize(
    ("workload", "case", "reason", "good"),
    [
        ("race/numa", "migration-entry", "RACE moves=9\nrace.c:385: a move failed "
         "with ENOENT, which nothing in this case explains (last field -2)", True),
        ("race/numa", "migration-entry", "RACE moves=9\nrace.c:365: 1 of 2 threads "
         "hang: no standstill within 20 s of CPU time of a mover; before that: a move failed with "
         "ENOENT, which", False),
        ("uffd-move/ksm-zero", "moved-zero-page-counted",
         "ksm.c:231: knob_number(ZERO_PAGES): got 32, expected 16", True),
        ("uffd-move/ksm-zero", "moved-zero-page-counted",
         "ksm.c:222: knob_number(ZERO_PAGES): got 16, expected 32", False),
        ("uffd-move/ksm-zero", "moved-zero-page-counted",
         "ksm.c:231: knob_number(ZERO_PAGES): got 160, expected 16", False),
        ("uffd-move/unsplittable", "part-of-pinned-page",
         "unsplittable.c:134: the move did not come back within 1000 ms", True),
    ],
)  # fmt: skip
def test_the_shipped_issues_describe_the_defect_alone(
    workload: str, case: str, reason: str, good: bool
) -> None:
    issues = load_config(HOME / "lab.yaml", tuple(ARCHES)).known_issues
    cell = "v6.12/numa/x86_64/numa2"
    found = CaseResult(f"{cell}:{workload}:{case}", workload, case, F, reason)
    assert bool(mark(found, "6.12.117", issues).known) is good


# ---------------------------------------------------------------- what it never hides


def test_another_hit_fails_for_itself() -> None:
    run = run_of(*cases_of(seen(console=RSS + WARN)))
    after, cases = settled(run, known())
    log = cases["move/basic:kernel-log"]
    assert log.verdict is F
    assert log.reason == f"{WARN_HIT.title}\nbesides known issues: {RSS_HIT.title}"
    assert [bool(hit.known) for hit in log.hits] == [True, False]
    assert WARN_HIT.title in summary_text(after, None, Path("/r"), 1.0)
    # Both known, both passed.
    _, cases = settled(run, known(), known(WARN_HIT, reason="harmless"))
    assert cases["move/basic:kernel-log"].known == f"{WHY}; harmless"


def test_rules_and_cases_stay_what_they_are() -> None:
    rules = spec(messages=MessageRules(forbids=("splat",), requires=("ready",)))
    bad = seen(workload=rules, console=RSS + "[    9.500000][   T1] splat\n")
    log = settled(run_of(*cases_of(bad)), known())[1]["move/basic:kernel-log"]
    assert log.verdict is F
    assert log.reason.split("\n")[0] == "forbidden message: splat"
    failing = "KTAP version 1\n1..1\nnot ok 1 basic\n"
    after, cases = settled(run_of(*cases_of(seen(failing, exit_status=1, console=RSS))), known())
    assert (cases["move/basic:basic"].verdict, cases["move/basic:kernel-log"].verdict) == (F, P)
    assert status(after) == EXIT_KERNEL


def test_counters_are_excused_only_on_request() -> None:
    good = CaseResult(f"{CELL}:move/basic:a", "move/basic", "a", P)
    off = CaseResult(f"{CELL}:move/basic:counters", "move/basic", "counters", F, "RssAnon is off")
    log = CaseResult(
        f"{CELL}:move/basic:kernel-log", "move/basic", "kernel-log", F, RSS_HIT.title,
        hits=(RSS_HIT,),
    )  # fmt: skip
    _, cases = settled(run_of(good, off, log), known())
    assert cases["move/basic:counters"].verdict is F
    after, cases = settled(run_of(good, off, log), known(counters=True))
    assert cases["move/basic:counters"].verdict is P
    assert cases["move/basic:counters"].reason == f"known: {WHY}\nRssAnon is off"
    assert status(after) == EXIT_OK
    # Not where the issue was not seen, be it in another workload.
    other = tuple(place(case, "move/other") for case in (good, off))
    _, cases = settled(run_of(good, off, log, *other), known(counters=True))
    assert cases["move/other:counters"].verdict is F


def test_expected_and_known_hits_of_one_case() -> None:
    run = run_of(*cases_of(seen(console=RSS + WARN)))
    expect = (Expectation("stock", "*", "*", "Bad rss-counter"),)
    _, cases = settled(run, expect=expect)
    assert cases["move/basic:kernel-log"].verdict is F
    _, cases = settled(run, known(WARN_HIT), expect=expect)
    log = cases["move/basic:kernel-log"]
    assert (log.verdict, log.expected, log.known) == (P, "Bad rss-counter", "")
    # A known hit meets an expectation too.
    _, cases = settled(run_of(*cases_of(seen(console=RSS))), known(), expect=expect)
    assert cases["move/basic:kernel-log"].expected == "Bad rss-counter"


# ---------------------------------------------------------------- a known panic


def test_a_known_panic_is_no_silent_loss() -> None:
    run = run_of(*cases_of(lost()), *cases_of(seen(), "move/other"))
    before = {f"{c.workload}:{c.case}": c for c in run.cells[0].cases}
    after, cases = settled(run, known(PANIC_HIT))
    assert cases["move/basic:kernel-log"].verdict is P
    for name in ("unfinished", "counters"):
        case = cases[f"move/basic:{name}"]
        assert case.verdict is S
        assert WHY in case.reason
    assert before["move/basic:counters"].verdict is S
    assert cases["move/other:holes"].verdict is P
    assert after.cells[0].verdict is P
    assert status(after) == EXIT_OK
    assert after.summary.skipped == 2
    # With another report beside it nothing is excused.
    both = run_of(*cases_of(lost(WARN + PANIC)), *cases_of(seen(), "move/other"))
    after, cases = settled(both, known(PANIC_HIT))
    assert cases["move/basic:kernel-log"].reason.startswith(WARN_HIT.title)
    assert "move/basic:unfinished" not in cases
    assert status(after) == EXIT_KERNEL


def test_a_lost_workload_alone_is_no_test() -> None:
    nothing = seen("", console=PANIC, guest=GuestEnd.PANIC, exit_status=None)
    after, _ = settled(run_of(*cases_of(nothing)), known(PANIC_HIT))
    assert after.cells[0].verdict is S
    assert status(after) == EXIT_HOST


def test_what_only_says_that_the_guest_was_lost() -> None:
    hung = replace(lost(), timed_out=True, host_problem="the connection was lost")
    run = run_of(*cases_of(hung), *cases_of(seen(), "move/other"))
    names = {f"{c.workload}:{c.case}" for c in run.cells[0].cases if c.verdict is F}
    assert names == {"move/basic:guest", "move/basic:kernel-log"}
    _, cases = settled(run, known(PANIC_HIT))
    assert cases["move/basic:guest"].verdict is S
    # A hang that no known report ended stays one.
    hung = replace(seen("KTAP version 1\n1..2\nok 1 basic\n", console=RSS), timed_out=True)
    _, cases = settled(run_of(*cases_of(hung)), known())
    assert (cases["move/basic:hang"].verdict, cases["move/basic:kernel-log"].verdict) == (F, P)
    assert f"move/basic:{UNFINISHED}" not in cases


def test_a_boot_that_a_known_panic_ended() -> None:
    boot = CaseResult(
        f"{CELL}:boot:boot", "boot", "boot", F, f"panicked; {PANIC_HIT.title}", hits=(PANIC_HIT,)
    )
    left = CaseResult(
        f"{CELL}:move/basic:guest", "move/basic", "guest", S, "not run: the guest did not boot"
    )
    after, cases = settled(run_of(boot, left), known(PANIC_HIT))
    assert (cases["boot:boot"].verdict, cases["move/basic:guest"].verdict) == (S, S)
    assert WHY in cases["move/basic:guest"].reason
    assert status(after) == EXIT_HOST  # nothing was tested
    # One that hung after a known warning did not boot, whatever is known.
    silent = replace(boot, reason=f"silent; {WARN_HIT.title}", hits=(WARN_HIT,))
    after, cases = settled(run_of(silent, left), known(WARN_HIT))
    assert cases["boot:boot"].verdict is F


# ---------------------------------------------------------------- whether it still happens


def record(run: RunResult, issue: KnownIssue) -> IssueRecord:
    (found,) = settle(run, (), (issue,)).known_issues
    return found


def test_what_no_longer_happens_is_told() -> None:
    run = run_of(*cases_of(seen()))
    gone = record(run, known())
    assert (gone.state, gone.seen, gone.cells, gone.seen_in) == ("not seen", 0, (CELL,), ())
    after, _ = settled(run, known())
    assert status(after) == EXIT_OK
    text = summary_text(after, None, Path("/r"), 1.0)
    assert (
        "known issue not seen on stock (no report in 1 cell): consider removing it: signature"
        in text
    )
    assert "not seen on stock (no report in 1 cell): consider removing it" in html.render(
        after, None
    )
    there = record(run_of(*cases_of(seen(console=RSS + RSS))), known())
    assert (there.state, there.seen_in) == ("seen", (CELL,))


@pytest.mark.parametrize(
    ("issue", "evidence"),
    [
        (known(kernels=("> 6.12",)), seen()),
        (known(workload="other/*"), seen()),
        (known(arch="arm64"), seen()),
        (known(), seen("KTAP version 1\n1..0 # SKIP no swap\n", exit_status=4)),
        (known(), seen(console_complete=False)),
        (known(), lost()),
        (known(), replace(seen(), timed_out=True)),
    ],
)
def test_what_was_not_tried_is_not_gone(issue: KnownIssue, evidence: WorkloadEvidence) -> None:
    assert record(run_of(*cases_of(evidence)), issue).state == "not tried"


def test_outside_of_the_workloads() -> None:
    boot = CaseResult(f"{CELL}:boot:boot", "boot", "boot", P)
    log = CaseResult(
        f"{CELL}:boot:kernel-log-2", "boot", "kernel-log-2", F,
        f"outside the workloads: {WARN_HIT.title}", hits=(WARN_HIT,),
    )  # fmt: skip
    run = run_of(boot, log, *cases_of(seen()))
    for workload in ("boot", "*"):
        after, cases = settled(run, known(WARN_HIT, workload=workload))
        assert cases["boot:kernel-log-2"].verdict is P
        assert after.known_issues[0].state == "seen"
    assert record(run_of(*cases_of(seen())), known(workload="boot")).state == "not seen"
    two = replace(log, hits=(RSS_HIT, WARN_HIT))
    _, cases = settled(run_of(boot, two), known())
    reason = cases["boot:kernel-log-2"].reason
    assert reason.startswith(f"outside the workloads: {WARN_HIT.title}\nbesides known issues: ")


# ---------------------------------------------------------------- reports and comparisons


def test_stored_and_read_back(tmp_path: Path) -> None:
    after, _ = settled(run_of(*cases_of(seen(console=RSS))), known(), known(WARN_HIT))
    store.save(after, tmp_path)
    assert store.load(tmp_path) == after
    page = html.render(after, tmp_path)
    assert page == html.render(store.load(tmp_path), tmp_path)
    assert page.count("known issue</span>") == 1  # the hit's; the case is counted as known
    assert '<a href="#known">1 known failure</a>' in page
    assert WHY in page
    assert f"{RSS_HIT.title} (known issue: {WHY})" in junit.render(after)
    assert "<failure" not in junit.render(after)


def test_compared() -> None:
    clean = run_of(*cases_of(seen()))
    bad = run_of(*cases_of(seen(console=RSS)))
    excused, _ = settled(bad, known())
    log = "move/basic:kernel-log"
    assert changes(clean, excused)[log][0] is Change.UNCHANGED
    assert WHY in changes(clean, excused)[log][1]
    assert changes(excused, clean)[log][0] is Change.FIXED
    assert "no longer seen" in changes(excused, clean)[log][1]
    assert changes(bad, excused)[log][0] is Change.STILL_FAILING
    # Known there, no longer known here: not the candidate's doing ...
    assert changes(excused, bad)[log][0] is Change.STILL_FAILING
    # ... unless something joined it.
    joined, _ = settled(run_of(*cases_of(seen(console=RSS + WARN))), known())
    assert changes(excused, joined)[log][0] is Change.REGRESSED
    assert changes(bad, joined)[log][0] is Change.REGRESSED
    assert changes(joined, joined)[log][0] is Change.STILL_FAILING
    assert not kernel_regressed(compare(clean, excused))


def test_a_known_panic_compared_with_a_run_without_it() -> None:
    workload = spec(invariants=("back-after-exit",))
    clean = run_of(*cases_of(seen(workload=workload)), *cases_of(seen(), "move/other"))
    after, _ = settled(run_of(*cases_of(lost()), *cases_of(seen(), "move/other")), known(PANIC_HIT))
    assert not kernel_regressed(compare(clean, after))
    found = changes(clean, after)
    assert found["move/basic:holes"][0] is Change.GONE
    assert found["move/basic:unfinished"][0] is Change.NEW
    # What the panic had hidden and fails once it is gone is the kernel's.
    off = run_of(
        *(replace(c, verdict=F, reason="off") if c.case == "counters" else c
          for c in clean.cells[0].cases)
    )  # fmt: skip
    assert changes(after, off)["move/basic:counters"][0] is Change.REGRESSED


def test_runs_without_known_issues_are_as_before() -> None:
    run = good_run()
    assert settle(run, (), ()).cells == run.cells
    assert settle(run, (), ()).known_issues == ()


def test_the_first_sentence_counts_what_passes_only_so() -> None:
    after, _ = settled(run_of(*cases_of(seen(console=RSS))), known())
    page = html.render(after, None)
    assert "5 cases passed, none failed, 1 known failure, in 1 cell." in page
