# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as one self-contained HTML page."""

from __future__ import annotations

from orchestrator.judge.mutants import (
    INTERRUPTED,
    by_function,
    by_patch,
    exit_status,
    of_outcome,
    sentence,
)
from orchestrator.model.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK
from orchestrator.model.formats import counted
from orchestrator.model.mutants import Campaign, Outcome
from orchestrator.report import mutants_text, pages

_STATES = {
    EXIT_OK: "pass", EXIT_KERNEL: "fail", EXIT_HOST: "error", EXIT_INTERRUPTED: "interrupted",
}  # fmt: skip
#: What an exit status says of a campaign.
MEANING = {
    EXIT_OK: "every mutant that was judged was caught",
    EXIT_KERNEL: "some survived",
    EXIT_HOST: "not all could be judged, or not all was tried",
    EXIT_INTERRUPTED: INTERRUPTED,
}


def render(campaign: Campaign) -> str:
    """The page: the score, the survivors with their diffs, what caught the others, what was not."""
    status = exit_status(campaign)
    return pages.render(
        "mutants.html.j2",
        ("report.css", "mutants.css"),
        "mutants.js",
        campaign=campaign,
        state=_STATES[status],
        meaning=f"exit status {status}: {MEANING[status]}",
        sentence=sentence(campaign),
        scores=(*by_patch(campaign), *by_function(campaign)),
        of={one.name.lower(): of_outcome(campaign, one) for one in Outcome},
        words=mutants_text,
        counted=counted,
        mark=_mark,
    )


def _mark(line: str) -> str:
    """The class of a line of a diff."""
    if line.startswith(("--- ", "+++ ", "@@")):
        return "soft"
    return {"-": "gone", "+": "come"}.get(line[:1], "")
