# SPDX-License-Identifier: GPL-2.0-only
"""A campaign of mutants as suites of JUnit XML: one a function, a case a mutant.  Pure.

A survivor is a failure, with its diff; what does not compile or changes no code is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.judge.mutants import sentence
from orchestrator.model.mutants import Campaign, Outcome, SeriesMutants, Tried
from orchestrator.model.names import CellId
from orchestrator.report.each_patch_junit import class_name
from orchestrator.report.mutants_text import about, caught_by, place, survived_all
from orchestrator.report.text import first_line, visible

#: Where a class name has the workload; the type of the failures too.
MUTANTS = "mutants"


def suites(library: Any, campaign: Campaign) -> list[Any]:
    """The suites, in the order of the files and of their text; the campaign's own facts in each.

    :param library: the module junit_xml.
    """
    facts = {
        "campaign": campaign.name, "kernel": campaign.kernel, "kernel_version": campaign.version,
        "score": sentence(campaign), "seed": str(campaign.seed), "command": campaign.command,
    }  # fmt: skip
    facts = {name: visible(text) for name, text in facts.items()}
    groups: dict[str, list[Any]] = {}
    ordered = sorted(campaign.tried, key=lambda one: (one.mutant.file, one.mutant.start))
    for one in ordered:
        name = f"{one.mutant.file}:{one.mutant.function}"
        groups.setdefault(name, []).append(_case(library, campaign, one))
    found = [library.TestSuite(visible(name), cases, properties=facts)
             for name, cases in groups.items()]  # fmt: skip
    wrong = _wrong(library, campaign)
    return [*([library.TestSuite(MUTANTS, [wrong], properties=facts)] if wrong else []), *found]


def series_facts(found: Iterable[SeriesMutants], kernel: str) -> dict[str, str]:
    """Properties of a kernel's series in a run; none where nothing is known of its mutants.

    ``mutants.judged`` and ``mutants.caught``, and ``mutants.patch.N.`` before these for each patch.
    """
    told: dict[str, str] = {}
    for one in found:
        for count in one.counts if one.kernel == kernel else ():
            head = f"mutants.patch.{count.patch}" if count.patch else MUTANTS
            told |= {f"{head}.judged": str(count.judged), f"{head}.caught": str(count.caught)}
    return told


def _wrong(library: Any, campaign: Campaign) -> Any | None:
    """A case that is an error, where the campaign is not at its end."""
    problems = [*campaign.problems, *([campaign.cut] if campaign.cut else [])]
    if not problems and campaign.tried:
        return None
    case = library.TestCase("complete", f"lab.{MUTANTS}")
    problems = problems or ["no mutant was tried"]
    case.add_error_info(visible(problems[0]), visible("\n".join(problems)), MUTANTS)
    return case


def _case(library: Any, campaign: Campaign, one: Tried) -> Any:
    # Its name tells it apart from all others: column and operator are part of it.
    name = one.mutant.name.removeprefix(f"{one.mutant.file}:")
    case = library.TestCase(
        visible(name), class_name(CellId.parse(campaign.cell), MUTANTS), one.seconds
    )
    text = visible("\n".join([f"{place(one)}: {one.mutant.told}", *about(campaign), "", one.diff]))
    match one.outcome:
        case Outcome.CAUGHT:
            case.stdout = visible(f"caught by {caught_by(one)}")
        case Outcome.SURVIVED:
            message = f"survived: {one.mutant.told}; {survived_all(one)}"
            case.add_failure_info(visible(message), text, MUTANTS)
        case Outcome.NOT_JUDGED:
            case.add_error_info(visible(first_line(one.reason)), text, MUTANTS)
        case _:
            reason = f"{one.outcome.value}: {one.reason}" if one.reason else one.outcome.value
            case.add_skipped_info(visible(first_line(reason)))
    return case
