# SPDX-License-Identifier: GPL-2.0-only
"""A series patch by patch in words, and as the rows of a small table.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.judge.covered import by_patch
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.formats import counted, listed
from orchestrator.model.results import EachPatch, PatchFinding, PatchRow, RunResult
from orchestrator.report.mutants_text import of_patch

_NO_BISECTION = "cannot be bisected"
_DOES = {"build": "does not build", "boot": "does not boot", "test": "fails"}
# A reason is what a compiler or a guest says: a line of 2,000 characters is no headline.
_LONGEST = 300
_PLACES = 6

_HEAD = ("n", "applies", "builds", "warnings", "boots", "tests")


@dataclass(frozen=True)
class ShownRow:
    """A row as it is shown: ``state`` is pass, fail or none; ``cells`` go with the table's head."""

    state: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ShownTable:
    """A series patch by patch, a row a patch, the last row being the whole series.

    ``head`` names the columns: how many lines ran and how many mutants were caught are among them
    where that is known.  The last one is the patch's subject.
    """

    head: tuple[str, ...]
    rows: tuple[ShownRow, ...]


def outcome(one: EachPatch) -> str:
    """What came of it, where the findings stand below: ``cannot be bisected``, or all of it."""
    return _NO_BISECTION if one.broken else sentence(one)


def sentence(one: EachPatch) -> str:
    """What came of it: ``patch 2 of 3 does not build, patch 3 mends it: mm/x.c:9: error: ...``.

    Where all is well, how far each patch was tried.
    """
    if one.broken:
        first, *others = one.broken
        more = f", and {counted(len(others), 'more finding')}" if others else ""
        return f"{_NO_BISECTION}: {headline(first, one)}{more}"
    refused = next((row for row in one.rows if row.applies is False), None)
    if refused is not None:
        return f"patch {refused.n} of {len(one.rows)} does not apply"
    done = [
        word for word, tried, well in (
            ("builds", [r.builds for r in one.rows], [r.built for r in one.rows]),
            ("boots", [r.boots for r in one.rows], [r.booted for r in one.rows]),
            ("passes its tests", [r.passed + r.failed for r in one.rows[:-1]],
             [r.passed for r in one.rows[:-1]]),
        ) if any(tried) and all(tried) and tried == well
    ]  # fmt: skip
    if not done:
        return "not every patch could be tried"
    return f"each of the {len(one.rows)} patches {listed(done)}"


def headline(finding: PatchFinding, one: EachPatch) -> str:
    """What a patch does: ``patch 2 of 4 does not build, patch 3 mends it: mm/x.c:9: error: ...``.

    Of a warning ``patch 2 of 4 brings a warning that patch 3 takes away: ...``.
    """
    named = who(finding, len(one.rows))
    if finding.kind == "warning":
        return f"{named} brings a warning that patch {finding.mended} takes away: {_title(finding)}"
    told = f"{named} {_DOES[finding.kind]}"
    if finding.mended:
        told += f", patch {finding.mended} mends it"
    elif finding.patch < len(one.rows):
        told += ", and so do all after it"
    return f"{told}: {_title(finding)}"


def _title(finding: PatchFinding) -> str:
    title = finding.title
    return title if len(title) <= _LONGEST else f"{title[:_LONGEST]} [...]"


def who(finding: PatchFinding, count: int) -> str:
    """``patch 2 of 4``, or ``one of patches 2 to 3 of 4`` where it is not known which."""
    last = f"{finding.patch} of {count}"
    if finding.since == finding.patch:
        return f"patch {last}"
    word = "or" if finding.since == finding.patch - 1 else "to"
    return f"one of patches {finding.since} {word} {last}"


def about(finding: PatchFinding) -> tuple[str, ...]:
    """What the headline leaves out, a line each: the subject, the places, evidence, the base."""
    more = len(finding.places) - _PLACES
    places = ", ".join(finding.places[:_PLACES]) + (f" and {more} more" if more > 0 else "")
    cases = f"{counted(finding.cases, 'case')} in " if finding.kind == "test" else ""
    unknown = "" if finding.base_known else "not known whether it is so without the series too"
    told = (finding.subject, f"{cases}{places}", finding.evidence, unknown)
    return tuple(filter(None, told))


def table(one: EachPatch, run: RunResult) -> ShownTable:
    """The table of a series, as far as its run knows."""
    gone = [f.mended for f in one.findings if f.kind == "warning"]
    ran = {patch.patch: patch for patch in by_patch(without_prefixes(run).cells, one.kernel)}
    mutants = next((found for found in run.mutants if found.kernel == one.kernel), None)
    rows = []
    for row in one.rows:
        blamed = any(f.patch == row.n for f in _failing(one))
        shown = _row(row, blamed, gone.count(row.n))
        own = ran.get(row.n)
        more = [f"{own.ran}/{len(own.lines)}" if own else "-"] if ran else []
        more += [of_patch(mutants.of(row.n))] if mutants else []
        rows.append(replace(shown, cells=(*shown.cells, *more, row.subject)))
    known = (("lines ran",) if ran else ()) + (("mutants caught",) if mutants else ())
    return ShownTable((*_HEAD, *known, "patch"), tuple(rows))


def _failing(one: EachPatch) -> Sequence[PatchFinding]:
    return [finding for finding in one.findings if finding.kind != "warning"]


def _row(row: PatchRow, blamed: bool, gone: int) -> ShownRow:
    """A row; ``gone`` are the warnings of earlier patches that it takes away."""
    applies = {True: "yes", False: "no", None: "-"}[row.applies]
    tests = [f"{row.passed} pass"] if row.passed else []
    tests += [f"{row.failed} fail"] if row.failed else []
    short = row.built < row.builds or row.booted < row.boots or row.failed > 0
    bad = blamed or short or row.applies is False
    warned = [f"+{row.warnings}"] if row.warnings else []
    warned += [f"-{gone}"] if gone else []
    state = "fail" if bad else "pass" if row.builds else "none"
    return ShownRow(state, (
        str(row.n), applies, _of(row.built, row.builds),
        " ".join(warned) or "0" if row.built else "-",
        _of(row.booted, row.boots), ", ".join(tests) or "-",
    ))  # fmt: skip


def _of(well: int, tried: int) -> str:
    return f"{well}/{tried}" if tried else "-"


def lines(
    one: EachPatch, run: RunResult, source: Callable[[str], Sequence[str]] = lambda _: ()
) -> list[str]:
    """All of it as lines for a terminal: what came of it, the table, each finding.

    :param source: gives the lines of source to quote of a case.
    """
    shown = table(one, run)
    texts = [shown.head, *(row.cells for row in shown.rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    told = [f"each patch of {one.kernel}: {outcome(one)}"]
    for cells in texts:
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        told.append(f"       {'  '.join(padded)}".rstrip())
    for finding in one.findings:
        word = "WARN" if finding.kind == "warning" else "FAIL"
        told.append(f"{word:5}  {headline(finding, one)}")
        told += [f"       {text}" for text in (*about(finding), *source(finding.case))]
        told += [f"       again: {finding.rerun}"] if finding.rerun else []
    return told
