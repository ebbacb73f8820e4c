# SPDX-License-Identifier: GPL-2.0-only
"""Words and text that both reports share: whatever a guest printed, made fit for a document."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Sequence

from orchestrator.judge.counts import Counts
from orchestrator.judge.known_issues import NOT_SEEN, SEEN
from orchestrator.judge.outcome import counter_drift, decisive, ledger_drift
from orchestrator.model.evidence import Counter, LedgerStep
from orchestrator.model.formats import CONTROLS, counted
from orchestrator.model.kernel import BentHunk, PatchState
from orchestrator.model.names import CellId
from orchestrator.model.results import (
    CaseResult,
    Change,
    Comparison,
    IssueRecord,
    RunResult,
)

# Not allowed in XML 1.0 (section 2.2), or discouraged there; the lone surrogates are what Python
# makes of undecodable bytes.  Bidirectional controls are legal and can make a text read as another
# one ("Trojan Source", CVE-2021-42574).
_INVISIBLE = re.compile(
    f"[{CONTROLS}\r\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}"
              for plane in range(1, 17))
    + "]"
)  # fmt: skip

EXIT_MEANING = {
    0: "all as expected",
    1: "the kernel under test failed",
    2: "the input was wrong",
    3: "the host failed",
    130: "interrupted",
}
#: Those of a search (``lab bisect``) that came to its end.
SEARCH_MEANING = {0: "what was searched for is known", 1: "not sure, or nothing to search"}


def visible(text: str) -> str:
    """``text`` with every character that no document may hold written out as ``\\x1b``."""
    if text.isascii() and text.replace("\n", "").isprintable():  # nearly all are
        return text
    return _INVISIBLE.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte itself
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def printable(text: str) -> str:
    """``text`` on one line of a terminal: nothing in it moves the cursor or ends the line."""
    return "".join(c if c.isprintable() else " " for c in text)


def first_line(text: str) -> str:
    """A reason's first line, and how many there are more: ``got 1 [11 more]``."""
    first, *more = text.strip().splitlines() or [""]
    return f"{first} [{len(more)} more]" if more else first


def excerpt(text: str, lines: int, width: int = 4000) -> str:
    """At most ``lines`` lines of ``text``, each cut at ``width`` characters; says what is left out.

    Lines are what ``\\n`` separates: a stray form feed does not make one.
    """
    found = text.rstrip("\n").split("\n")
    kept = [line if len(line) <= width else f"{line[:width]} [...]" for line in found[:lines]]
    if len(found) > lines:
        kept.append(f"[{len(found) - lines} more lines]")
    return "\n".join(kept)


def counter_line(counter: Counter) -> str:
    """One counter in words: ``VmSwap: before 0, peak 64, after 0, page walk 64 (...)``."""
    line = f"{counter.name}: before {counter.before}, peak {counter.peak}, after {counter.after}"
    if counter.walk is not None:
        line += f", page walk {counter.walk}"
    drift = counter_drift(counter)
    if drift is not None:
        line += f" where the counter read {counter.at_walk}"
        line += f" (drift {drift:+d})" if drift else " (equal)"
    return line


def ledger_line(step: LedgerStep) -> str:
    """One ledger step in words, its drifts last."""
    drifts = ", ".join(f"{name} {drift:+d}" for name, drift in ledger_drift(step))
    return (
        f"step {step.step!r} (pid {step.pid}): RssAnon {step.rss_anon} against walk"
        f" {step.walk_anon}, VmSwap {step.vm_swap} against walk {step.walk_swap},"
        f" tolerance {step.tolerance}" + (f": DRIFT {drifts}" if drifts else "")
    )


def bent_lines(patches: Sequence[PatchState]) -> tuple[str, ...]:
    """The hunks of a series that did not fit as they stand, a line each."""
    return tuple(
        f"patch {patch.n}: {hunk.file} {hunk.header}: {bent_how(hunk)}"
        for patch in patches
        for hunk in patch.bent
    )


