# SPDX-License-Identifier: GPL-2.0-only
"""The Hit that becomes of a finished kernel-log report: its title, guilty function, signature."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.evidence.klog import guilt, titles
from orchestrator.evidence.klog.damage import HELD, damage, settled
from orchestrator.evidence.klog.facts import place
from orchestrator.evidence.klog.report import ASKS_OTHERS, DUMP_HEAD, Report
from orchestrator.evidence.klog.roles import plain_function
from orchestrator.evidence.klog.rules import Reach, Role, Rule
from orchestrator.evidence.klog.source import guilty_file
from orchestrator.model.evidence import Hit

# RCU's own thread waits for the stuck CPU; its dump stands beside the stuck one's.
_RCU_THREAD = re.compile(r"rcu: (?:RCU grace-period kthread stack dump|Stack dump where RCU GP)")
_NEXT_DUMP = re.compile(r"CPU: \d|NMI backtrace|Task dump for CPU|Sending NMI|rcu: ")
_BECAUSE = re.compile(r"page dumped because: (?P<why>.{1,120})")
_IN_FLIGHT = re.compile(r"\s+in-flight: (?:bh|\d+)\w*(?:\(RESCUER\))?:(?P<func>[A-Za-z_.][\w.]*)")
# Of these the task that complains only waits for the other.
_WAITS = frozenset({"hard-lockup", "csd-lock"})
_RSS_INDEX = {  # before v5.10
    "0": "MM_FILEPAGES", "1": "MM_ANONPAGES", "2": "MM_SWAPENTS", "3": "MM_SHMEMPAGES",
}  # fmt: skip
# Checkers that print no note of their own in every kernel.
_CHECKERS = {
    "lib/debugobjects.c": "odebug",
    "lib/kobject.c": "odebug",
    "fs/proc/generic.c": "proc",
}
# mm/kasan/report.c print_error_description(): an access by size, with hardware tags by address.
_ACCESS = re.compile(r"(?P<how>Read|Write) (?:of size \d+ )?at addr ")


def hit(report: Report) -> Hit:
    """A finished report as a value."""
    rule, match = _telling(report)
    groups = {k: (v or "").strip() for k, v in match.groupdict().items()}
    if "file" in groups:
        groups["file"] = titles.source_path(groups["file"])
    named = groups.get("func", "")
    groups["func"] = plain_function(named)
    if rule.kind == "bad-rss-counter":
        groups["type"] = groups["type"] or _RSS_INDEX.get(groups.get("idx") or "", "unknown")
        report.broken = report.broken or groups["type"] == "unknown"
    keep = {"file", "line", "func", "type", "cache", "order"}
    base = rule.title.format_map(
        {k: v if k in keep or rule.role is Role.NOTE else titles.neutral(v)
         for k, v in groups.items()}
    )  # fmt: skip
    base = _refine(report, rule, base).rstrip(": ")
    stood, blamed = _blame(report, rule, named) if rule.blame else ("", groups.get("first", ""))
    title = base
    if stood and not (stood == groups["func"] and rule.title.endswith("{func}")):
        title = f"{base} in {stood}"
    stable = rule.same or titles.stable(rule.kind, base)
    where = place(_all_lines(report), report.first.caller)
    last = max((report, *report.annexes), key=lambda part: part.last_number)
    why = damage(report, rule)
    return Hit(
        title=title[: titles.MAX_TITLE].strip(" :"),
        kind=rule.kind,
        signature=titles.signature(rule.kind, stable, blamed, _more(report, rule)),
        line=report.first.number,
        text="\n".join(_text(report)),
        seconds=report.first.seconds,
        caller=report.first.caller,
        corrupted=bool(why) and not settled(report, why, stood),
        damage=why,
        fatal=report.fatal,
        end_line=last.last_number,
        end_seconds=last.last_seconds,
        cpu=where.cpu,
        task=where.task,
        blamed=blamed,
        source=guilty_file("\n".join(report.lines), rule.kind),
    )


def _all_lines(report: Report) -> list[str]:
    return [*report.lines, *(text for annex in report.annexes for text in annex.lines)]


def _blame(report: Report, rule: Rule, named: str) -> tuple[str, str]:
    """The function of the title and the guilty one: by the report's own trace, else by those that
    other CPUs printed for it.  They differ where a CPU loops (``guilt.LOOPS``)."""
    kind = rule.suspects or _suspects(report) or rule.kind
    if report.reach is Reach.POOLS:
        found = (match["func"] for text in report.lines if (match := _IN_FLIGHT.match(text)))
        return (next(found, ""),) * 2
    own = list(_without_rcu_thread(report.lines)) if kind in ASKS_OTHERS else report.lines
    traces = [own, *(annex.lines for annex in report.annexes)]
    if rule.kind in _WAITS:
        traces.append(traces.pop(0))
    if rule.kind == "hung-task":
        # What other tasks and CPUs print after it says nothing about this one.
        traces = [_first_trace(own)]
    for lines in traces:
        if name := guilt.guilty(lines, named, kind):
            return name, (guilt.whose(lines, kind) if kind in guilt.LOOPS else "") or name
    # "lock held when returning to user space" has no trace: where the lock was taken.
    held = (match["func"] for text in own if not report.frames and (match := HELD.match(text)))
    return (next(held, ""),) * 2


def _suspects(report: Report) -> str:
    """Whose functions are passed over where a WARN() or BUG() stands in a checker's own file."""
    for _, match in report.headers:
        if kind := _CHECKERS.get(titles.source_path(match.groupdict().get("file") or "")):
            return kind
    return ""


