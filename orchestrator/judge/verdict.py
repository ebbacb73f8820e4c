# SPDX-License-Identifier: GPL-2.0-only
"""Judge one workload: from its evidence to a verdict for each case.  Pure: no file, no clock.

The rules.  The kernel under test is blamed (fail) for what it printed, for a case that failed, a
counter that is off, a workload that hung or died, a guest that reset.  The lab is blamed (error)
where evidence is missing or cut, a guest vanished without a report, or the host reported trouble.
What is missing is never a pass; what an earlier fail explains is not counted against the lab again.

Beside a workload's own KTAP cases stand synthetic ones: ``kernel-log``, ``counters``, and where
there is something to say ``hang``, ``exit-status``, ``guest``, ``reset``, ``ktap`` and ``host``.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from orchestrator.evidence import counters, kselftest, ktap, readings
from orchestrator.evidence.finds import read_find
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.klog.lines import read
from orchestrator.model.evidence import (
    GuestEnd,
    Hit,
    KtapCase,
    KtapReport,
    Measurement,
    WorkloadEvidence,
)
from orchestrator.model.formats import signal_words, status_words
from orchestrator.model.names import (
    BROKEN_PROMISE,
    COUNTERS,
    EXIT_STATUS,
    GUEST,
    HANG,
    HOST,
    KERNEL_LOG,
    KTAP,
    RESET,
    SYNTHETIC,
    CaseId,
    CellId,
    Verdict,
)
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import MessageRules

# kselftest: 4 is skip (tools/testing/selftests/kselftest.h); timeout(1) ends with 124; the shell
# with 126 and 127 where the program could not be started.
_STATUS_SKIP = 4
_STATUS_TIMEOUT = 124
_STATUS_NOT_STARTED = (126, 127)

_MAX_REASON = 2000
_MAX_NAMED = 8
# Hits of one signature that a case keeps; its reason says how many there were.
_MAX_ALIKE = 20
_DATA_LINE = re.compile(r"(?:LEDGER|MEASURE|Totals:)\s")


class _Verdicts:
    """The judgement of one workload while it grows."""

    def __init__(self, evidence: WorkloadEvidence, cell_id: str, rerun: str) -> None:
        self.evidence = evidence
        self.cell = CellId.parse(cell_id)
        self.rerun = rerun
        self.cases: list[CaseResult] = []
        # Why the rest of the evidence may be incomplete; empty while it has to be complete.
        self.explained = ""

    def add(self, case: str, verdict: Verdict, reason: str = "") -> CaseResult:
        """Append a case, its id and rerun command filled in."""
        name = self.evidence.workload.name
        case_id = str(CaseId(self.cell, name, case))
        rerun = self.rerun.replace("{case}", shlex.quote(case_id))
        result = CaseResult(case_id, name, case, verdict, reason[:_MAX_REASON], rerun=rerun)
        self.cases.append(result)
        return result

    def amend(self, **changes: object) -> None:
        """Fill further fields of the case added last."""
        self.cases[-1] = replace(self.cases[-1], **changes)  # type: ignore[arg-type]


def judge(
    evidence: WorkloadEvidence, cell_id: str, provided: frozenset[str], rerun: str
) -> tuple[CaseResult, ...]:
    """All cases of one workload.

    :param cell_id: ``KERNEL/CONFIG/ARCH/SHAPE``.
    :param provided: what the kernel and the config state that they provide.  A workload whose
        ``exercises`` all stand there must not skip.
    :param rerun: the command that repeats a case; ``{case}`` in it becomes the case's id,
        quoted: a guest chose its last part and a user's shell may read it.
    """
    out = _Verdicts(evidence, cell_id, rerun)
    if evidence.workload.selftests is not None:
        report = kselftest.read(evidence.stdout, evidence.exit_status)
    else:
        whole = kselftest.ended(evidence.exit_status)
        report = ktap.parse(evidence.stdout, whole=whole)
    log = readings.parse_samples(evidence.stderr)
    hits = tuple(klog.parse(evidence.console))
    bad = tuple(h for h in hits if not allowed(h, evidence.workload.messages))
    _ktap_cases(out, report, provided)
    _how_it_ended(out, report, log, bad)
    _completeness(out, report)
    ran = any(case.verdict in (Verdict.PASS, Verdict.FAIL) for case in report.cases)
    _kernel_log(out, hits, bad, ran)
    _counters(out, log, ran)
    if out.cases:
        out.cases[0] = replace(out.cases[0], seconds=evidence.seconds)
    return tuple(out.cases)


# ---------------------------------------------------------------- the workload's own cases


def _ktap_cases(out: _Verdicts, report: KtapReport, provided: frozenset[str]) -> None:
    exercised = out.evidence.workload.exercises
    promised = bool(exercised) and set(exercised) <= provided
    broken_promise = f"{BROKEN_PROMISE}{', '.join(exercised)}"
    for case in report.cases:
        name = f"{case.name} (case)" if case.name in SYNTHETIC else case.name
        verdict, reason = case.verdict, _reason(case)
        if verdict is Verdict.SKIP and promised:
            verdict, reason = Verdict.FAIL, f"{broken_promise}: {case.reason}".rstrip(": ")
        out.add(name, verdict, reason)
        out.amend(measurements=readings.parse_measurements(_as_comments(case.diagnostics)))
        find = read_find(case.diagnostics) if verdict is Verdict.FAIL else None
        if find is not None:  # its program says the rest
            out.amend(find=find, reason=case.diagnostics[-1])
    if report.skip_all and not report.cases:
        if promised:
            out.add("all", Verdict.FAIL, f"{broken_promise}: {report.skip_all}")
        else:
            out.add("all", Verdict.SKIP, report.skip_all)


def _reason(case: KtapCase) -> str:
    """A case's reason with the diagnostics that a failing one printed."""
    if case.verdict in (Verdict.PASS, Verdict.SKIP):
        return case.reason
    said = [d for d in case.diagnostics if d and not _DATA_LINE.match(d)]
    parts = [case.reason, *said[-_MAX_NAMED:]]
    return "\n".join(p for p in parts if p) or "not ok, and the workload does not say why"


