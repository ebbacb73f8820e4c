# SPDX-License-Identifier: GPL-2.0-only
"""Ids of cells and cases, and words made of numbers."""

import pytest

from orchestrator.model.formats import status_words
from orchestrator.model.names import CaseId, CellId, nearest
from orchestrator.model.spec import MessageRules

CASE = "cli/default/x86_64/small:ledger/move:a: name: with colons"


def test_an_id_reads_back() -> None:
    case = CaseId.parse(CASE)
    assert str(case) == CASE
    assert (case.workload, case.case) == ("ledger/move", "a: name: with colons")
    assert case.cell.build == "cli/default/x86_64"
    assert CaseId.of_key("base", case.key).cell == CellId("base", "default", "x86_64", "small")


def test_what_does_not_apply_is_left_out() -> None:
    assert CellId.parse("cli/default/arm64").applying == ("cli", "default", "arm64")
    assert CaseId.of_series("cli").cell.applying == ("cli",)
    assert str(CaseId.of_series("cli")) == "cli/-/-/-:series:apply"
    assert str(CaseId.of_build("cli", "thp", "arm64")) == "cli/thp/arm64/-:build:build"


def test_the_nearest_spelling() -> None:
    assert nearest("DEFUALT", ["default", "thp"]) == "default"
    assert nearest("kasan", ["default", "thp"]) is None


def test_rules_beside_rules_stand_once() -> None:
    both = MessageRules(allows=("a", "b")).beside(MessageRules(allows=("b", "c"), forbids=("d",)))
    assert both == MessageRules(allows=("a", "b", "c"), forbids=("d",))


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit status 0"), (128, "exit status 128"), (139, "signal 11 (SIGSEGV)"),
     (255, "exit status 255")],
)  # fmt: skip
def test_an_exit_status_in_words(status: int, words: str) -> None:
    assert status_words(status) == words
