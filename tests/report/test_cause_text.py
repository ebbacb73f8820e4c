# SPDX-License-Identifier: GPL-2.0-only
"""Causes in words: counted, and named where a number could hide one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_run import broken_run, warn_hit

from orchestrator.judge.causes import Cause
from orchestrator.judge.signs import CauseKind
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, EarlierRuns
from orchestrator.report.cause_text import (
    block,
    cause_to_dict,
    earlier_text,
    followers_text,
    headline,
    tried_again,
)

K = "cli/default/x86_64/small"


def cases(*names: str, cell: str = K, verdict: Verdict = Verdict.FAIL) -> tuple[CaseResult, ...]:
    parts = [(name, *name.split(":")) for name in names]
    return tuple(
        CaseResult(f"{cell}:{name}", workload, case, verdict, rerun=f"lab rerun R '{cell}:{name}'")
        for name, workload, case in parts
    )


LOGS = cases(*(f"f/w{n}:kernel-log" for n in range(3)))
TITLE = "kernel BUG at mm/swapfile.c:1587"


@pytest.mark.parametrize(
    ("kind", "title", "shown", "words"),
    [
        (CauseKind.REPORT, TITLE, LOGS, f"{TITLE} in 3 workloads"),
        (CauseKind.REPORT, TITLE, LOGS[:1], f"{TITLE} in f/w0"),
        (CauseKind.REPORT, TITLE, LOGS + cases("f/w1:kernel-log", cell="cli/kasan/x86_64/small"),
         f"{TITLE} in 3 workloads and 2 cells"),
        (CauseKind.REPORT, TITLE,
         LOGS[:1] + cases("f/w0:kernel-log", cell="cli/kasan/x86_64/small"),
         f"{TITLE} in f/w0 in 2 cells"),
        (CauseKind.COUNTER, "VmSwap below the page walk", LOGS,
         "VmSwap below the page walk in 3 workloads"),
        (CauseKind.CASE, "a.c:1: no", cases("f/w:a"), "f/w:a: a.c:1: no"),
        (CauseKind.CASE, "a.c:1: no", cases("f/w:a", "f/w:b"), "2 cases of f/w: a.c:1: no"),
        (CauseKind.GUEST, "hang: still", cases("f/w:hang"), "f/w: hang: still"),
        (CauseKind.BUILD, "a.c:1: error", cases("build:build", cell="cli/default/x86_64/-"),
         "cli/default/x86_64: a.c:1: error"),
        (CauseKind.BUILD, "a.c:1: error", cases("build:build", cell="cli/default/x86_64/-") * 2,
         "2 builds: a.c:1: error"),
    ],
)  # fmt: skip
def test_headlines(kind: CauseKind, title: str, shown: tuple[CaseResult, ...], words: str) -> None:
    assert headline(Cause(kind, "cli", title, "", shown)) == words


def test_a_block_has_one_evidence_and_one_command() -> None:
    title = "VmSwap below the page walk"
    cause = Cause(CauseKind.COUNTER, "cli", title, "VmSwap -64 pages off", LOGS, cases("f/w0:a"))
    assert block(cause) == [
        "FAIL   VmSwap below the page walk in 3 workloads",
        "       f/w0, f/w1, f/w2",
        "       VmSwap -64 pages off",
        "       1 case fails for it in f/w0",
        f"       again: lab rerun R '{K}:f/w0:kernel-log'",
    ]


def test_a_report_names_the_line_of_the_series() -> None:
    cause = Cause(CauseKind.REPORT, "cli", "W", "", LOGS[:1], hits=(warn_hit(),))
    assert block(cause)[1:-1] == [
        "       in its trace, touched by the change: mm/userfaultfd.c:1184 in move_swap_pte"
    ]


def test_who_follows() -> None:
    after = cases("f/a:guest", "f/b:hang", "f/b:guest")
    cause = Cause(CauseKind.REPORT, "cli", "W", "", LOGS, after)
    assert followers_text(cause) == "3 cases after it in 2 workloads"
    assert followers_text(Cause(CauseKind.REPORT, "cli", "W", "", LOGS)) == ""


def test_many_names_are_cut_and_counted() -> None:
    many = cases(*(f"f/w{n}:kernel-log" for n in range(11)))
    assert block(Cause(CauseKind.REPORT, "cli", "W", "", many))[1].endswith("f/w7 and 3 more")


def test_a_headline_is_one() -> None:
    cause = Cause(CauseKind.CASE, "cli", "x" * 2000, "", cases("f/w:a"))
    assert len(headline(cause)) < 330
    assert headline(cause).endswith(" [...]")


def test_an_error_is_one() -> None:
    lost = cases("f/w:host", verdict=Verdict.ERROR)
    assert block(Cause(CauseKind.ERROR, "cli", "no space", "", lost))[0].startswith("ERROR  f/w:ho")


def test_for_scripts() -> None:
    cause = Cause(CauseKind.REPORT, "cli", "W", "", LOGS[:1], cases("f/w0:hang"))
    assert cause_to_dict(cause) == {
        "kind": "report",
        "kernel": "cli",
        "title": "W",
        "cases": [f"{K}:f/w0:kernel-log"],
        "after": [f"{K}:f/w0:hang"],
        "again": f"lab rerun R '{K}:f/w0:kernel-log'",
    }


@pytest.mark.parametrize(
    ("past", "told"),
    [
        (None, ""),
        (EarlierRuns(), ""),
        (EarlierRuns(9, 3), "flaky: failed in 3 of 12 earlier runs of this kernel"),
        (EarlierRuns(1, 0), "passed in 1 earlier run of this kernel"),
        (EarlierRuns(40, 0, 8, 2),
         "passed in 40 earlier runs of this kernel, failed in 2 of 10 of others"),
        (EarlierRuns(0, 2), "failed in 2 earlier runs of this kernel too"),
        (EarlierRuns(0, 2, 30, 1),
         "failed in 2 earlier runs of this kernel too, in 1 of 31 of others"),
        (EarlierRuns(0, 0, 40, 0), "failed in 0 of 40 earlier runs of other kernels"),
    ],
)  # fmt: skip
def test_what_the_history_has_of_a_failure(past, told):
    assert earlier_text(replace(broken_run().cells[0].cases[0], earlier=past)) == told


def test_what_further_trials_came_to_stands_with_the_cause():
    sure = Retried(Decision.REGRESSION, 4, 4, 0, 4, "base")
    flaky = Retried(Decision.FLAKY, 6, 40, 8, 40, "base")
    told = "regression: fails 4 of 4 with the series, 0 of 4 without (wrong in at most 1%)"
    one, two, three = LOGS
    same = (replace(one, retried=sure), two, replace(three, retried=sure))
    cause = Cause(CauseKind.REPORT, "cli", TITLE, "", same)
    assert tried_again(cause) == told
    assert f"       {told}" in block(cause)
    assert cause_to_dict(cause)["tried_again"] == told
    other = replace(cause, cases=(same[0], replace(two, retried=flaky)))
    assert tried_again(other) == f"{told}; 1 case otherwise"
    assert tried_again(replace(cause, cases=LOGS)) == ""
    assert "tried_again" not in cause_to_dict(replace(cause, cases=LOGS))