def _as_comments(diagnostics: Iterable[str]) -> str:
    return "\n".join(f"# {d}" for d in diagnostics)


# ---------------------------------------------------------------- how it ended


def _how_it_ended(
    out: _Verdicts, report: KtapReport, log: readings.SampleLog, bad: tuple[Hit, ...]
) -> None:
    evidence = out.evidence
    if evidence.host_problem and bad:
        # What the kernel printed comes first: a guest that oopsed may well take no command.
        out.add(GUEST, Verdict.FAIL, f"lost with a report: {evidence.host_problem}")
        out.explained = f"the guest was lost with a report ({evidence.host_problem})"
    elif evidence.host_problem:
        out.add(HOST, Verdict.ERROR, evidence.host_problem)
        out.explained = "the host had a problem"
    if evidence.stuck:
        _stuck(out, evidence.stuck)
    _guest(out, bad)
    status = evidence.exit_status
    if not evidence.stuck and (evidence.timed_out or status == _STATUS_TIMEOUT):
        how = evidence.hang or evidence.guest.value
        where = "" if evidence.guest is GuestEnd.ALIVE else f"; the guest: {how}"
        if evidence.guest is not GuestEnd.QEMU_DIED and not evidence.host_problem:
            out.add(HANG, Verdict.FAIL, f"still running after {evidence.seconds:.0f} s{where}")
        out.explained = out.explained or "the workload hung"
    if not out.explained:
        _exit_status(out, report, log)


def _stuck(out: _Verdicts, hit: Hit) -> None:
    """Several looks at the guest proved that its kernel does not get on."""
    how = f"; the guest: {out.evidence.hang}" if out.evidence.hang else ""
    reason = f"{hit.title}; after {out.evidence.seconds:.0f} s{how}"
    out.add(HANG, Verdict.FAIL, reason)
    out.amend(hits=(hit,))
    out.explained = out.explained or "the kernel hangs"


