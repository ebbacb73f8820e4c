# SPDX-License-Identifier: GPL-2.0-only
"""A run as plain text for a reply on a mailing list.  Pure.

Sentences keep to 72 columns; commands and the kernel's own lines are not broken, since nobody could
paste or search for them then.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.grouped import causes_to_tell
from orchestrator.judge.outcome import not_run_text
from orchestrator.judge.own_selftests import selftest_lines
from orchestrator.judge.tested import sentence, tested_kernels
from orchestrator.model.formats import counted
from orchestrator.model.kernel import PatchState
from orchestrator.model.results import Comparison, EachPatch, KernelRecord, RunResult
from orchestrator.report import covered_view, each_patch_text, view
from orchestrator.report.cause_text import about, headline
from orchestrator.report.judgement import judgement
from orchestrator.report.text import (
    EXIT_MEANING,
    SEARCH_MEANING,
    changes_text,
    counts_text,
    excerpt,
    issue_name,
    printable,
    visible,
)

WIDTH = 72
_CAUSES = 8
_REPORT_LINES = 40
_LABEL = 10  # columns of `patches   `
_SHORT = 12  # of a patch id, as git has it
_LONG = 1000  # characters of what somebody else wrote


def render(
    run: RunResult, comparison: Comparison | None, url: str = "", tested_by: str = ""
) -> str:
    """The text: what was tested, what came of it, each cause with its report, how to repeat it.

    :param url: where the run's page is published.
    :param tested_by: who stands for it, ``NAME <MAIL>``: told only where all is well.
    """
    every = causes_of(run)
    judged = judgement(run, comparison, every).text
    parts = [*_head(run), *(["\n".join(_wrapped(_line(f"{judged}.")))] if judged else [])]
    parts += [_result(run, comparison, url), *(_patches(one) for one in run.each_patch)]
    causes = causes_to_tell(comparison, every)
    told: set[str] = set()
    parts += [_cause(cause, told) for cause in causes[:_CAUSES]]
    if len(causes) > _CAUSES:
        parts.append(f"{counted(len(causes) - _CAUSES, 'more cause')} in the report.")
    if tested_by and is_clean(run, comparison):
        parts.append(f"Tested-by: {_line(tested_by)}")
    return "\n\n".join(parts) + "\n"


def is_clean(run: RunResult, comparison: Comparison | None) -> bool:
    """Whether somebody may stand for it: finished, something ran, nothing failed or was left."""
    return (
        bool(run.run.finished)
        and run.run.exit_status == 0
        and run.summary.passed > 0
        and run.summary.errors == 0
        and not run.problems
        and not not_run_text(run.cells)
        and not (comparison and comparison.regressed)
    )


def _head(run: RunResult) -> Iterator[str]:
    """What was tested, a paragraph a kernel."""
    for kernel in tested_kernels(run):
        yield "\n".join([*_wrapped(f"Tested: {_line(sentence(kernel))}"), "", *_made_of(kernel)])
    if lines := selftest_lines(run):
        yield "\n".join(row for line in lines for row in _wrapped(f"Its selftest {_line(line)}"))


def _made_of(kernel: KernelRecord) -> Iterator[str]:
    yield from _field("base", f"{kernel.source} ({kernel.version})")
    for number, patch in enumerate(kernel.series):
        yield from _field("" if number else "patches", _patch(patch, len(kernel.series)))


def _patch(patch: PatchState, count: int) -> str:
    refused = " (does not apply)" if patch.applied is False else ""
    return f"{patch.n}/{count} {(patch.patch_id or patch.sha256)[:_SHORT]} {patch.subject}{refused}"


def _result(run: RunResult, comparison: Comparison | None, url: str) -> str:
    cells: dict[str, dict[str, None]] = {}
    for cell in run.cells:
        name = "/".join(filter(None, (cell.config, cell.shape))) or "on the host"
        cells.setdefault(name, {})[cell.arch] = None
    counts = counts_text(counts_of_run(run))
    meanings = SEARCH_MEANING if run.searched is not None else EXIT_MEANING
    meaning = meanings.get(run.run.exit_status, "")
    lines = [*_field("result", f"{counts}: {meaning}" if run.run.finished else f"{counts}; cut")]
    if comparison is not None:
        told = changes_text(comparison) or "nothing to compare"
        lines += _field("against", f"{comparison.baseline}: {told}")
    for number, (name, arches) in enumerate(cells.items()):
        where = f" ({', '.join(filter(None, arches))})" if any(arches) else ""
        lines += _field("" if number else "configs", f"{name}{where}")
    for one in covered_view.shown_series(run):
        lines += _field("coverage", one.sentence)
    if left := not_run_text(run.cells):
        lines += _field("not run", left)
    for problem in run.problems:
        lines += _field("problem", problem)
    known = [issue_name(issue) for issue in run.known_issues if issue.seen_in]
    if known:
        lines += _field("known", f"{counted(len(known), 'known issue')} seen, excused")
    if took := view.duration(run):
        lines += _field("took", took)
    return "\n".join([*lines, *_unbroken("report", url)])


def _cause(cause: Cause, told: set[str]) -> str:
    """What is wrong and where, its evidence, how to repeat it, and the kernel's own words.

    :param told: the reports that stand above; one that shows two causes is printed once.
    """
    head = f"{cause.verdict.value.upper()}: {_line(headline(cause))}"
    lines = _wrapped(head, rest="    ")
    for text in about(cause):
        lines += _wrapped(_line(text), first="  ", rest="    ")
    if cause.first.rerun:
        lines.append(f"  again: {_line(cause.first.rerun)}")
    said = excerpt(visible(cause.hits[0].text), _REPORT_LINES) if cause.hits else ""
    if said.strip() and said not in told:
        told.add(said)
        lines += ["", *(f"  {line}".rstrip() for line in said.split("\n"))]
    return "\n".join(lines)


def _patches(one: EachPatch) -> str:
    """A series patch by patch: what came of it, and each finding."""
    lines = _wrapped(_line(f"Each patch: {each_patch_text.outcome(one)}."))
    for finding in one.findings[:_CAUSES]:
        lines += _wrapped(_line(each_patch_text.headline(finding, one)), "  ", "    ")
        for text in each_patch_text.about(finding):
            lines += _wrapped(_line(text), "    ", "    ")
    return "\n".join(lines)


def _field(name: str, text: str) -> list[str]:
    return _wrapped(_line(text), first=f"  {name:<{_LABEL}}", rest=" " * (_LABEL + 2))


def _unbroken(name: str, text: str) -> list[str]:
    return [f"  {name:<{_LABEL}}{text}"] if text else []


def _line(text: str) -> str:
    """What somebody else wrote, as one line."""
    return excerpt(printable(visible(text)), 1, _LONG).strip()


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    ) or [first.rstrip()]  # fmt: skip
