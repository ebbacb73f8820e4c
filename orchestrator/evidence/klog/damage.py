# SPDX-License-Identifier: GPL-2.0-only
"""Whether a kernel-log report is cut or mixed with another, and which: then it is not to be trusted
in detail."""

from __future__ import annotations

import re

from orchestrator.evidence.klog import guilt
from orchestrator.evidence.klog.report import Report
from orchestrator.evidence.klog.rules import Reach, Role, Rule

# Reports of these print an end marker; without it the rest is lost.
_ENDED = (Reach.TRACE_END, Reach.RULER, Reach.OOM)
# The trace of a stalled CPU is printed by that CPU, under a caller of its own.
_ELSEWHERE = frozenset({"rcu-stall", "hard-lockup", "workqueue-lockup"})
#: The first lock of a list of held ones, where a report has no trace.
HELD = re.compile(r" #0: .{1,300}, at: (?P<func>[A-Za-z_][\w.]*)\+0x")
# lib/fault-inject.c dumps the stack of each failure it injects: no report, but it mixes with one.
_INJECTED = re.compile(r"\s+(?:\[<[0-9a-f]+>\] )?should_fail\w*(?:\.\w+)*\+0x")

NO_BEGINNING = "its beginning is lost"
NO_END = "its end is lost"
NO_TRACE = "its trace is lost"
GUESSED = "its trace is nothing but guesses"
MIXED = "another report stands in its midst"
BROKEN = "a line of it is broken or mixed with another"


def settled(report: Report, why: str, named: str) -> bool:
    """Whether a damage leaves the name of a report alone.

    Its trace goes down to where the kernel was entered, and only what follows is lost; or the other
    report came after the function that it names.
    """
    if why == NO_END:
        return report.grounded
    return why == MIXED and bool(named) and report.mixed


def damage(report: Report, rule: Rule) -> str:
    """What is wrong with a report of ``rule``, in a few words; empty where nothing is."""
    if report.headless:
        return NO_BEGINNING
    if report.mixed or (
        not report.first.caller and any(_INJECTED.match(text) for text in report.lines)
    ):
        return MIXED
    if report.broken:
        return BROKEN
    body = rule.reach not in (Reach.LINE, Reach.SHORT, Reach.POOLS) and rule.role is not Role.PANIC
    total = len(report.lines) + report.dropped
    elsewhere = report.dropped > 0 or rule.kind in _ELSEWHERE
    elsewhere = elsewhere or any(
        HELD.match(text) or (report.fatal and guilt.tells_where(text)) for text in report.lines
    )
    if body and total < 4:
        return NO_END
    if body and not report.frames and not elsewhere:
        return NO_TRACE
    if body and report.frames and report.guesses == report.frames and not elsewhere:
        return GUESSED
    if body and report.reach in _ENDED and not (report.whole or report.fatal):
        return NO_END
    named = rule.role is Role.PANIC and report.headers[0][1].groupdict().get("func")
    if not named and (report.frameless_trace or (report.in_trace and not report.here)):
        return NO_TRACE
    return ""
