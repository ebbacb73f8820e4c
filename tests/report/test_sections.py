# SPDX-License-Identifier: GPL-2.0-only
"""The page's lists; how they look is looked at on the page, in test_html."""

from dataclasses import replace

from sample_run import broken_run, good_run

from orchestrator.judge.causes import causes_of
from orchestrator.model.names import Verdict
from orchestrator.model.results import IssueRecord
from orchestrator.report import sections


def with_cases(run, *changed):
    first = run.cells[0]
    cases = (*changed, *first.cases[len(changed) :])
    return replace(run, cells=(replace(first, cases=cases), *run.cells[1:]))


def test_skips_stand_by_reason_the_most_frequent_first():
    run = good_run()
    skips = [replace(c, verdict=Verdict.SKIP, reason="no swap\n") for c in run.cells[0].cases[:2]]
    listed = sections.skipped(with_cases(run, *skips))
    assert [(one.reason, len(one.cases)) for one in listed] == [
        ("no swap", 2),
        ("transparent huge pages are off in this guest", 1),
    ]
    without = replace(skips[0], reason="")
    assert sections.skipped(with_cases(run, without))[0].reason == "no reason given"


def test_a_known_failure_is_no_skip():
    known = replace(good_run().cells[0].cases[0], verdict=Verdict.SKIP, known="x", judged="fail: y")
    assert len(sections.skipped(with_cases(good_run(), known))) == 1


def test_known_issues_of_one_reason_are_one_seen_ones_first():
    case = good_run().cells[0].cases[0]
    known = replace(case, verdict=Verdict.SKIP, judged="fail: y", known="it tries for ever; a/b.md")
    issues = (
        IssueRecord("moving crashes it", state="not tried"),
        IssueRecord("it tries for ever; a/b.md", title="one", state="not tried"),
        IssueRecord("it tries for ever; a/b.md", title="two", state="seen"),
        IssueRecord("gone; and well", state="not seen"),
    )
    run = replace(with_cases(good_run(), known), known_issues=issues)
    told = sections.known_issues(run)
    assert [(one.words, one.source, one.state) for one in told] == [
        ("it tries for ever", "a/b.md", "seen"),
        ("gone; and well", "", "not seen"),
        ("moving crashes it", "", "not tried"),
    ]
    assert told[0].cases == (known,)
    assert len(told[0].issues) == 2
    assert told[1].cases == ()


def test_no_evidence_is_shown_twice():
    run = broken_run()
    shown = sections.shown_causes(run, causes_of(run))
    own = [one.cause.first.id for one in shown if one.cell is not None]
    assert len(own) == len(set(own))
    above = sections.told_above(shown)
    assert above[own[0]] == 1
    assert above["another"] == 0
    # A build's and a series' evidence stands in their own sections.
    assert {one.cause.first.workload for one in shown if one.cell is None} >= {"build", "series"}


def test_what_can_be_chosen():
    assert sections.configs_of(good_run()) == ("default",)
    assert sections.workloads_of(good_run())[0] == "boot"
    assert [kernel.name for kernel in sections.patched(broken_run())] == ["cli", "other"]
