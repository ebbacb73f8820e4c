# SPDX-License-Identifier: GPL-2.0-only
"""Why a run fails: its bad cases grouped by cause, in the order in which they are worth reading.

One wrong line makes many cases fail.  Two cases are of one cause where evidence says so:

* kernel-log reports of one signature (of a counter that is not zero at exit, of one sign too); a
  report that is cut or mixed stands alone, since its signature may be that of another;
* a counter that is off on the same side, or the same leak;
* a guest that was lost without a report, or a hang: by workload, since nothing tells why;
* a check that failed at the same place of the same workload and said the same but for numbers;
* what is no check: the same workload, case and reason; a promise that is broken for one reason;
* a symbol that did not take: the build that it stopped, and the case ``config`` of its cells.

Causes of different kernels are never one.  A case may show several causes, and stands in each.  It
*follows* from one only where that is proved: a guest that is lost to a fatal report, a hang where a
stall was reported, a check whose numbers are those of a drift in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from enum import Enum

from orchestrator.judge.assertions import accounted_by, assertions, ends
from orchestrator.judge.known_issues import BROKEN_RULE
from orchestrator.judge.outcome import BAD, PlacedCase, cases_of
from orchestrator.model.evidence import Hit, LedgerStep
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
from orchestrator.model.results import CaseResult, Found, RunResult


class CauseKind(str, Enum):
    """What shows a cause, in the order in which causes are told."""

    REPORT = "report"
    COUNTER = "counter"
    BUILD = "build"
    GUEST = "guest"
    CASE = "case"
    ERROR = "error"


@dataclass(frozen=True)
class Cause:
    """One cause: ``cases`` show it, ``followers`` fail because of it; all of them on ``kernel``.

    ``title`` says what is wrong and not where, ``evidence`` what the first case says of it in a
    line (empty where that is the title).  ``hits`` are the first case's reports of it.
    """

    kind: CauseKind
    kernel: str
    title: str
    evidence: str
    cases: tuple[CaseResult, ...]
    followers: tuple[CaseResult, ...] = ()
    hits: tuple[Hit, ...] = ()

    @property
    def first(self) -> CaseResult:
        """The case to look at, and to run again."""
        return self.cases[0]

    @property
    def verdict(self) -> Verdict:
        """Fail where the kernel is to blame, else error."""
        return self.first.verdict


def causes_of(run: Found) -> tuple[Cause, ...]:
    """All causes of what failed or could not be judged; none for a run in which all is well.

    The kernel under test comes before the baseline; then reports, counters, builds, guests, cases
    and what the host did; of reports the fatal first; else in the order of the run.
    """
    bad = [placed for placed in cases_of(run) if placed.case.verdict in BAD]
    places: dict[tuple[str, str], list[PlacedCase]] = {}
    for placed in bad:
        cell = str(CaseId.parse(placed.case.id).cell)
        places.setdefault((cell, placed.case.workload), []).append(placed)
    # A symbol that stops a build fails the case `config` of each of its cells too.
    stopped = {(p.kernel, _first_line(p.case)) for p in bad if p.case.workload == BUILD}
    found: dict[_Key, _Growing] = {}
    later: list[tuple[_Key, CaseResult]] = []
    for together in places.values():
        for placed, sign in _signs(together, stopped):
            key = (placed.kernel, *sign.key)
            if sign.follows:
                later.append((key, placed.case))
            else:
                found.setdefault(key, _Growing(placed.kernel, sign)).add(placed.case, sign)
    for key, case in later:
        found[key].followers.append(case)
    baseline = run.run.baseline if isinstance(run, RunResult) else ""
    order = list(CauseKind)
    ranked = sorted(
        found.values(), key=lambda one: (one.kernel == baseline, order.index(one.sign.kind),
                                         one.sign.rank),
    )  # fmt: skip
    return tuple(one.cause() for one in ranked)


def failures(run: Found) -> tuple[CaseResult, ...]:
    """Each bad case once, in the order of the causes: the first is *the* first failure of a run."""
    causes = causes_of(run)
    shown = [case for cause in causes for case in (*cause.cases, *cause.followers)]
    return tuple({case.id: case for case in shown}.values())


# ---------------------------------------------------------------- inside

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

_Key = tuple[str, ...]


@dataclass(frozen=True)
class _Sign:
    """What a case shows of a cause; ``follows``: it does not show it, and fails because of it."""

    kind: CauseKind
    key: _Key
    title: str = ""
    evidence: str = ""
    rank: int = 0
    hits: tuple[Hit, ...] = ()
    follows: bool = False


class _Growing:
    """A cause while cases are added."""

    def __init__(self, kernel: str, sign: _Sign) -> None:
        self.kernel = kernel
        self.sign = sign
        self.cases: list[CaseResult] = []
        self.followers: list[CaseResult] = []

    def add(self, case: CaseResult, sign: _Sign) -> None:
        self.cases.append(case)
        if sign.rank < self.sign.rank:
            self.sign = replace(self.sign, rank=sign.rank)

    def cause(self) -> Cause:
        sign = self.sign
        return Cause(
            sign.kind, self.kernel, sign.title, sign.evidence, tuple(self.cases),
            tuple(self.followers), sign.hits,
        )  # fmt: skip


def _signs(
    together: list[PlacedCase], stopped: Set[tuple[str, str]]
) -> Iterator[tuple[PlacedCase, _Sign]]:
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
            signs = [_build(case.workload, _first_line(case))]
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


def _reports(case: CaseResult) -> Iterator[_Sign]:
    by_key: dict[_Key, list[Hit]] = {}
    for hit in _unknown(case):
        by_key.setdefault(_report_key(case, hit), []).append(hit)
    for key, hits in by_key.items():
        first = hits[0]
        side = _left_over(first)
        title = first.title + (f", {_SIDES[side]} zero at exit" if side else "")
        rank = 2 * first.corrupted + (not any(hit.fatal for hit in hits))
        yield _Sign(CauseKind.REPORT, key, title, first.damage, rank, tuple(hits))


def _report_key(case: CaseResult, hit: Hit) -> _Key:
    key: _Key = ("report", hit.signature or hit.title, str(_left_over(hit)))
    return (*key, case.id, hit.title) if hit.corrupted else key


def _left_over(hit: Hit) -> int:
    """The sign of what check_mm() found left in a counter at exit (kernel/fork.c), 0 for others."""
    for match in _LEFT.finditer(hit.text[:4000]):
        if hit.title.endswith(f"type:{match[1]}"):
            return -1 if match[2] else 1
    return 0


def _broken_rules(case: CaseResult) -> Iterator[_Sign]:
    """Messages that a manifest forbids or requires."""
    for line in case.reason.split("\n"):
        if line.startswith(BROKEN_RULE):
            key = ("message", case.workload, _DIGITS.sub("N", line))
            yield _Sign(CauseKind.REPORT, key, line, rank=1)


# ---------------------------------------------------------------- counters


def _judged(case: CaseResult) -> tuple[LedgerStep, ...]:
    """The ledger of a case that fails since counters are not what the page walk finds."""
    off = any(_OFF_WALK.match(line) for line in case.reason.split("\n"))
    return case.ledger if off and case.verdict is Verdict.FAIL else ()


def _counters(case: CaseResult) -> Iterator[_Sign]:
    found: dict[_Key, _Sign] = {}
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


def _off_walk(name: str, side: int, evidence: str) -> _Sign:
    title = f"{name} {_SIDES[side]} the page walk"
    return _Sign(CauseKind.COUNTER, ("walk", name, str(side)), title, evidence)


def _violation(line: str, case: CaseResult, walked: bool) -> Iterator[_Sign]:
    """What one line of a counters case says.

    :param walked: whether the ledger has a drift, which says it of the counters better.
    """
    if match := _OFF_WALK.match(line):
        yield _off_walk(match[1], 1 if match[2] == "+" else -1, line)
    elif match := _MOVED.match(line):
        if match[1] != _COUNTED or not walked:
            does = "adds to" if match[2] == "+" else "takes from"
            title = f"a move {does} {match[1].partition(',')[0]}"
            yield _Sign(CauseKind.COUNTER, ("move", match[1], match[2]), title, line)
    elif match := _AFTER_EXIT.match(line):
        title = f"{match[1]} grew over a workload"
        yield _Sign(CauseKind.COUNTER, ("grew", match[1]), title, line)
    elif not re.fullmatch(r"and \d+ more", line):
        key = ("counters", case.workload, _DIGITS.sub("N", line))
        yield _Sign(CauseKind.COUNTER, key, line)


# ---------------------------------------------------------------- guests, cases, the host


def _lost(case: CaseResult, hits: Iterable[Hit]) -> _Sign:
    """A guest that was lost or hangs: because of a report of its workload, or nobody knows why."""
    name = _name(case)
    for hit in hits:
        ended = hit.fatal or (name == HANG and hit.kind in _STALLS)
        if ended and name != RESET and not hit.corrupted:
            return _Sign(CauseKind.REPORT, _report_key(case, hit), follows=True)
    where = CaseId.parse(case.id).cell
    # Nothing says that guests of two configs do not boot for one reason.
    build = (where.config, where.arch) if case.workload == BOOT else ()
    key = ("guest", name, case.workload, *build)
    title, *_ = case.reason.split("\n")
    return _Sign(CauseKind.GUEST, key, f"{name}: {title}")


def _checks(case: CaseResult, ledger: list[LedgerStep]) -> Iterator[_Sign]:
    """The checks that failed; those that a drift accounts for follow from it, if all of them do."""
    found = assertions(case.reason) if len(case.reason) < _CUT else ()
    if not found:
        yield _by_reason(case, CauseKind.CASE)
        return
    for line in ends(case.reason):
        yield _Sign(CauseKind.CASE, ("end", case.workload, line), line)
    drifts = [accounted_by(one.said, ledger) for one in found]
    if all(drifts):
        for name, side in dict.fromkeys(filter(None, drifts)):
            yield _Sign(CauseKind.COUNTER, ("walk", name, str(side)), follows=True)
        return
    for one, known in zip(found, drifts, strict=True):
        if known is None:
            key = ("check", case.workload, one.place, one.kind)
            yield _Sign(CauseKind.CASE, key, f"{one.place}: {one.said}")


def _build(workload: str, title: str, follows: bool = False) -> _Sign:
    """A build or series: its first line says what is wrong, wherever that is."""
    key = (CauseKind.BUILD.value, workload, title)
    return _Sign(CauseKind.BUILD, key, title or "no reason given", follows=follows)


def _first_line(case: CaseResult) -> str:
    return case.reason.strip().partition("\n")[0]


def _by_reason(case: CaseResult, kind: CauseKind) -> _Sign:
    """A case about which nothing is known but its reason."""
    title, *more = case.reason.strip().split("\n")
    if title.startswith(BROKEN_PROMISE):
        return _Sign(kind, ("promise", title), title)
    key = (kind.value, case.workload, case.case, title, *more)
    return _Sign(kind, key, title or "no reason given")


def _error(case: CaseResult) -> _Sign:
    """What the host did to a case: the same wherever it says the same."""
    title = case.reason.strip().split("\n")[0] or "no reason given"
    place = () if case.case == HOST else (case.workload, case.case)
    return _Sign(CauseKind.ERROR, (CauseKind.ERROR.value, *place, title), title)
