# SPDX-License-Identifier: GPL-2.0-only
"""A run as a page of GitHub-flavoured Markdown: for a job's summary and for a comment.  Pure.

What a guest, a patch or a compiler said stands in code spans and code blocks alone.  Nothing in
these is read as markup, and GitHub makes no link of ``@name``, ``#123`` or a commit there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.judge.causes import Cause, causes_of
from orchestrator.judge.counts import counts_of_run
from orchestrator.judge.grouped import by_cause, causes_to_tell
from orchestrator.judge.known_issues import NOT_SEEN
from orchestrator.judge.outcome import not_run_text
from orchestrator.judge.tested import tested_lines
from orchestrator.model.formats import counted
from orchestrator.model.results import CaseResult, Change, Comparison, EachPatch, RunResult
from orchestrator.report import covered_view, each_patch_text, finds_text, view
from orchestrator.report.answer import make_answer
from orchestrator.report.cause_text import about, headline
from orchestrator.report.judgement import Judgement
from orchestrator.report.text import (
    excerpt,
    first_line,
    issue_name,
    issue_standing,
    printable,
    visible,
)

#: GitHub takes 65,536 characters as a comment and 1 MiB as the summary of a job's step, where it
#: drops a longer one altogether; so much is made, in bytes.
MOST = 65_000
# What follows the last cause that has room.
_RESERVE = 200
_WIDTH, _SHORT, _NARROW = 400, 200, 60  # characters: of a line, of one above the causes, of a cell
_REPORT_LINES = 30
_SOURCE_LINES = 250
_ROWS = 20
_FEW = 10
_GLYPHS = {"pass": "✓", "met": "✓", "fail": "✗", "error": "!", "skip": "○", "searched": "→"}


def render(run: RunResult, comparison: Comparison | None, url: str = "") -> str:
    """The page; never more than :data:`MOST` bytes, and what is left out is told.

    :param url: where the run's page, or the folder with it, is published.
    """
    every = causes_of(run)
    answer = make_answer(run, comparison, every)
    before, baseline, after = answer.sentence.partition(comparison.baseline if comparison else "\0")
    head = [f"## {_GLYPHS.get(answer.state, '!')} {answer.state}", *_few(_tested(run)),
            *_judged(answer.judged, url), f"{before}{code(baseline)}{after}", _counts(run),
            *_matrix(run)]  # fmt: skip
    head += _few([f"Problem: {code(first_line(text), _SHORT)}" for text in run.problems])
    if left := not_run_text(run.cells):
        head.append(f"{left}.")
    head += _few([f"Known issue {code(issue_name(issue), _SHORT)} "
                  f"{code(issue_standing(issue, run), _SHORT)}."
                  for issue in run.known_issues if issue.state == NOT_SEEN])  # fmt: skip
    head += [block for one in run.each_patch for block in _patches(one, run)]
    head += [block for one in covered_view.shown_series(run) for block in _covered(one)]
    heading, causes, quiet = _to_tell(comparison, every)
    if causes:
        head.append(heading)
    tail = [*quiet, *_tail(run, url)]
    return "\n\n".join([*head, *_blocks(causes, url, MOST - _size([*head, *tail])), *tail]) + "\n"


def _blocks(causes: Sequence[Cause], url: str, room: int) -> Iterator[str]:
    """As many causes as there is room for, in bytes; where it is short without a report's lines."""
    room -= _RESERVE
    for number, cause in enumerate(causes):
        block = _block(cause, url)
        if _size([block]) > room:
            cases = (_bare(cause.first), *cause.cases[1:])
            block = _block(replace(cause, hits=(), cases=cases), url)
        room -= _size([block])
        if room < 0:
            left = counted(len(causes) - number, "more cause")
            yield f"{left}: this summary is cut at {MOST:,} bytes, the run's page has all."
            return
        yield block


def _bare(case: CaseResult) -> CaseResult:
    """A case without what takes room: its program stands in the line of evidence."""
    return replace(case, find=None)