def _guest(out: _Verdicts, bad: tuple[Hit, ...]) -> None:
    """A guest that did not live to the end: with a report it is the kernel's doing."""
    end = out.evidence.guest
    if end is GuestEnd.ALIVE:
        return
    out.explained = out.explained or f"the guest was lost ({end.value})"
    if end is GuestEnd.RESET and not any(hit.fatal for hit in bad):
        out.add(RESET, Verdict.FAIL, "the guest started again without a panic before")
        out.amend(hits=(_reset_hit(),))
    elif not (bad or out.evidence.stuck or out.evidence.host_problem or _hung(out.evidence)):
        how = f" ({out.evidence.hang})" if out.evidence.hang else ""
        if end is GuestEnd.SILENT and out.evidence.repeated:
            # Once may be the host's doing; a kernel that goes dead twice hangs.
            out.add(HANG, Verdict.FAIL, f"the kernel hung twice without a report{how}")
            return
        out.add(GUEST, Verdict.ERROR, f"lost without a report on its console: {end.value}{how}")


def _hung(evidence: WorkloadEvidence) -> bool:
    return evidence.timed_out and evidence.guest is not GuestEnd.QEMU_DIED


def _reset_hit() -> Hit:
    title = "guest reset without a panic"
    signature = hashlib.sha256(title.encode()).hexdigest()[:16]
    return Hit(title=title, kind="reset", signature=signature, line=0, text=title)


def _exit_status(out: _Verdicts, report: KtapReport, log: readings.SampleLog) -> None:
    status = out.evidence.exit_status
    # The sampler is the program's parent and knows of signals that the shell's status hides.
    if log.signal:
        status = -log.signal
    elif log.ended and log.exit_status and not status:
        status = log.exit_status
    if status is None:
        out.add(EXIT_STATUS, Verdict.ERROR, "how the program ended was not recorded")
        out.explained = "the program's end was not recorded"
    elif status in _STATUS_NOT_STARTED and not report.cases:
        out.add(EXIT_STATUS, Verdict.ERROR, f"the program could not be started (exit {status})")
        out.explained = "the program was not started"
    elif status != 0 and not _foreseen(status, report, out.evidence.workload.selftests is not None):
        reason = f"ended with {_how(status)}"
        if report.problems:
            reason += "; its output is incomplete: " + "; ".join(report.problems[:_MAX_NAMED])
        elif not any(c.verdict is Verdict.FAIL for c in report.cases):
            reason += " although no case failed"
        out.add(EXIT_STATUS, Verdict.FAIL, reason)
        out.explained = f"the program {reason}"


def _foreseen(status: int, report: KtapReport, own: bool) -> bool:
    """Whether the KTAP output says as much as the exit status."""
    if own and any(c.verdict is Verdict.FAIL for c in report.cases):
        return not kselftest.cut_short(status)
    if report.problems or not 0 < status < _STATUS_TIMEOUT:
        return False
    if any(c.verdict in (Verdict.FAIL, Verdict.ERROR) for c in report.cases):
        return True
    # A program of the kernel's that skips in its midst says so by this status alone.
    every = any if own else all
    skipped = every(c.verdict is Verdict.SKIP for c in report.cases)
    return status == _STATUS_SKIP and skipped and bool(report.cases or report.skip_all)


def _how(status: int) -> str:
    """An exit status in words; a negative one is the signal itself."""
    if status < 0:
        return signal_words(-status) or f"signal {-status}"
    return status_words(status)


def _completeness(out: _Verdicts, report: KtapReport) -> None:
    """Output that is missing or cut, unless how the workload ended explains it."""
    if out.explained:
        return
    if not report.cases and not report.skip_all:
        what = "; ".join(report.problems[:_MAX_NAMED]) or "the workload printed no KTAP"
        out.add(KTAP, Verdict.ERROR, f"no case was executed: {what}")
    elif report.problems:
        out.add(KTAP, Verdict.ERROR, "incomplete: " + "; ".join(report.problems[:_MAX_NAMED]))


# ---------------------------------------------------------------- kernel log


def allowed(hit: Hit, rules: MessageRules) -> bool:
    """Whether rules allow this report; what ends the guest is never allowed."""
    return not hit.fatal and any(
        pattern.search(hit.title) or pattern.search(hit.text)
        for pattern in map(_compiled, rules.allows)
        if pattern is not None
    )


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError):
        return None


