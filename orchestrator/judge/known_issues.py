# SPDX-License-Identifier: GPL-2.0-only
"""``known_issues:`` of lab.yaml: kernel-log reports that are shown and do not fail.  Pure.

A known issue with a ``case`` is a failed case instead: what fails as it says is a skip that names
it, for a test that fails tells nothing more.  A pattern means the test's own cases; one that the
lab makes itself (``hang``, ``counters``, ``build``) only who spells it.

What a run found is settled here, on its records, and always from the start: what known issues and
``expect:`` made of a case before is taken back first.  So settling twice is settling once, and a
run that is resumed may keep its cells.

A known report excuses the case of the kernel log it stands in, and what only follows from it: that
a guest was lost to a known panic.  It never stands for a test: what the lost guest left undone is
skipped, by name, and a cell in which nothing else ran is a skip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from orchestrator.judge.expectations import OTHERS, expect_of_run
from orchestrator.judge.outcome import cell_verdict, executed, summary_of
from orchestrator.judge.touched import of_series
from orchestrator.model.evidence import Hit
from orchestrator.model.formats import in_range
from orchestrator.model.names import (
    BOOT,
    BUILD,
    COUNTERS,
    EXPECT,
    GUEST,
    HANG,
    KERNEL_LOG,
    NEEDS,
    RESET,
    STAGES,
    SYNTHETIC,
    TROUBLE,
    UNFINISHED,
    CaseId,
    Verdict,
    is_named,
)
from orchestrator.model.results import CaseResult, CellRecord, IssueRecord, Records, RunResult
from orchestrator.model.spec import Expectation, KnownIssue

SEEN, NOT_SEEN, NOT_TRIED = "seen", "not seen", "not tried"

# The lab's cases of ``boot`` are numbered where a cell booted again.
_NUMBER = re.compile(r"-[0-9]+$", re.ASCII)
# A kernel log's reason has such a line for each message that is there, or missing, against a rule.
BROKEN_RULE = ("forbidden message", "required message")
# A reason is cut at this length: of one that long it is not known what else stood there.
_LONGEST_REASON = 2000
_NAMED = 8
# The lab's own cases of a workload that are there only where something went wrong.
_ONLY_BAD = TROUBLE | {BUILD, NEEDS}


_Found = TypeVar("_Found", RunResult, Records)


def settle(
    run: _Found, expectations: Iterable[Expectation], issues: Iterable[KnownIssue]
) -> _Found:
    """``run`` with known issues and expectations applied, its summary and ``known_issues`` too.

    Records, which have no summary, are settled as a run is.

    Both may speak of one case: it passes where each of its hits is known or expected.  An
    expectation is met by a known hit as well.
    """
    issues = tuple(issues)
    versions = {kernel.name: kernel.version for kernel in run.kernels}
    patched = {kernel.name for kernel in run.kernels if kernel.series}
    found = tuple(_as_found(cell) for cell in run.cells)
    marked = tuple(
        _marked(cell, versions.get(cell.kernel, ""), issues, cell.kernel in patched)
        for cell in found
    )
    kernels, builds, cells = expect_of_run(replace(run, cells=marked), expectations)
    cells = tuple(_excused(cell, versions.get(cell.kernel, ""), issues) for cell in cells)
    records = tuple(_record(issue, found, versions) for issue in issues)
    run = replace(run, kernels=kernels, builds=builds, cells=cells, known_issues=records)
    return run if isinstance(run, Records) else replace(run, summary=summary_of(run))


def mark(
    case: CaseResult, version: str, issues: Iterable[KnownIssue], *, series: bool = False
) -> CaseResult:
    """``case`` with the reason of a known issue at each hit that one describes, or its own.

    :param version: of the kernel, such as ``6.12.30``; a range holds for none that is empty.
    :param series: whether the kernel has one, and the hits have their source lines by now.
    """
    here = [issue for issue in issues if _speaks_of(issue, case, version)]
    if case.verdict is Verdict.FAIL and not case.known and not case.hits:
        told = next((issue.reason for issue in here if _is_case(issue, case)), "")
        return replace(case, known=told) if told else case
    if not case.hits:
        return case
    hits = tuple(replace(hit, known=_known_as(hit, here, series)) for hit in case.hits)
    return case if hits == case.hits else replace(case, hits=hits)


def known_in_log(hit: Hit, version: str, issues: Iterable[KnownIssue]) -> str:
    """The reason of the known issue that a report of a log by itself is; empty where it is none.

    Of such a log nobody knows which kernel of lab.yaml, config or workload it is of: an issue that
    speaks of one is no help.

    :param version: of the kernel, as far as the log tells it.
    """
    here = (i for i in issues if _at_any_place(i) and _in_ranges(i, version))
    return _known_as(hit, here)


def excused(case: CaseResult) -> CaseResult:
    """A marked case by itself: passed where it fails for known hits alone.

    Where other hits remain it fails for those, and its reason says so.
    """
    if case.verdict is Verdict.FAIL and case.known and not case.judged and not case.hits:
        return _changed(case, Verdict.SKIP, f"known: {case.known}\n{case.reason}", case.known)
    if case.verdict is not Verdict.FAIL or not any(hit.known for hit in case.hits):
        return case
    if not _is_log(case):
        return case
    told = _reasons(case.hits)
    if _all_known(case):
        return _changed(case, Verdict.PASS, f"known: {told}", told)
    if "\n" + OTHERS in case.reason:
        return case  # what remains is told already
    others = [hit for hit in case.hits if not hit.known]
    lines = [hit.title for hit in others[:_NAMED]]
    if len(others) > _NAMED:
        lines.append(f"and {len(others) - _NAMED} more reports")
    lines += [line for line in case.reason.split("\n") if line.startswith(BROKEN_RULE)]
    if case.workload == BOOT and others:
        lines[0] = f"outside the workloads: {lines[0]}"
    known = [hit.title for hit in case.hits if hit.known]
    lines.append(f"besides known issues: {'; '.join(dict.fromkeys(known))}")
    return _changed(case, Verdict.FAIL, "\n".join(lines), "")


# ---------------------------------------------------------------- which hit is known


def _speaks_of(issue: KnownIssue, case: CaseResult, version: str) -> bool:
    return (
        _at(issue, *CaseId.parse(case.id).cell.parts)
        and is_named(case.workload, issue.workload)
        and _in_ranges(issue, version)
    )


def _at(issue: KnownIssue, kernel: str, config: str, arch: str, shape: str) -> bool:
    return (
        fnmatchcase(kernel, issue.kernel)
        and fnmatchcase(config, issue.config)
        and fnmatchcase(arch, issue.arch)
        and fnmatchcase(shape, issue.shape)
    )


def _at_any_place(issue: KnownIssue) -> bool:
    places = (issue.kernel, issue.config, issue.arch, issue.shape, issue.workload)
    return all(place == "*" for place in places)


def _in_ranges(issue: KnownIssue, version: str) -> bool:
    return not issue.kernels or any(in_range(version, text) for text in issue.kernels)


def _is_case(issue: KnownIssue, case: CaseResult) -> bool:
    """Whether a failed case fails as an issue says."""
    if not _means(issue, case):
        return False
    return not issue.title or re.search(issue.title, case.reason) is not None


def _means(issue: KnownIssue, case: CaseResult) -> bool:
    """Whether an issue is about a case, however that one ended."""
    if not issue.case or _is_log(case):
        return False
    if case.workload in STAGES or case.case in SYNTHETIC or case.case in (BUILD, NEEDS):
        return issue.case in (case.case, _own(case))
    return fnmatchcase(case.case, issue.case)


def _describes(issue: KnownIssue, hit: Hit, series: bool = False) -> bool:
    if issue.case:
        return False
    if issue.outside_series and series and of_series(hit) is not False:
        return False  # the series' own, or nobody knows
    if issue.signature and (hit.corrupted or hit.signature != issue.signature):
        # The signature of a report that is cut or mixed may be that of another one.
        return False
    return not issue.title or re.search(issue.title, hit.title) is not None


def _known_as(hit: Hit, issues: Iterable[KnownIssue], series: bool = False) -> str:
    return next((issue.reason for issue in issues if _describes(issue, hit, series)), "")


# ---------------------------------------------------------------- what it excuses


def _as_found(cell: CellRecord) -> CellRecord:
    """A cell as it was before known issues were applied to it."""
    cases = tuple(
        _case_as_found(case) for case in cell.cases if not (case.case == UNFINISHED and case.known)
    )
    if cases == cell.cases:
        return cell
    return replace(cell, cases=cases, verdict=cell_verdict(cases))


def _case_as_found(case: CaseResult) -> CaseResult:
    if any(hit.known for hit in case.hits):
        case = replace(case, hits=tuple(replace(hit, known="") for hit in case.hits))
    if not case.judged:
        return replace(case, known="") if case.known else case
    verdict, _, reason = case.judged.partition(": ")
    return replace(case, verdict=Verdict(verdict), reason=reason, known="", judged="")


def _marked(
    cell: CellRecord, version: str, issues: tuple[KnownIssue, ...], series: bool
) -> CellRecord:
    cases = tuple(mark(case, version, issues, series=series) for case in cell.cases)
    return cell if cases == cell.cases else replace(cell, cases=cases)


def _excused(cell: CellRecord, version: str, issues: tuple[KnownIssue, ...]) -> CellRecord:
    """The cell with its known hits excused, and with what follows from them."""
    if not any(case.known or any(hit.known for hit in case.hits) for case in cell.cases):
        return cell
    cases = [excused(case) for case in cell.cases]
    # What a known panic or reset cut short: its reason by workload.
    lost = {c.workload: c.known for c in cases if c.known and _ends_the_guest(c)}
    cases = [_lost_boot(case) for case in cases]
    no_boot = next((c.known for c in cases if c.known and _is_start(c)), "")
    cases = [_following(case, lost, no_boot) for case in cases]
    flagged = tuple(issue for issue in issues if issue.counters)
    # Of each workload its first case, in the cases' order.
    samples = {case.workload: case for case in reversed(cases)}
    for workload, sample in samples.items():
        here = [issue for issue in flagged if _speaks_of(issue, sample, version)]
        if told := _seen_in_logs(here, (c for c in cases if c.workload == workload)):
            cases = [_counters(case, workload, told) for case in cases]
    cases += [_unfinished(samples[name], told) for name, told in lost.items() if name != BOOT]
    # What an expectation misses stands last.
    cases.sort(key=lambda case: case.workload == EXPECT)
    return replace(cell, cases=tuple(cases), verdict=cell_verdict(cases))


def _seen_in_logs(issues: Iterable[KnownIssue], cases: Iterable[CaseResult]) -> str:
    """The reasons of those issues that kernel logs among the cases show; empty for none."""
    hits = [hit for case in cases if _is_log(case) for hit in case.hits]
    seen = [issue.reason for issue in issues if any(_describes(issue, hit) for hit in hits)]
    return "; ".join(dict.fromkeys(seen))


def _own(case: CaseResult) -> str:
    """Which of the lab's own cases this is, its number left out; empty for a workload's."""
    if case.workload == BOOT:
        return _NUMBER.sub("", case.case)
    return case.case if case.case in SYNTHETIC else ""


def _is_log(case: CaseResult) -> bool:
    # A hang that was proved has a hit; one that only outlasted its time has none.
    return _own(case) in (KERNEL_LOG, RESET) or (_own(case) == HANG and bool(case.hits))


def _all_known(case: CaseResult) -> bool:
    """Whether nothing but known hits makes a case fail."""
    if not case.hits or not all(hit.known for hit in case.hits):
        return False
    lines = case.reason.split("\n")
    return len(case.reason) < _LONGEST_REASON and not any(
        line.startswith((*BROKEN_RULE, OTHERS)) for line in lines
    )


def _ends_the_guest(case: CaseResult) -> bool:
    return _own(case) == RESET or any(hit.fatal for hit in case.hits)


def _is_start(case: CaseResult) -> bool:
    """Whether a case says how a guest came up, or was lost between workloads."""
    return case.workload == BOOT and _own(case) in (BOOT, GUEST)


def _lost_boot(case: CaseResult) -> CaseResult:
    """A boot, or a guest between workloads, that a known panic ended: tried, and not passed."""
    if not _is_start(case):
        return case
    if case.verdict is not Verdict.FAIL or not _all_known(case) or not _ends_the_guest(case):
        return case
    told = _reasons(case.hits)
    return _changed(case, Verdict.SKIP, f"known: {told}\n{case.reason}", told)


def _following(case: CaseResult, lost: Mapping[str, str], no_boot: str) -> CaseResult:
    """A case that says no more than that the guest was lost, where a known issue ended it."""
    told, own = lost.get(case.workload, ""), _own(case)
    failed = case.verdict is Verdict.FAIL and own in (GUEST, HANG) and case.workload != BOOT
    skipped = case.verdict is Verdict.SKIP and own != ""
    if told and not case.known and (failed or skipped):
        return _changed(case, Verdict.SKIP, f"known: {told}\n{case.reason}", told)
    if no_boot and case.verdict is Verdict.SKIP and own == GUEST and not case.known:
        return _changed(case, Verdict.SKIP, f"{case.reason}: known: {no_boot}", no_boot)
    return case


def _counters(case: CaseResult, workload: str, told: str) -> CaseResult:
    if case.workload != workload or _own(case) != COUNTERS or case.verdict is not Verdict.FAIL:
        return case
    return _changed(case, Verdict.PASS, f"known: {told}\n{case.reason}", told)


def _unfinished(sample: CaseResult, told: str) -> CaseResult:
    return CaseResult(
        id=str(replace(CaseId.parse(sample.id), workload=sample.workload, case=UNFINISHED)),
        workload=sample.workload,
        case=UNFINISHED,
        verdict=Verdict.SKIP,
        reason=f"the guest was lost to a known issue, and with it what this workload had not "
        f"done by then: {told}",
        rerun=sample.rerun,
        known=told,
    )


def _changed(case: CaseResult, verdict: Verdict, reason: str, known: str) -> CaseResult:
    judged = f"{case.verdict.value}: {case.reason}"
    return replace(case, verdict=verdict, reason=reason, known=known, judged=judged)


def _reasons(hits: Iterable[Hit]) -> str:
    return "; ".join(dict.fromkeys(hit.known for hit in hits if hit.known))


# ---------------------------------------------------------------- whether it still happens


@dataclass(frozen=True)
class _Trial:
    """A cell in which an issue could have shown: one workload of it was watched to its end."""

    cell: str
    hits: int


def _record(
    issue: KnownIssue, cells: Iterable[CellRecord], versions: Mapping[str, str]
) -> IssueRecord:
    trials = [trial for cell in cells for trial in _tried(issue, cell, versions)]
    seen = sum(trial.hits for trial in trials)
    # A rule over whatever the series did not write is nothing that could be removed one day.
    gone = NOT_SEEN if trials and not issue.outside_series else NOT_TRIED
    state = SEEN if seen else gone
    return IssueRecord(
        **asdict(issue),
        state=state,
        seen=seen,
        cells=tuple(trial.cell for trial in trials),
        seen_in=tuple(trial.cell for trial in trials if trial.hits),
    )


def _tried(issue: KnownIssue, cell: CellRecord, versions: Mapping[str, str]) -> Iterator[_Trial]:
    if not _at(issue, cell.kernel, cell.config, cell.arch, cell.shape):
        return
    if not _in_ranges(issue, versions.get(cell.kernel, "")):
        return
    own = [case for case in cell.cases if is_named(case.workload, issue.workload)]
    hits = {
        # A guest lost between workloads tells its whole console again.
        (case.console, hit.line, hit.signature, hit.title)
        for case in own
        for hit in case.hits
        if _describes(issue, hit)
    }
    if issue.case:
        failed = [c for c in own if c.verdict is Verdict.FAIL and _is_case(issue, c)]
        if failed or _passed(issue, own):
            yield _Trial(cell.id, len(failed))
        return
    # That a guest booted is no trial of what workloads do.
    tried = {case.workload for case in own if case.workload != BOOT or issue.workload == BOOT}
    if hits or any(_watched(workload, own) for workload in tried):
        yield _Trial(cell.id, len(hits))


def _passed(issue: KnownIssue, own: list[CaseResult]) -> bool:
    """Whether the case that an issue is about was there and nothing was wrong with it."""
    meant = [case for case in own if _means(issue, case)]
    if issue.case in _ONLY_BAD:
        # Nobody says that a program was built or did not hang: it ran.
        ran = {case.workload for case in own if executed(case) and not _means(issue, case)}
        return bool(ran - {case.workload for case in meant})
    verdicts = {case.verdict for case in meant}
    return Verdict.PASS in verdicts and Verdict.FAIL not in verdicts


def _watched(workload: str, cases: Iterable[CaseResult]) -> bool:
    """Whether a workload ran, and its kernel log was judged from begin to end."""
    own = [case for case in cases if case.workload == workload]
    logs = [case for case in own if _own(case) == KERNEL_LOG]
    judged = bool(logs) and all(case.verdict in (Verdict.PASS, Verdict.FAIL) for case in logs)
    cut = any(hit.fatal for case in own for hit in case.hits)
    cut |= any(_own(case) in (GUEST, HANG, RESET) for case in own)
    return judged and not cut and (workload == BOOT or any(map(executed, own)))