def code(text: str, width: int = _WIDTH) -> str:
    """A line that somebody else wrote as a code span, cut where it is long; what it holds is plain.

    CommonMark 0.31, section 6.1: a span ends at as many backticks as it began with, and one space
    is taken off at both sides.
    """
    line = excerpt(printable(visible(text)).strip(), 1, width)
    if not line:
        return ""
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def code_block(text: str, most: int = _REPORT_LINES) -> str:
    """Lines that somebody else wrote as a fenced block (CommonMark 0.31, section 4.5)."""
    body = excerpt(visible(text), most, _WIDTH)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{fence}text\n{body}\n{fence}"


# ---------------------------------------------------------------- the parts


def _few(lines: Sequence[str]) -> list[str]:
    left = len(lines) - _FEW
    return [*lines[:_FEW], *([f"and {left} more"] if left > 0 else [])]


def _tested(run: RunResult) -> list[str]:
    return [f"**Tested:** {code(line, _SHORT)}" for line in tested_lines(run)]


def _judged(found: Judgement, url: str) -> list[str]:
    """The judgement, each part of it a link to what it quotes where the page is published."""
    parts = []
    for piece in found.pieces:
        text = code(piece.text, _WIDTH) if piece.said else piece.text
        parts.append(f"[{text}]({link})" if (link := _to(piece.anchor, url)) else text)
    return [f"**Judged:** {''.join(parts)}."] if parts else []


def _counts(run: RunResult) -> str:
    total = counts_of_run(run)
    numbers = (total.passed, total.failed, total.known, total.skipped, total.errors)
    row = " | ".join(map(str, numbers))
    return (
        "| pass | fail | known failures | skipped | error | exit status |\n"
        f"|--:|--:|--:|--:|--:|:--|\n| {row} | {view.exit_words(run)} |"
    )


def _matrix(run: RunResult) -> Iterator[str]:
    """What became of each cell: a table, where there is more than one."""
    arches, rows = view.arches_of(run), view.matrix(run)
    if len(rows) * len(arches) < 2:
        return
    lines = ["| kernel, config, shape | " + " | ".join(map(_cell, arches)) + " |",
             "|:--|" + ":--|" * len(arches)]  # fmt: skip
    for row in rows[:_ROWS]:
        slots = [_cell(f"{_GLYPHS.get(slot.state, '-')} {slot.detail}") if slot else ""
                 for slot in row.slots]  # fmt: skip
        names = _cell("/".join(filter(None, (row.kernel, row.config, row.shape))))
        lines.append(f"| {names} | {' | '.join(slots)} |")
    yield "\n".join(lines)
    if len(rows) > _ROWS:
        yield f"and {len(rows) - _ROWS} more rows"


def _cell(text: str) -> str:
    """Text in a table, whose cells end at a bar, in a code span too (GFM 0.29, section 4.10)."""
    return code(text, _NARROW).replace("|", "\\|")


def _patches(one: EachPatch, run: RunResult) -> Iterator[str]:
    """A series patch by patch: what came of it, a table, each finding."""
    yield f"### Each patch of {code(one.kernel, _NARROW)}"
    yield code(each_patch_text.outcome(one))
    shown = each_patch_text.table(one, run)
    head = " | ".join(["", *shown.head, ""]).strip()
    lines = [head, "|--:" + "|:--" * (len(shown.head) - 1) + "|"]
    for row in shown.rows[:_ROWS]:
        lines.append(f"| {' | '.join(map(_cell, row.cells))} |")
    yield "\n".join(lines)
    yield from _few([
        "\n".join([f"- {code(each_patch_text.headline(finding, one))}",
                   *(f"  - {code(text, _SHORT)}" for text in each_patch_text.about(finding))])
        for finding in one.findings
    ])  # fmt: skip


def _covered(one: covered_view.ShownSeries) -> Iterator[str]:
    """How much of a series ran: a sentence, and a row a function, those that lack lines first."""
    yield f"### Coverage of {code(one.kernel, _NARROW)}"
    yield f"{one.sentence}."
    if not one.rows:
        return
    lines = [" | ".join(["", *covered_view.HEAD, ""]).strip(), "|--:|:--|--:|--:|:--|"]
    shown = sorted(one.rows, key=lambda row: not row.never)[:_ROWS]
    for row in shown:
        cells = (str(row.patch), _cell(row.name), str(row.lines), str(row.ran), _cell(row.never))
        lines.append(f"| {' | '.join(cells)} |")
    yield "\n".join(lines)
    if len(one.rows) > len(shown):
        yield f"and {counted(len(one.rows) - len(shown), 'more function')}"


