# SPDX-License-Identifier: GPL-2.0-only
"""Further trials of a case as JUnit XML, in the form that Surefire gave them.

A case that passed in a trial is flaky: ``flakyFailure`` and no ``failure``, so that it passes.  One
that regressed has its ``failure`` and a ``rerunFailure`` for each trial that failed.  Where they
stand, and what is in them, is Surefire's surefire-test-report.xsd and the junit-10.xsd of Jenkins'
xUnit plugin; who does not know the elements passes over them, as GitLab does.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.judge.retried import retried_text
from orchestrator.model.results import CaseComparison, CaseResult, Change
from orchestrator.report.text import headline, visible


@dataclass(frozen=True)
class Rerun:
    """One trial that failed: ``element`` is its name, ``text`` what is known of it."""

    element: str
    message: str
    text: str


def is_flaky(case: CaseResult, item: CaseComparison | None) -> bool:
    """Whether a case that failed passed in a trial, and is no regression."""
    found = case.retried
    flaky = item is not None and item.change is Change.FLAKY
    return flaky and found is not None and found.failed < found.trials


def reruns_of(case: CaseResult, item: CaseComparison | None, text: str) -> tuple[Rerun, ...]:
    """The trials that failed; of a flaky case the run's own failure first, since it has no other.

    :param text: what the run's own failure is told with.
    """
    found = case.retried
    if found is None or item is None:
        return ()
    # Where the workload is deterministic the run's own failure is among them.
    again = found.failed - int(found.steady)
    told = visible(retried_text(found))
    if is_flaky(case, item):
        first = Rerun("flakyFailure", visible(f"flaky: {headline(case)}"), visible(text))
        return (first, *(Rerun("flakyFailure", "failed in a further trial", told),) * again)
    if item.change is Change.REGRESSED:
        return (Rerun("rerunFailure", "failed in a further trial", told),) * again
    return ()


def put(root: ET.Element, reruns: Iterable[tuple[Rerun, ...]]) -> None:
    """Put the trials into a document: after a failure, before what was printed.

    :param reruns: those of each of its cases, in their order.
    """
    for case, found in zip(root.iter("testcase"), reruns, strict=True):
        at = len(case.findall("failure"))
        for number, one in enumerate(found):
            made = ET.Element(one.element, {"message": one.message, "type": "trial"})
            ET.SubElement(made, "stackTrace").text = one.text
            case.insert(at + number, made)
