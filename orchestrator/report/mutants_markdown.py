# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as a page of GitHub-flavoured Markdown.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.judge.mutants import Score, by_function, by_patch, of_outcome, sentence
from orchestrator.model.mutants import Campaign, Outcome
from orchestrator.report.markdown import code, code_block
from orchestrator.report.mutants_text import (
    HEAD,
    about,
    caught_by,
    cells,
    left_out,
    place,
    survived_all,
)
from orchestrator.report.text import first_line, visible


def render(campaign: Campaign) -> str:
    """All of it as GitHub-flavoured Markdown; what a compiler or a guest said stands in code."""
    lines = [f"## {sentence(campaign)}", "", *(f"- {visible(line)}" for line in about(campaign))]
    lines += [f"- problem: {code(problem)}" for problem in campaign.problems]
    scores = (*by_patch(campaign), *by_function(campaign))
    if scores:
        lines += ["", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
        lines += [_row(score) for score in scores]
    survivors = of_outcome(campaign, Outcome.SURVIVED)
    if survivors:
        lines += ["", "### Survived: a test that is missing, or a fault that changes nothing", ""]
        for one in survivors:
            lines += [f"- {code(place(one))}: {code(one.mutant.told)} "
                     f"({survived_all(one)})", "", code_block(one.diff), ""]  # fmt: skip
    lines += _listed("Caught", (f"{code(place(one))}: {code(one.mutant.told)}; "
                               f"{code(caught_by(one))}"
                               for one in of_outcome(campaign, Outcome.CAUGHT)))  # fmt: skip
    lines += _listed("Could not be judged", (
        f"{code(place(one))}: {code(first_line(one.reason))}"
        for one in of_outcome(campaign, Outcome.NOT_JUDGED)
    ))  # fmt: skip
    lines += _listed("Do not compile", (
        f"{code(place(one))}: {code(one.mutant.told)}"
        for one in of_outcome(campaign, Outcome.NOT_COMPILED)
    ))  # fmt: skip
    lines += _listed("Change no code", (
        f"{code(place(one))}: {code(one.mutant.told)}"
        for one in of_outcome(campaign, Outcome.SAME_CODE)
    ))  # fmt: skip
    lines += _listed("Left out", (code(left_out(one)) for one in campaign.left_out))
    return "\n".join(lines).rstrip() + "\n"


def _row(score: Score) -> str:
    first, *rest = cells(score)
    return f"| {code(first)} | {' | '.join(rest)} |"


def _listed(title: str, items: Iterable[str]) -> list[str]:
    found = [f"- {item}" for item in items]
    return ["", f"### {title}", "", *found] if found else []
