# SPDX-License-Identifier: GPL-2.0-only
"""Further trials in JUnit XML: held against the schema, in the form that Surefire gave them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree
from sample_run import broken_run, good_run

from orchestrator import HOME
from orchestrator.judge.compare import compare
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, RunResult
from orchestrator.report import junit

SCHEMA = etree.XMLSchema(etree.parse(str(HOME / "tests/data/report/junit.xsd")))


def failing(run: RunResult) -> CaseResult:
    """A case that fails in the broken run and passes in the good one."""
    comparison = compare(good_run(), run, "cli", "cli")
    return next(
        item.after
        for item in comparison.regressed
        if item.after and item.before and item.after.verdict is Verdict.FAIL
    )


def rendered(outcome: Retried | None) -> etree._Element:
    """The element of the failing case, with its trials."""
    run, before = broken_run(), good_run()
    wanted = failing(run)
    cells = tuple(
        replace(cell, cases=tuple(
            replace(c, retried=outcome, hits=()) if c.id == wanted.id else c for c in cell.cases
        ))
        for cell in run.cells
    )  # fmt: skip
    run = replace(run, cells=cells, run=replace(run.run, id=before.run.id))
    root = etree.fromstring(junit.render(run, compare(before, run, "cli", "cli")).encode())
    SCHEMA.assertValid(root)
    place = wanted.id.partition(":")[0]
    (suite,) = [suite for suite in root if suite.get("name") == place]
    (found,) = [
        case
        for case in suite.iter("testcase")
        if case.get("name") == wanted.case and case.get("classname").endswith(wanted.workload)
    ]
    return found


def names(case: etree._Element) -> list[str]:
    return [child.tag for child in case if not child.tag.startswith("system-")]


def test_a_regression_has_a_rerun_failure_for_each_trial_that_failed() -> None:
    case = rendered(Retried(Decision.REGRESSION, 3, 4, 0, 4, "cli"))
    assert names(case) == ["failure", *["rerunFailure"] * 3]
    told = case.find("rerunFailure/stackTrace").text
    assert told == "regression: fails 3 of 4 with the series, 0 of 4 without (wrong in at most 1%)"
    assert "judged: regression: fails 3 of 4" in case.find("failure").text


def test_of_a_deterministic_workload_the_runs_own_failure_stands_once() -> None:
    case = rendered(Retried(Decision.REGRESSION, 1, 1, 0, 1, "cli", steady=True))
    assert names(case) == ["failure"]


def test_a_flaky_case_passes_and_tells_of_each_failure() -> None:
    case = rendered(Retried(Decision.FLAKY, 2, 30, 3, 30, "cli"))
    assert names(case) == ["flakyFailure"] * 3
    first = case.find("flakyFailure")
    assert first.get("message").startswith("flaky: ")
    assert "against the baseline (pass): flaky; " in first.find("stackTrace").text


@pytest.mark.parametrize("decision", [Decision.BOTH, Decision.BETTER])
def test_what_failed_in_every_trial_did_not_pass(decision: Decision) -> None:
    case = rendered(Retried(decision, 9, 9, 9, 9, "cli"))
    assert names(case) == ["skipped"]
    assert case.find("skipped").get("message").startswith("flaky: ")


def test_without_trials_all_is_as_before() -> None:
    assert names(rendered(None)) == ["failure"]
