# SPDX-License-Identifier: GPL-2.0-only
"""Read a known issue: what lab.yaml and the tables of the selftests say of one alike."""

from __future__ import annotations

from orchestrator.model.formats import check_range
from orchestrator.model.spec import KnownIssue
from orchestrator.plan.problems import Problems
from orchestrator.plan.yaml_reader import View, check_regex


def read_known_issue(view: View, problems: Problems) -> KnownIssue:
    """What it is found by, and in which versions; where it holds is left to the caller.

    :param problems: gets what is wrong with its title or its versions.
    """
    title = view.text("title") or ""
    good = not title or check_regex(title, view, view.at("title"), problems)
    text = view.text("kernels")
    ranges = view.strings("kernels") if text is None else [(text, view.at("kernels"))]
    for text, path in ranges:
        try:
            check_range(text)
        except ValueError as error:
            problems.add(view.document.problem(path, str(error)))
    return KnownIssue(
        reason=" ".join((view.text("reason") or "").split()),
        signature=view.text("signature") or "",
        title=title if good else "",
        kernels=tuple(text for text, _ in ranges),
        counters=view.flag("counters", False),
        where=view.where(),
        case=view.text("case") or "",
        outside_series=view.flag("outside_series", False),
    )
