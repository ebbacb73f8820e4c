# SPDX-License-Identifier: GPL-2.0-only
"""A series patch by patch as cases of JUnit XML, one a patch, and how classes are called.  Pure."""

from __future__ import annotations

from typing import Any

from orchestrator.model.names import CellId
from orchestrator.model.results import EachPatch
from orchestrator.report.each_patch_text import about, headline
from orchestrator.report.text import visible

#: Where a class name has the workload; the type of the failures too.
EACH_PATCH = "each-patch"


def class_name(place: CellId, workload: str) -> str:
    """``kernel.config.arch.shape.family/workload``: dots are what Jenkins groups by.

    Dots in the parts themselves (``6.12``) would make packages of their own, hence ``6_12``.
    """
    parts = [part.replace(".", "_") for part in (*place.applying, workload)]
    return visible(".".join(parts))


def patch_cases(library: Any, one: EachPatch) -> list[Any]:
    """A case a patch: what it breaks before the series is whole is its failure, the rest is told.

    :param library: the module junit_xml.
    """
    name = class_name(CellId(one.kernel), EACH_PATCH)
    cases = []
    for row in one.rows:
        case = library.TestCase(visible(f"{row.n:04d} {row.subject}"), name)
        found = [finding for finding in one.findings if finding.patch == row.n]
        told = ("\n".join((headline(finding, one), *about(finding))) for finding in found)
        text = visible("\n\n".join(told))
        broken = next((finding for finding in found if finding in one.broken), None)
        if broken is not None:
            case.add_failure_info(visible(headline(broken, one)), text, EACH_PATCH)
        elif row.applies is not True:
            case.add_skipped_info("it does not apply, or an earlier patch does not")
        elif text:
            case.stdout = text
        cases.append(case)
    return cases
