# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as Markdown."""

from __future__ import annotations

from sample_mutants import DIFF, campaign, tried

from orchestrator.model.mutants import Outcome
from orchestrator.report.mutants_markdown import render


def test_each_part_has_its_list() -> None:
    text = render(campaign())
    assert text.startswith("## 3 of 4 mutants caught (75 %; 30 to 96 % of all 40, with 95 %)")
    headings = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert headings == [
        "Survived: a test that is missing, or a fault that changes nothing", "Caught",
        "Could not be judged", "Do not compile", "Change no code", "Left out",
    ]  # fmt: skip
    assert "| `patch 2` | 1 | 1 | 50 % (9 to 91) | 0 | 1 | 1 |" in text
    assert DIFF.rstrip() in text
    assert text.count("- `mm/userfaultfd.c:1058 move_present_pte()`") == 1
    assert "`uffd-move/basic:moves, after 103 s: off by 64 [1 more]`" in text


def test_what_others_wrote_stands_in_code_alone() -> None:
    outside = []
    fenced = False
    for line in render(campaign()).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            outside.append("".join(line.split("`")[::2]) if "``" not in line else "")
    assert not fenced
    assert "<" not in "\n".join(outside)
    assert "\x1b" not in "\n".join(outside)


def test_what_is_not_there_has_no_heading() -> None:
    text = render(campaign(tried(1, Outcome.CAUGHT), left_out=(), population=1))
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### Caught"]