def _kernel_log(out: _Verdicts, hits: tuple[Hit, ...], bad: tuple[Hit, ...], ran: bool) -> None:
    evidence = out.evidence
    rules = evidence.workload.messages
    broken = [p for p in (*rules.allows, *rules.forbids, *rules.requires) if _compiled(p) is None]
    lines = [line.text for line in read(evidence.console)]
    there = [line for p in rules.forbids if (line := _first_line(lines, p)) is not None]
    faults = [*_kinds(bad), *(f"forbidden message: {line[:200]}" for line in there)]
    missing = [p for p in rules.requires if _first_line(lines, p) is None] if ran else []
    complete = evidence.console_complete and evidence.guest is GuestEnd.ALIVE
    if missing and complete and not out.explained:
        faults += [f"required message is missing: {p}" for p in missing[:_MAX_NAMED]]
    if faults:
        out.add(KERNEL_LOG, Verdict.FAIL, "\n".join(faults))
        out.amend(hits=_few_alike(bad))
        return
    unjudged = not complete or missing
    if broken:
        out.add(KERNEL_LOG, Verdict.ERROR, f"not a regular expression: {broken[0]}")
    elif unjudged and out.explained:
        out.add(KERNEL_LOG, Verdict.SKIP, f"not judged: {out.explained}")
    elif unjudged:
        reason = "the console log lacks the begin or end mark of this workload"
        out.add(KERNEL_LOG, Verdict.ERROR, reason)
    else:
        out.add(KERNEL_LOG, Verdict.PASS, f"{len(hits)} allowed reports" if hits else "")
    out.amend(hits=hits)


def _kinds(hits: tuple[Hit, ...]) -> list[str]:
    """What was reported, each title once, with how often."""
    titles = Counter(_named(hit) for hit in hits)
    told = [f"{title} ({n} times)" if n > 1 else title for title, n in titles.items()]
    if len(told) > _MAX_NAMED:
        told[_MAX_NAMED:] = [f"and {len(told) - _MAX_NAMED} more kinds of report"]
    return told


def _few_alike(hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
    """The hits, of each signature only the first ones: a leak may be reported a thousand times."""
    seen: dict[str, int] = {}
    kept = []
    for hit in hits:
        seen[hit.signature] = seen.get(hit.signature, 0) + 1
        if seen[hit.signature] <= _MAX_ALIKE or hit.fatal or hit.corrupted:
            kept.append(hit)
    return tuple(kept)


def damage_of(hit: Hit) -> str:
    """What is wrong with a report, in a few words; empty where it is whole."""
    return hit.damage or ("the report is cut or mixed with another" if hit.corrupted else "")


def _named(hit: Hit) -> str:
    damage = damage_of(hit)
    return f"{hit.title} ({damage})" if damage else hit.title


def _first_line(lines: list[str], pattern: str) -> str | None:
    compiled = _compiled(pattern)
    if compiled is None:
        return None
    return next((line for line in lines if compiled.search(line)), None)


# ---------------------------------------------------------------- counters


def _counters(out: _Verdicts, log: readings.SampleLog, ran: bool) -> None:
    evidence = out.evidence
    workload = evidence.workload
    ledger = readings.parse_ledger(evidence.stdout)
    measured = _unclaimed(out, readings.parse_measurements(evidence.stdout))
    if not (workload.counters or workload.invariants or ledger or measured):
        return
    page_size = log.page_size if log.page_size != 4096 else evidence.page_size
    log = replace(log, page_size=page_size)
    violations = counters.check_invariants(workload, ledger, log)
    missing = list(readings.ledger_problems(evidence.stdout))
    missing += counters.missing_evidence(workload, ledger, log)
    if workload.counters or workload.invariants:
        missing += log.problems
    if violations:
        out.add(COUNTERS, Verdict.FAIL, "\n".join(violations))
    elif out.explained or not ran:
        why = out.explained or "no case was executed"
        out.add(COUNTERS, Verdict.SKIP, f"not judged: {why}")
    elif missing:
        named = "; ".join(missing[:_MAX_NAMED])
        out.add(COUNTERS, Verdict.ERROR, f"evidence is missing: {named}")
    else:
        out.add(COUNTERS, Verdict.PASS)
    out.amend(
        counters=counters.summarise(workload, ledger, log),
        measurements=measured,
        ledger=ledger,
        samples=log.samples,
    )


def _unclaimed(out: _Verdicts, measured: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """Measurements that stand with no case of their own."""
    claimed = [m for case in out.cases for m in case.measurements]
    left = []
    for measurement in measured:
        if measurement in claimed:
            claimed.remove(measurement)
        else:
            left.append(measurement)
    return tuple(left)
