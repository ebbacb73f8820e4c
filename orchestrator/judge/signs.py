# SPDX-License-Identifier: GPL-2.0-only
"""What one bad case shows of a cause: reports, counters, a lost guest, a check.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from enum import Enum

from orchestrator.judge.assertions import accounted_by, assertions, ends
from orchestrator.judge.known_issues import BROKEN_RULE
from orchestrator.judge.outcome import PlacedCase
from orchestrator.model.evidence import Hit, LedgerStep
from orchestrator.model.finds import Find
from orchestrator.model.formats import counted
from orchestrator.model.names import (
    BOOT,
    BROKEN_PROMISE,
    BUILD,
    CONFIG,
    COUNTERS,
    GUEST,
    HANG,
    HOST,
    NOT_COMPILED,
    RESET,
    SERIES,
    CaseId,
    Verdict,
)
from orchestrator.model.results import CaseResult

_NUMBER = re.compile(r"-[0-9]+$", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_STALLS = frozenset({"hung-task", "soft-lockup", "hard-lockup", "workqueue-lockup", "rcu-stall"})
_RESET_KIND = "reset"
_LEFT = re.compile(r"type:(\S{1,40}) val:(-?)[0-9]")
_OFF_WALK = re.compile(
    r"(\w+) is -?\d+ pages where the page walk finds -?\d+: ([+-])\d+ at ", re.ASCII
)
_MOVED = re.compile(r"a move changed (.{1,80}?) from -?\d+ to -?\d+ pages \(([+-])", re.ASCII)
_AFTER_EXIT = re.compile(
    r"(.{1,80}?) is -?\d+ (?:pages|objects) after exit and was -?\d+ before", re.ASCII
)
# What a move of drifting counters cannot conserve: the drift says it already.
_COUNTED = "RssAnon+VmSwap"
_CUT = 2000
_SIDES = {1: "above", -1: "below"}

#: What tells causes of one kernel apart.
Key = tuple[str, ...]


class CauseKind(str, Enum):
    """What shows a cause, in the order in which causes are told."""

    REPORT = "report"
    COUNTER = "counter"
    BUILD = "build"
    GUEST = "guest"
    CASE = "case"
    ERROR = "error"


@dataclass(frozen=True)
class Sign:
    """What a case shows of a cause; ``follows``: it does not show it, and fails because of it."""

    kind: CauseKind
    key: Key
    title: str = ""
    evidence: str = ""
    rank: int = 0
    hits: tuple[Hit, ...] = ()
    follows: bool = False


def signs_of(
    together: list[PlacedCase], stopped: Set[tuple[str, str]]
) -> Iterator[tuple[PlacedCase, Sign]]:
    """What the bad cases of one workload in one cell show, each of them something.

    :param stopped: kernels and why a build of theirs failed.
    """
    hits = [hit for placed in together for hit in _unknown(placed.case)]
    ledger = [
        step for placed in together if placed.case.case == COUNTERS for step in _judged(placed.case)
    ]
    for placed in together:
        case = placed.case
        if case.verdict is Verdict.ERROR:
            signs = [_error(case)]
        elif case.workload in (SERIES, BUILD):
            signs = [_build(case.workload, first_line(case))]
        elif case.workload == CONFIG and (placed.kernel, NOT_COMPILED + case.reason) in stopped:
            signs = [_build(BUILD, NOT_COMPILED + case.reason, follows=True)]
        elif _unknown(case):
            signs = [*_reports(case), *_broken_rules(case)]
            if case.case == COUNTERS and _judged(case):  # what follows from them needs them
                signs += _counters(case)
        elif case.case == COUNTERS:
            signs = list(_counters(case))
        elif case.case in (GUEST, HANG, RESET) or _boots(case):
            signs = [_lost(case, hits)]
        elif case.find is not None:
            signs = [_find(case.find)]
        else:
            signs = list(_broken_rules(case)) or list(_checks(case, ledger))
        for sign in signs:
            yield placed, sign


def _name(case: CaseResult) -> str:
    """A case's name; of the lab's own about booting without its number."""
    return _NUMBER.sub("", case.case) if case.workload == BOOT else case.case


def _boots(case: CaseResult) -> bool:
    return case.workload == BOOT and _name(case) in (BOOT, GUEST, HANG, RESET)


def _unknown(case: CaseResult) -> tuple[Hit, ...]:
    """The reports that a case fails for; what resets a guest leaves none."""
    if case.verdict is not Verdict.FAIL:
        return ()
    return tuple(hit for hit in case.hits if not hit.known and hit.kind != _RESET_KIND)


# ---------------------------------------------------------------- reports


def _reports(case: CaseResult) -> Iterator[Sign]:
    by_key: dict[Key, list[Hit]] = {}
    for hit in _unknown(case):
        by_key.setdefault(_report_key(case, hit), []).append(hit)
    for key, hits in by_key.items():
        first = hits[0]
        side = _left_over(first)
        title = first.title + (f", {_SIDES[side]} zero at exit" if side else "")
        rank = 2 * first.corrupted + (not any(hit.fatal for hit in hits))
        yield Sign(CauseKind.REPORT, key, title, first.damage, rank, tuple(hits))


def _report_key(case: CaseResult, hit: Hit) -> Key:
    key: Key = ("report", hit.signature or hit.title, str(_left_over(hit)))
    return (*key, case.id, hit.title) if hit.corrupted else key


def _left_over(hit: Hit) -> int:
    """The sign of what check_mm() found left in a counter at exit (kernel/fork.c), 0 for others."""
    for match in _LEFT.finditer(hit.text[:4000]):
        if hit.title.endswith(f"type:{match[1]}"):
            return -1 if match[2] else 1
    return 0


def _broken_rules(case: CaseResult) -> Iterator[Sign]:
    """Messages that a manifest forbids or requires."""
    for line in case.reason.split("\n"):
        if line.startswith(BROKEN_RULE):
            key = ("message", case.workload, _DIGITS.sub("N", line))
            yield Sign(CauseKind.REPORT, key, line, rank=1)


# ---------------------------------------------------------------- counters


def _judged(case: CaseResult) -> tuple[LedgerStep, ...]:
    """The ledger of a case that fails since counters are not what the page walk finds."""
    off = any(_OFF_WALK.match(line) for line in case.reason.split("\n"))
    return case.ledger if off and case.verdict is Verdict.FAIL else ()


def _counters(case: CaseResult) -> Iterator[Sign]:
    found: dict[Key, Sign] = {}
    for step in _judged(case):
        for name, have, real in step.off:
            side = 1 if have > real else -1
            said = f"{name} {have - real:+d} pages off the page walk at step {step.step!r}"
            sign = _off_walk(name, side, f"{said} (pid {step.pid})")
            found.setdefault(sign.key, sign)
    walked = any(_OFF_WALK.match(line) for line in case.reason.split("\n"))
    lines = case.reason.split("\n")
    # The last line of a reason that was cut may be half of one.
    for line in lines[:-1] if len(case.reason) >= _CUT and len(lines) > 1 else lines:
        for sign in _violation(line, case, walked):
            found.setdefault(sign.key, sign)
    yield from found.values() or [_by_reason(case, CauseKind.COUNTER)]


def _off_walk(name: str, side: int, evidence: str) -> Sign:
    title = f"{name} {_SIDES[side]} the page walk"
    return Sign(CauseKind.COUNTER, ("walk", name, str(side)), title, evidence)


def _violation(line: str, case: CaseResult, walked: bool) -> Iterator[Sign]:
    """What one line of a counters case says.

    :param walked: whether the ledger has a drift, which says it of the counters better.
    """
    if match := _OFF_WALK.match(line):
        yield _off_walk(match[1], 1 if match[2] == "+" else -1, line)
    elif match := _MOVED.match(line):
        if match[1] != _COUNTED or not walked:
            does = "adds to" if match[2] == "+" else "takes from"
            title = f"a move {does} {match[1].partition(',')[0]}"
            yield Sign(CauseKind.COUNTER, ("move", match[1], match[2]), title, line)
    elif match := _AFTER_EXIT.match(line):
        title = f"{match[1]} grew over a workload"
        yield Sign(CauseKind.COUNTER, ("grew", match[1]), title, line)
    elif not re.fullmatch(r"and \d+ more", line):
        key = ("counters", case.workload, _DIGITS.sub("N", line))
        yield Sign(CauseKind.COUNTER, key, line)


# ---------------------------------------------------------------- guests, cases, the host


def _lost(case: CaseResult, hits: Iterable[Hit]) -> Sign:
    """A guest that was lost or hangs: because of a report of its workload, or nobody knows why."""
    name = _name(case)
    for hit in hits:
        ended = hit.fatal or (name == HANG and hit.kind in _STALLS)
        if ended and name != RESET and not hit.corrupted:
            return Sign(CauseKind.REPORT, _report_key(case, hit), follows=True)
    where = CaseId.parse(case.id).cell
    # Nothing says that guests of two configs do not boot for one reason.
    build = (where.config, where.arch) if case.workload == BOOT else ()
    key = ("guest", name, case.workload, *build)
    title, *_ = case.reason.split("\n")
    return Sign(CauseKind.GUEST, key, f"{name}: {title}")


def _checks(case: CaseResult, ledger: list[LedgerStep]) -> Iterator[Sign]:
    """The checks that failed; those that a drift accounts for follow from it, if all of them do."""
    found = assertions(case.reason) if len(case.reason) < _CUT else ()
    if not found:
        yield _by_reason(case, CauseKind.CASE)
        return
    for line in ends(case.reason):
        yield Sign(CauseKind.CASE, ("end", case.workload, line), line)
    drifts = [accounted_by(one.said, ledger) for one in found]
    if all(drifts):
        for name, side in dict.fromkeys(filter(None, drifts)):
            yield Sign(CauseKind.COUNTER, ("walk", name, str(side)), follows=True)
        return
    for one, known in zip(found, drifts, strict=True):
        if known is None:
            key = ("check", case.workload, one.place, one.kind)
            yield Sign(CauseKind.CASE, key, f"{one.place}: {one.said}")


def _find(find: Find) -> Sign:
    """What random programs found: the same wherever the same rule is broken by the same step."""
    key = ("find", find.rule, find.step)
    told = f"in {counted(len(find.program), 'step')}: {'; '.join(find.program)}"
    return Sign(CauseKind.CASE, key, find.title, told)


def _build(workload: str, title: str, follows: bool = False) -> Sign:
    """A build or series: its first line says what is wrong, wherever that is."""
    key = (CauseKind.BUILD.value, workload, title)
    return Sign(CauseKind.BUILD, key, title or "no reason given", follows=follows)


def first_line(case: CaseResult) -> str:
    """The first line of why a case is bad; empty where nothing is said."""
    return case.reason.strip().partition("\n")[0]


def _by_reason(case: CaseResult, kind: CauseKind) -> Sign:
    """A case about which nothing is known but its reason."""
    title, *more = case.reason.strip().split("\n")
    if title.startswith(BROKEN_PROMISE):
        return Sign(kind, ("promise", title), title)
    key = (kind.value, case.workload, case.case, title, *more)
    return Sign(kind, key, title or "no reason given")


def _error(case: CaseResult) -> Sign:
    """What the host did to a case: the same wherever it says the same."""
    title = case.reason.strip().split("\n")[0] or "no reason given"
    place = () if case.case == HOST else (case.workload, case.case)
    return Sign(CauseKind.ERROR, (CauseKind.ERROR.value, *place, title), title)
