# SPDX-License-Identifier: GPL-2.0-only
"""Where a cause shows, in words; with whole runs it is tested in test_judgement.py."""

from __future__ import annotations

import pytest

from orchestrator.judge.reach import Axis, Reach
from orchestrator.model.formats import listed
from orchestrator.report.reach_text import where

ARCH = Axis("architecture", ("x86_64", "arm64"), tried=2)


def told(*axes: Axis, failed: int = 2, tried: int = 4, whole: bool = True) -> list[str]:
    return [text for text, _ in where(Reach(axes, failed, tried, whole), "cell")]


@pytest.mark.parametrize(("axis", "words"), [
    (ARCH, "on both architectures"),
    (Axis("architecture", ("a", "b", "c"), tried=3), "on all 3 architectures"),
    (Axis("architecture", ("a",), ("b",), "proof", 2), "only on a"),
    (Axis("config", ("a", "b"), tried=2), "in both configs"),
    (Axis("config", ("a",), ("b",), "proof", 2), "only with config a"),
    (Axis("config", ("a", "b"), ("c",), "proof", 3), "only with configs a and b"),
    (Axis("config", tuple("abcd"), ("e",), "proof", 5), "only in 4 of 5 configs"),
    (Axis("shape", ("a",), ("b",), "proof", 2), "only in shape a"),
        # Of a third one, which differs in more than this, nothing is known.
        (Axis("config", ("a",), ("b",), "proof", 3), "with config a and not with config b"),
])  # fmt: skip
def test_one_axis(axis: Axis, words: str) -> None:
    assert told(axis)[0] == words


def test_what_passed_elsewhere_is_the_proof() -> None:
    axis = Axis("config", ("a",), ("b",), "cli/b/x/s:w:c", 2)
    assert list(where(Reach((ARCH, axis), 2, 4), "cell")) == [
        ("on both architectures", ""), ("only with config a", "cli/b/x/s:w:c"),
    ]  # fmt: skip


def test_some_values_of_several_claim_nothing() -> None:
    axis = Axis("architecture", ("a", "b"), tried=3)
    assert told(axis, whole=False) == ["in 2 of 4 cells that were tried"]


def test_lists() -> None:
    assert [listed("a"), listed("ab"), listed("abc")] == ["a", "a and b", "a, b and c"]