def _without_rcu_thread(lines: list[str]) -> Iterator[str]:
    skipping = False
    for text in lines:
        if _RCU_THREAD.match(text):
            skipping = True
        elif skipping and _NEXT_DUMP.match(text):
            skipping = False
        if not skipping:
            yield text


def _first_trace(lines: list[str]) -> list[str]:
    """The lines up to the second dump of a task."""
    heads = [i for i, text in enumerate(lines) if _NEXT_DUMP.match(text) or DUMP_HEAD.match(text)]
    trace = next((i for i, text in enumerate(lines) if guilt.TRACE.match(text)), len(lines))
    return lines[: next((i for i in heads if i > trace), len(lines))]


def _more(report: Report, rule: Rule) -> tuple[str, ...]:
    """What else tells this bug from others of its title and function."""
    if rule.kind == "lockdep":
        return titles.lock_classes(report.lines)
    if rule.kind == "warning" and report.message:
        return (titles.skeleton(report.message),)
    return ()


def _telling(report: Report) -> tuple[Rule, re.Match[str]]:
    """The header that names the report: a note, else the first real one, else the panic."""
    for roles in ((Role.NOTE,), (Role.OWN, Role.HEAD, Role.WARN), (Role.DIE,), (Role.PANIC,)):
        for rule, match in report.headers:
            if rule.role in roles and not (rule.kind == "kasan" and rule.role is Role.NOTE):
                return rule, match
    return report.headers[0]


def _refine(report: Report, rule: Rule, base: str) -> str:
    """Put what other lines of the report say into the title."""
    if rule.kind in ("vm-bug-on", "vm-warn-on"):
        for other, match in report.headers:
            if other.kind in ("kernel-bug", "warning") and match.groupdict().get("file"):
                what = "kernel BUG" if other.kind == "kernel-bug" else "WARNING:"
                at = f"{titles.source_path(match['file'])}:{match['line']}"
                return f"{what} at {at}: {base}"
    if rule.kind == "bad-page-state":
        for text in report.lines:
            if because := _BECAUSE.match(text):
                return f"{base}: {titles.neutral(because['why'])}"
    if rule.kind == "kasan":
        for text in report.lines[:8]:
            if access := _ACCESS.match(text):
                return f"{base} {access['how']}"
    if rule.kind == "rust-panic" and len(report.lines) > 1:
        return f"{base}: {titles.neutral(report.lines[1])}"
    if rule.kind == "oom" and report.fatal:
        return "Out of memory and no killable processes"
    if rule.kind == "oom" and report.oom_title:
        return f"{report.oom_title}: killed a process"
    return base


def _text(report: Report) -> list[str]:
    text = []
    for part in (report, *report.annexes):
        while part.lines and not part.lines[-1].strip():
            part.lines.pop()
        text += part.lines
        text += [f"... {part.dropped} lines more"] if part.dropped else []
    return text