def _to_tell(
    comparison: Comparison | None, causes: tuple[Cause, ...]
) -> tuple[str, tuple[Cause, ...], list[str]]:
    """What to look at: its heading, its causes, and what is only counted or named besides."""
    if comparison is None:
        return "### What did not pass", causes, []
    regressed = by_cause(comparison.regressed, causes)
    alone = [f"- {code(item.key, _SHORT)}: {code(item.reason, _SHORT)}" for group in regressed
             for item in group.items if group.cause is None]  # fmt: skip
    old = [item for item in comparison.cases if item.change is Change.STILL_FAILING]
    still = [
        f"- {code(headline(group.cause), _SHORT)}" for group in by_cause(old, causes) if group.cause
    ]
    quiet = ["### Regressed without a failure", "\n".join(_few(alone))] if alone else []
    quiet += ["### Failing as before", "\n".join(_few(still))] if still else []
    flaky = [f"- {code(item.key, _SHORT)}: {code(item.reason)}" for item in comparison.cases
             if item.change is Change.FLAKY]  # fmt: skip
    quiet += ["### Flaky, and no regression", "\n".join(_few(flaky))] if flaky else []
    told = causes_to_tell(comparison, causes)
    return f"### Regressed against {code(comparison.baseline)}", told, quiet


def _block(cause: Cause, url: str) -> str:
    """A cause: what is wrong and where, its evidence, the kernel's own words, the way to it."""
    lines = [f"- **{cause.verdict.value}** {code(headline(cause))}"]
    # Of a find the evidence is its program, which stands below.
    told_below = cause.evidence if cause.first.find is not None else ""
    lines += [f"  - {code(text)}" for text in about(cause) if text != told_below]
    if cause.first.rerun:
        lines.append(f"  - again: {code(cause.first.rerun)}")
    if link := _link(cause.first, url):
        lines.append(f"  - [all about this case]({link})")
    if cause.first.find is not None:
        one = finds_text.told(cause.first.find)
        told = f"{finds_text.origin(one.find)}. The program:\n\n{code_block(_program(one))}"
        lines += ["", *(f"  {line}".rstrip() for line in told.split("\n"))]
        if one.source:
            body = code_block(one.source, _SOURCE_LINES)
            told = f"<details><summary>as a C file</summary>\n\n{body}\n\n</details>"
            lines += ["", *(f"  {line}".rstrip() for line in told.split("\n"))]
    if cause.hits and cause.hits[0].text.strip():
        body = code_block(cause.hits[0].text)
        told = f"<details><summary>the kernel's report</summary>\n\n{body}\n\n</details>"
        lines += ["", *(f"  {line}".rstrip() for line in told.split("\n"))]
    return "\n".join(lines)


def _program(one: finds_text.Told) -> str:
    return "\n".join([*one.find.program, *([one.why] if one.why else [])])


def _link(case: CaseResult, url: str) -> str:
    """The case on the published page; only where that is known to be one."""
    return _to(view.anchor(case.id), url)


def _to(anchor: str, url: str) -> str:
    return f"{_href(url)}#{_href(anchor)}" if anchor and url.endswith(("/", ".html")) else ""


def _href(url: str) -> str:
    """A URL as the goal of a link, which a parenthesis would end."""
    return url.replace("(", "%28").replace(")", "%29")


def _tail(run: RunResult, url: str) -> list[str]:
    took = view.duration(run)
    told = f"Run {code(run.run.id)}, profile {code(run.run.profile or '-')}"
    told += f", took {took}" if took else ""
    link = f" [Report]({_href(url)})" if url else ""
    return [f"{told}.{link}"]


def _size(parts: Iterable[str]) -> int:
    return sum(len(part.encode("utf-8", "replace")) + 2 for part in parts)
