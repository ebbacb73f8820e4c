# SPDX-License-Identifier: GPL-2.0-only
"""A search as JUnit XML: a case with its answer, whatever its trials came to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from junit_schemas import parse
from lxml import etree
from sample_run import broken_run

from orchestrator.model.searched import BISECT, Searched, SearchStep

CASE = "cli/default/x86_64/small:w:c"
STEPS = (
    SearchStep("without any patch", "", 0, 40),
    SearchStep("patch 1 of 2: mm: \x1bone", "", 7, 9, guilty=True),
    SearchStep("patch 2 of 2: mm: two", "", note="it does not build"),
)
FOUND = Searched(BISECT, "patch 1 of 2 brought it", True, STEPS, "patch 1 of 2", (1,), 0.99, CASE,
                 "r1")  # fmt: skip


def suite_of(status: int, *problems: str) -> etree._Element:
    run = replace(broken_run(), searched=replace(FOUND, sure=status == 0), problems=problems)
    (suite,) = parse(replace(run, run=replace(run.run, exit_status=status)))
    return suite


def test_an_answer_is_a_pass_though_trials_failed() -> None:
    suite = suite_of(0)
    assert [suite.get(key) for key in ("name", "tests", "failures", "errors")] == [
        "search", "1", "0", "0",
    ]  # fmt: skip
    (case,) = suite.iter("testcase")
    assert (case.get("name"), case.get("classname")) == (f"bisect {CASE}", "lab.search")
    assert case.findtext("system-out") == (
        "patch 1 of 2 brought it\n"
        "  without any patch: failed in 0 of 40 trials\n"
        "* patch 1 of 2: mm: \\x1bone: failed in 7 of 9 trials\n"
        "  patch 2 of 2: mm: two: not tried; it does not build"
    )
    facts = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert (facts["answer"], facts["sure"], facts["of_run"]) == (FOUND.answer, "true", "r1")


@pytest.mark.parametrize(
    ("status", "problems", "tag"), [(1, (), "failure"), (3, ("no QEMU",), "error")]
)
def test_without_one_it_is_not(status: int, problems: tuple[str, ...], tag: str) -> None:
    (found,) = suite_of(status, *problems).iter(tag)
    assert found.get("message") == (problems[0] if problems else FOUND.answer)
