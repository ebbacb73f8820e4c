# SPDX-License-Identifier: GPL-2.0-only
"""A search as a suite of JUnit XML: one case, which passes where there is a sure answer.  Pure.

Its trials fail on purpose: as cases they would turn a job red for what the search found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.model.errors import EXIT_OK
from orchestrator.model.formats import counted
from orchestrator.model.results import RunResult
from orchestrator.model.searched import Searched
from orchestrator.report.text import visible

#: Where a class name has the kernel, and the name of the suite.
SEARCH = "search"


def suite(library: Any, run: RunResult, searched: Searched) -> Any:
    """The suite; its case is named by the kind of search and the case that it is about.

    :param library: the module junit_xml.
    """
    name = f"{searched.kind} {searched.case}"
    case = library.TestCase(visible(name), f"lab.{SEARCH}")
    case.stdout = visible("\n".join([searched.answer, *_steps(searched)]))
    if run.problems:
        case.add_error_info(visible(run.problems[0]), visible("\n".join(run.problems)), SEARCH)
    elif run.run.exit_status != EXIT_OK:
        case.add_failure_info(visible(searched.answer), case.stdout, SEARCH)
    facts = {
        "started": run.run.started, "run": run.run.id, "command": run.command,
        "searched_for": searched.case, "of_run": searched.of, "answer": searched.answer,
        "sure": str(searched.sure).lower(), "blamed": searched.blamed,
    }  # fmt: skip
    facts = {fact: visible(text) for fact, text in facts.items() if text}
    return library.TestSuite(SEARCH, [case], properties=facts)


def _steps(searched: Searched) -> Iterator[str]:
    for step in searched.steps:
        trials = f"failed in {step.failed} of {counted(step.trials, 'trial')}"
        told = [trials if step.trials else "not tried", step.note]
        yield f"{'* ' if step.guilty else '  '}{step.place}: {'; '.join(filter(None, told))}"
