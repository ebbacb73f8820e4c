# SPDX-License-Identifier: GPL-2.0-only
"""The reports of a log by itself as text for a terminal."""

from __future__ import annotations

import re

from orchestrator.judge.verdict import damage_of
from orchestrator.model.evidence import Hit, LogReport, LogSource
from orchestrator.model.formats import counted
from orchestrator.report.text import excerpt, visible
from orchestrator.report.trace import annotated

_SHORT_LINES = 40
_WIDTH = 400
# Registers, code bytes and what else a reader looks at last.
_DULL = re.compile(
    r"\s*(?:Code: |Modules linked in:|Unloaded tainted modules:|Hardware name: |</?TASK>"
    r"|(?:RSP|RAX|RDX|RBP|R\d\d|FS|CS|CR[0234]|DR[0-7]|PKRU|ORIG_RAX|SS|EFLAGS): *\S|RIP: 0033:"
    r"|x\d{1,2} ?: |(?:sp|pstate|pmr_save|pmr) ?: |irq event stamp"
    r"|(?:hard|soft)irqs last )"
)

# What the unwinder found lying on the stack: of a damaged report it may be all there is.
_GUESS = re.compile(r"\s*\? \S+\+0x")


def block(report: LogReport, full: bool, again: bool) -> str:
    """One report in lines: what it is, where it is from, and its text.

    :param full: all of the text, not what tells most of it.
    :param again: one of this signature was shown before; its text is left out then.
    """
    hit = report.hit
    lines = [f"{report.verdict.upper():<6} {hit.title}"]
    lines += field("kind", hit.kind)
    lines += field("blamed", blamed(hit))
    lines += field("source", hit.source)
    lines += field("signature", hit.signature)
    lines += field("where", where(hit))
    last = f"-{hit.end_line}" if hit.end_line > hit.line else ""
    lines += field("log", f"{report.file}:{hit.line}{last}")
    lines += field("corrupted" if hit.corrupted else "damage", damage_of(hit))
    lines += field("known", hit.known)
    lines += field("allowed", report.allowed)
    if full or not again:
        lines += [f"       | {line}".rstrip() for line in text_of(hit, full).split("\n")]
    else:
        lines += field("text", "as of the report with this signature above")
    return "\n".join(visible(line) for line in lines)


def field(name: str, text: str) -> list[str]:
    """A line of a block; none where there is nothing to tell."""
    return [f"       {name:<10} {text}"] if text else []


def blamed(hit: Hit) -> str:
    """The function that a report is blamed on, with its file and line where they are known."""
    for frame in hit.frames:
        for place in frame.places:
            if place.function == hit.blamed:
                return f"{hit.blamed} at {place.file}:{place.line}"
    return hit.blamed


def where(hit: Hit) -> str:
    """CPU, task and the kernel's time, as far as the report tells them."""
    told = [f"CPU {hit.cpu}"] if hit.cpu is not None else []
    told += [f"task {hit.task}"] if hit.task else []
    told += [f"{hit.seconds:.6f} s"] if hit.seconds is not None else []
    return ", ".join(told)


def text_of(hit: Hit, full: bool) -> str:
    """A report's text with its source lines; shortened to what tells most unless ``full``."""
    text = annotated(hit)
    if full:
        return text
    lines = text.split("\n")
    kept = [
        line
        for line in lines
        if not _DULL.match(line) and (hit.corrupted or not _GUESS.match(line))
    ]
    shown = excerpt("\n".join(kept[:_SHORT_LINES]), _SHORT_LINES, _WIDTH)
    left = len(lines) - min(len(kept), _SHORT_LINES)
    return f"{shown}\n[{left} lines left out; --full shows them]" if left else shown


def summary(
    sources: tuple[LogSource, ...], counts: dict[str, int], status: int, interrupted: bool
) -> str:
    """The last line: how many reports of each verdict in how much of a log."""
    total = sum(counts.values())
    lines = sum(source.lines for source in sources)
    of = visible(sources[0].file) if len(sources) == 1 else f"{len(sources)} logs"
    told = counted(total, "report") if total else "no report"
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    split = f": {', '.join(parts)}" if parts else ""
    cut = "; interrupted" if interrupted else ""
    return f"{told} in {counted(lines, 'line')} of {of}{split}{cut}; exit status {status}"
