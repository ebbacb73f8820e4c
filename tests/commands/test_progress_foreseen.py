# SPDX-License-Identifier: GPL-2.0-only
"""What lab.yaml foresees, said while a run goes on."""

from __future__ import annotations

import io
import json

from orchestrator.commands import progress
from orchestrator.model.evidence import Hit
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Expectation, KnownIssue, Plan
from orchestrator.runner.context import Event

P, F = Verdict.PASS, Verdict.FAIL
CELL = "bad/default/x86_64/small"
RSS = "BUG: Bad rss-counter state type:MM_ANONPAGES"
PLAN = Plan(
    "p", (), (), (Expectation("bad", "*", "f/w:*", "Bad rss-counter"),
                  Expectation("broken", "*", "build:build", "implicit declaration")),
    known_issues=(KnownIssue("tracked", signature="a" * 16, kernels=("< 6.13",)),),
)  # fmt: skip


def said(*events: Event, how: str = "plain") -> list[str]:
    stream = io.StringIO()
    with progress.listener(PLAN, how, stream) as listener:
        for event in events:
            listener(event)
    return stream.getvalue().splitlines()


def failing(name: str, reason: str, *signatures: str) -> Event:
    hits = tuple(Hit(f"WARNING in {s[0]}", "warning", s, 1, "") for s in signatures)
    case = CaseResult(f"{CELL}:f/w:{name}", "f/w", name, F, reason, hits=hits)
    return Event("case", case.id, "done", reason, None, F, case=case)


def kernel(version: str) -> Event:
    return Event("kernel", "bad", "done", "source", version=version)


def test_a_line_says_that_the_failure_was_foreseen() -> None:
    lines = said(
        kernel("6.12.30"),
        Event("case", f"{CELL}:f/w:counters", "done", "off by one", None, F),
        Event("case", f"{CELL}:f/w:kernel-log", "done", RSS, None, F),
        failing("kernel-log", "WARNING in a", "a" * 16),
        failing("kernel-log", "WARNING in a", "a" * 16, "b" * 16),
    )
    told = [line.partition(CELL)[2] for line in lines[1:]]
    assert told[0].startswith(":f/w:counters FAIL: ")
    assert told[1].startswith(":f/w:kernel-log FAIL (expected): ")
    assert told[2].startswith(":f/w:kernel-log FAIL (known issue): ")
    assert told[3].startswith(":f/w:kernel-log FAIL: ")


def test_an_issue_is_known_in_its_range_only() -> None:
    event = failing("kernel-log", "WARNING in a", "a" * 16)
    assert " FAIL: " in said(kernel("6.13.0"), event)[-1]
    assert " FAIL: " in said(event)[-1]  # the version is not known


def test_a_cell_and_a_build() -> None:
    cell = Event("cell", CELL, "done", "", None, F)
    log = failing("kernel-log", "WARNING in a", "a" * 16)
    other = failing("other", "got 1, expected 2")
    assert said(kernel("6.12"), log, cell)[-1].endswith("FAIL (known issue)")
    assert said(kernel("6.12"), log, other, cell)[-1].endswith("FAIL")
    built = Event("build", "broken/default/arm64", "done", "x.c:1: implicit declaration", 1.0, F)
    unbooted = Event("cell", "broken/default/arm64/small", "done", "not booted", 1.0, F)
    assert all("FAIL (expected)" in line for line in said(built, unbooted))


def test_scripts_get_a_field_and_no_case() -> None:
    (line,) = said(failing("kernel-log", RSS), how="json")
    told = json.loads(line)
    assert (told["verdict"], told["foreseen"]) == ("fail", "expected")
    assert "case" not in told
    (line,) = said(Event("case", f"{CELL}:f/w:a", "done", verdict=P), how="json")
    assert "foreseen" not in json.loads(line)
