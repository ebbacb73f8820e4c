# SPDX-License-Identifier: GPL-2.0-only
"""A run of a series patch by patch is counted, compared and blamed as one of the whole series."""

from __future__ import annotations

from dataclasses import replace

from by_patch import BOOTS, run_of

from orchestrator.judge import tested
from orchestrator.judge.causes import causes_of
from orchestrator.judge.compare import compare
from orchestrator.judge.outcome import build_case, cases_of, kernels_of, summary_of
from orchestrator.judge.prefixes import prefixes_of, without_prefixes

RUN = run_of("+-+", {BOOTS: "+ +", "w/a:c": "- +"})


def test_a_part_of_a_series_is_no_kernel_under_test() -> None:
    assert prefixes_of(RUN) == {"cli@patch-1", "cli@patch-2"}
    assert kernels_of(RUN) == ("cli",)
    assert kernels_of(RUN, parts=True) == ("cli@patch-1", "cli@patch-2", "cli")
    assert tested.tested_lines(RUN) == ("3 patches on 6.12.1: mm: change 1",)
    assert causes_of(RUN) == ()
    assert summary_of(RUN).failed == 0
    whole = without_prefixes(RUN)
    assert [b.id for b in whole.builds] == ["cli/default/x86_64"]
    assert without_prefixes(whole) is whole


def test_its_cases_are_there_where_they_are_asked_for() -> None:
    ids = [placed.case.id for placed in cases_of(RUN, parts=True)]
    assert "cli@patch-1/default/x86_64/small:w/a:c" in ids
    assert [p.case.verdict.value for p in cases_of(RUN, "cli@patch-2")] == ["pass", "fail"]


def test_two_runs_are_compared_by_the_whole_series() -> None:
    other = replace(RUN, run=replace(RUN.run, id="s"))
    keys = {item.key for item in compare(RUN, other).cases}
    assert {"default/x86_64/small:w/a:c", "default/x86_64/-:build:build"} <= keys
    found = compare(RUN, other, "cli@patch-1", "cli")
    assert [c.change.value for c in found.cases if "w/a" in c.key] == ["fixed"]


def test_a_part_is_built_again_with_its_series() -> None:
    again = build_case(RUN, RUN.builds[1]).rerun
    assert again == (
        "lab run --source debian:6.12=1 --series /s --config default --arch x86_64 "
        "--each-patch=build"
    )


def test_a_part_says_which_patches_it_has() -> None:
    part = replace(RUN, kernels=(replace(RUN.kernels[1], prefix_of=""),))
    (said,) = tested.tested_lines(part)
    assert said == "the first 2 patches of a series on 6.12.1, up to: mm: change 2"