def bent_how(hunk: BentHunk) -> str:
    """How a hunk went in: ``fuzz 1, 3 lines below``, or ``merged``."""
    if hunk.merged:
        return "merged"
    told = [f"fuzz {hunk.fuzz}"] if hunk.fuzz else []
    if hunk.offset:
        count = abs(hunk.offset)
        way = "below" if hunk.offset > 0 else "above"
        told.append(f"{count} line{'s'[: count > 1]} {way}")
    return ", ".join(told)


def headline(case: CaseResult) -> str:
    """Why a case failed, in one line: the hit and the drifting counter first, else its reason."""
    return decisive(case) or case.reason.strip().split("\n")[0] or "no reason given"


def issue_name(issue: IssueRecord) -> str:
    """What a known issue is found by, for people: its case or title, else its signature."""
    if issue.case:
        return f"{issue.workload}:{issue.case}" + (f" ({issue.title})" if issue.title else "")
    return issue.title or f"signature {issue.signature}"


def issue_standing(issue: IssueRecord, run: RunResult) -> str:
    """What a run says of a known issue, a gone one with the kernels it is gone on and what to do.

    A kernel with a series may be the only one that lacks it: then lab.yaml is as it should be.
    """
    cells = counted(len(issue.cells), "cell")
    tried = dict.fromkeys(CellId.parse(cell).kernel for cell in issue.cells)
    seen_on = {CellId.parse(cell).kernel for cell in issue.seen_in}
    without = [kernel for kernel in tried if kernel not in seen_on]
    if issue.state == SEEN:
        told = f"seen in {len(issue.seen_in)} of {cells}"
        return f"{told}, not on {' and '.join(without)}" if without else told
    if issue.state == NOT_SEEN:
        how = "passes" if issue.case else "no report"
        told = f"not seen on {' and '.join(without)} ({how} in {cells})"
        patched = {kernel.name for kernel in run.kernels if kernel.series}
        if patched.issuperset(without):
            return told
        return f"{told}: {'listed as a known failure' if issue.case else 'consider removing it'}"
    if issue.case:
        return "not tried: no case that it speaks of passed, or failed as it says"
    return "not tried: no workload that it speaks of ran to its end on a kernel in its range"


def count_parts(counts: Counts) -> tuple[tuple[str, int, str], ...]:
    """Of each outcome its name, how many, and both in words: ``known``, 6, ``6 known failures``.

    Known failures are told only where there are some.
    """
    known = ("known", counts.known, counted(counts.known, "known failure"))
    return (
        ("pass", counts.passed, f"{counts.passed} pass"),
        ("fail", counts.failed, f"{counts.failed} fail"),
        *((known,) if counts.known else ()),
        ("skip", counts.skipped, f"{counts.skipped} skipped"),
        ("error", counts.errors, f"{counts.errors} error"),
    )


def counts_text(counts: Counts) -> str:
    """``701 pass, 78 fail, 6 known failures, 0 skipped, 0 error``."""
    return ", ".join(words for _, _, words in count_parts(counts))


def found_text(counts: Counts) -> str:
    """The same, worst first, and only what there is of it: ``78 fail, 699 pass``."""
    told = {name: words for name, count, words in count_parts(counts) if count}
    order = ("fail", "error", "known", "skip", "pass")
    return ", ".join(told[name] for name in order if name in told)


def changes_text(comparison: Comparison) -> str:
    """``8 regressed, 1 new, 8 unchanged``: what there is of each change; empty for no case."""
    counts = Tally(item.change for item in comparison.cases)
    return ", ".join(f"{counts[change]} {change.value}" for change in Change if counts[change])


def answer(run: RunResult) -> str:
    """The verdict of the run in one word or two: what the first line of a report says.

    A search has none of its own: its cases are trials of what it suspects.
    """
    if not run.run.finished:
        return "unfinished"
    if run.searched is not None and run.run.exit_status in SEARCH_MEANING:
        return "searched"
    if run.run.exit_status == 0:
        return "pass"
    return {1: "fail", 130: "interrupted"}.get(run.run.exit_status, "error")
