# SPDX-License-Identifier: GPL-2.0-only
"""Read the table of a selftest collection: ``guest-tests/FAMILY/COLLECTION.yaml``.

It says how the programs that need something are run, and which failures of a healthy kernel are
known; a program that it does not name runs as it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.model.spec import KnownIssue, MessageRules, SelftestRun, SelftestSpec
from orchestrator.plan.known_issue import read_known_issue
from orchestrator.plan.problems import Problems
from orchestrator.plan.schema import check
from orchestrator.plan.yaml_reader import View, read_document, regexes

SCHEMA = "selftests.schema.json"


def read_table(path: Path, shown: str, workload: str, problems: Problems) -> SelftestSpec | None:
    """The table of the workload ``FAMILY/COLLECTION``; None where it cannot be read.

    :param shown: the file's name for messages.
    :param problems: gets what is wrong with it.
    """
    collection = workload.partition("/")[2]
    document = read_document(path, shown, problems)
    if document is None:
        return None
    check(document, SCHEMA, problems)
    top = View.of(document)
    runs = tuple(
        run for program, view in top.children("programs") for run in _runs(program, view, problems)
    )
    known = tuple(_failure(view, workload, problems) for view in top.items("known"))
    return SelftestSpec(
        collection,
        runs=runs,
        helpers=top.flag("helpers", False),
        left_out=top.words("not_programs"),
        known=known,
    )


def _runs(program: str, view: View, problems: Problems) -> tuple[SelftestRun, ...]:
    """One run, or those named under ``runs``; what these do not say the program says for them."""
    named = list(view.children("runs"))
    if not named:
        return (_run(program, "", view, view, problems),)
    return tuple(_run(program, name, one, view, problems) for name, one in named)


def _run(program: str, name: str, view: View, above: View, problems: Problems) -> SelftestRun:
    holder = view.under(above)
    args = holder("args").raw("args")
    rules = holder("messages").child("messages")
    return SelftestRun(
        program=program,
        name=name,
        args=tuple(str(arg) for arg in args) if isinstance(args, list) else (),
        setup=holder("setup").words("setup"),
        after=holder("after").words("after"),
        needs=holder("needs").words("needs"),
        timeout=holder("timeout").seconds("timeout", problems),
        deterministic=holder("deterministic").flag("deterministic", True),
        skip=" ".join((holder("skip").text("skip") or "").split()),
        repair=holder("repair").words("repair"),
        messages=MessageRules(allows=regexes(rules, "allows", problems)),
        only_arch=holder("only_arch").words("only_arch"),
    )


def _failure(view: View, workload: str, problems: Problems) -> KnownIssue:
    return replace(
        read_known_issue(view, problems),
        config=view.text("config") or "*",
        arch=view.text("arch") or "*",
        shape=view.text("shape") or "*",
        workload=f"{workload}/{view.text('program') or '*'}",
        case=view.text("case") or "*",
    )
