# SPDX-License-Identifier: GPL-2.0-only
"""What stands in a failure of JUnit XML: all that one needs, since GitLab shows nothing else."""

from __future__ import annotations

from orchestrator.judge.retried import retried_text
from orchestrator.model.evidence import Hit
from orchestrator.model.results import BuildRecord, CaseComparison, CaseResult, KernelRecord
from orchestrator.report import finds_text
from orchestrator.report.cause_text import earlier_text
from orchestrator.report.text import counter_line, excerpt, ledger_line
from orchestrator.report.trace import annotated, touched_places

_EXCERPT_LINES = 15


def failure_text(case: CaseResult, context: str, item: CaseComparison | None) -> str:
    """All that one needs to act on a failure, in the order of use."""
    lines = [case.reason or "no reason given"]
    if item is not None:
        was = item.before.verdict.value if item.before is not None else "none"
        lines.append(f"against the baseline ({was}): {item.change.value}; {item.reason}")
    if case.find is not None:
        one = finds_text.told(case.find)
        lines += ["", *finds_text.lines(case.find), "", one.source or one.why]
    # What makes it fail before what is known.
    for hit in sorted(case.hits, key=lambda hit: bool(hit.known))[:3]:
        stamp = f" at {hit.seconds:.6f} s" if hit.seconds is not None else ""
        lines += [
            "",
            f"hit: {hit_title(hit)} [{hit.kind}]{stamp}",
            excerpt(annotated(hit), _EXCERPT_LINES, 500),
        ]
    if len(case.hits) > 3:
        lines.append(f"[{len(case.hits) - 3} more hits in system-err]")
    if touched := touched_places(case):
        lines += ["", "in a trace, and touched by the change:", *(f"  {t}" for t in touched)]
    if case.counters:
        lines += ["", "counters, in pages:", *(f"  {counter_line(c)}" for c in case.counters)]
    if case.ledger:
        lines += ["", "ledger, in pages:", *(f"  {ledger_line(step)}" for step in case.ledger)]
    lines += ["", f"case: {case.id}"]
    if context:
        lines.append(context)
    if again := retried_text(case.retried):
        lines.append(f"judged: {again}")
    if before := earlier_text(case):
        lines.append(before)
    if case.rerun:
        lines.append(f"repeat with: {case.rerun}")
    return "\n".join(lines)


def hit_title(hit: Hit) -> str:
    """A hit's title, and that it is a known issue."""
    return hit.title + (f" (known issue: {hit.known})" if hit.known else "")


def apply_text(kernel: KernelRecord) -> str:
    """The hunk that failed and what the file really says there."""
    failure = kernel.failure
    if failure is None:
        return ""
    return (
        f"the hunk:\n{excerpt(failure.hunk, 60)}\n\n"
        f"{failure.file} around line {failure.line}:\n{excerpt(failure.context, 60)}\n"
    )


def build_text(build: BuildRecord) -> str:
    """Compiler errors, symbols that did not take, and the log of a build."""
    lines = [f"{e.file}:{e.line}: {e.severity}: {e.text}" for e in build.errors[:20]]
    for m in build.mismatches:
        unmet = f" (unmet: {m.unmet})" if m.unmet else ""
        lines.append(f"{m.symbol}: wanted {m.wanted} by {m.fragment}, got {m.got}{unmet}")
    if build.log:
        lines.append(f"log: {build.log}")
    if build.command:
        lines.append(f"build command: {build.command}")
    return "\n".join(lines)
