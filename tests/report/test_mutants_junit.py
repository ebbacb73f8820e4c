# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from sample_mutants import campaign, tried

from orchestrator.model.mutants import Outcome
from orchestrator.report.junit import render_mutants


def suites(document: str) -> dict[str, ET.Element]:
    return {suite.get("name", ""): suite for suite in ET.fromstring(document).iter("testsuite")}


def test_a_survivor_fails_with_its_diff() -> None:
    found = suites(render_mutants(campaign()))
    assert set(found) == {"mm/userfaultfd.c:move_present_pte", "mm/userfaultfd.c:move_swap_pte"}
    swap = found["mm/userfaultfd.c:move_swap_pte"]
    states = {case.get("name"): [child.tag for child in case] for case in swap.iter("testcase")}
    assert states == {
        "1180:2:call-left-out": ["system-out"], "1190:2:call-left-out": ["error"],
        "1200:2:call-left-out": ["failure"], "1210:2:call-left-out": ["skipped"],
    }  # fmt: skip
    (failure,) = swap.iter("failure")
    assert failure.get("message", "").startswith("survived: `folio_put(<folio>);` left")
    assert "-\tfolio_put(<folio>);" in (failure.text or "")
    (out,) = swap.iter("system-out")
    assert out.text == "caught by uffd-move/basic:moves, after 103 s: off by 64 [1 more]"
    properties = {one.get("name"): one.get("value") for one in swap.iter("property")}
    assert properties["score"].startswith("3 of 4 mutants caught")  # type: ignore[union-attr]
    assert {case.get("classname") for case in swap.iter("testcase")} == {
        "cli.default.x86_64.small.mutants"
    }


def test_one_that_is_not_at_its_end_is_an_error() -> None:
    found = suites(render_mutants(campaign(chosen=9, cut="the time budget was spent")))
    (error,) = found["mutants"].iter("error")
    assert error.get("message") == "the time budget was spent"
    whole = suites(render_mutants(campaign(tried(1, Outcome.CAUGHT))))
    assert "mutants" not in whole
