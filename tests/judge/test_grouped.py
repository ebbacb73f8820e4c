# SPDX-License-Identifier: GPL-2.0-only
"""A comparison's cases by cause."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.judge.causes import Cause
from orchestrator.judge.grouped import by_cause
from orchestrator.judge.signs import CauseKind
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseComparison, CaseResult, Change

KEY = "default/x86_64/small:f/w"


def case(name: str, verdict: Verdict = Verdict.FAIL) -> CaseResult:
    return CaseResult(f"cli/{KEY}:{name}", "f/w", name, verdict)


def item(name: str, verdict: Verdict | None = Verdict.FAIL) -> CaseComparison:
    after = case(name, verdict) if verdict else None
    return CaseComparison(f"{KEY}:{name}", Change.REGRESSED, case(name, Verdict.PASS), after, "")


def test_what_the_host_did_comes_last() -> None:
    lost = replace(cause("disk", "a"), kind=CauseKind.ERROR)
    assert by_cause([item("a"), item("b")], [lost])[0].cause is None


def cause(title: str, cases: str, followers: str = "") -> Cause:
    shown, after = (tuple(map(case, names.split())) for names in (cases, followers))
    return Cause(CauseKind.REPORT, "cli", title, "", shown, after)


def test_cases_stand_with_their_cause_and_in_its_order() -> None:
    items = [item(name) for name in ("z", "late", "a", "b", "new")]
    items += [item("skips", Verdict.SKIP), item("gone", None)]
    causes = [cause("one", "b old z", "late older"), cause("two", "a b")]
    found = by_cause(items, causes)
    names = [[i.key.rpartition(":")[2] for i in group.items] for group in found]
    titles = [group.cause and group.cause.title for group in found]
    assert list(zip(titles, names, strict=True)) == [
        ("one", ["b", "z", "late"]),
        ("two", ["a"]),  # b stands with the first cause that it shows
        (None, ["new"]), (None, ["skips"]), (None, ["gone"]),
    ]  # fmt: skip
    # What did not change is no case of the cause here.
    one = found[0].cause
    assert one is not None
    assert [c.case for c in (*one.cases, *one.followers)] == ["b", "z", "late"]


def test_a_follower_alone_has_no_cause() -> None:
    (found,) = by_cause([item("late")], [cause("old", "a", "late")])
    assert found.cause is None
