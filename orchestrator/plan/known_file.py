# SPDX-License-Identifier: GPL-2.0-only
"""Read what of a lab.yaml also holds for a log by itself: known issues and allowed messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.spec import KnownIssue
from orchestrator.plan.known_issue import read_known_issue
from orchestrator.plan.problems import Problems
from orchestrator.plan.schema import LAB_SCHEMA, check
from orchestrator.plan.yaml_reader import View, read_document, regexes

_KEYS = ("known_issues", "messages")


def read_known_file(path: Path) -> tuple[tuple[KnownIssue, ...], tuple[str, ...]]:
    """The ``known_issues:`` of a file, and what ``allows`` of its ``messages:``.

    Whatever else it has is not looked at: a lab.yaml is such a file, and one of the two keys alone.

    :raises ConfigError: with every problem found.
    """
    problems = Problems()
    document = read_document(path, path.name, problems)
    if document is None:
        problems.raise_if_any(path)
        raise AssertionError("a file that cannot be read has a problem")
    check(document, LAB_SCHEMA, problems, _KEYS)
    top = View.of(document)
    if not len(problems) and not any(key in top for key in _KEYS):
        problems.add(document.problem((), "expected known_issues or messages"))
    issues = tuple(_known_issue(view, problems) for view in top.items("known_issues"))
    rules = top.child("messages")
    allows = regexes(rules, "allows", problems)
    problems.raise_if_any(path)
    return issues, allows


def _known_issue(view: View, problems: Problems) -> KnownIssue:
    if not any(key in view for key in ("signature", "title", "case")):
        told = "is missing: expected a signature, a title or a case"
        problems.add(view.document.problem(view.at("signature"), told))
    return replace(
        read_known_issue(view, problems),
        kernel=view.text("kernel") or "*",
        config=view.text("config") or "*",
        arch=view.text("arch") or "*",
        shape=view.text("shape") or "*",
        workload=view.text("workload") or "*",
    )
