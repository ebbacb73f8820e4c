# SPDX-License-Identifier: GPL-2.0-only
"""``expect:`` of lab.yaml: a kernel that is known to be bad becomes a check of the lab.

A failing case whose title is expected passes, with the title in ``expected``.  An expectation that
no failing case meets is itself a fail: the lab no longer finds what it is known to be there.
Applying expectations to what they were applied to before gives the same again, so that a run that
is resumed may keep finished cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain, islice

from orchestrator.judge.outcome import build_case, cell_verdict, series_case
from orchestrator.model.names import EXPECT, NOT_RUN, CaseId, CellId, Verdict
from orchestrator.model.results import BuildRecord, CaseResult, CellRecord, Found, KernelRecord
from orchestrator.model.spec import Expectation

# How a partly expected fail tells the rest.
OTHERS = "not expected: "
_VANISHED = "and nothing failed with it"


def apply_expectations(
    cases: Iterable[CaseResult], expectations: Iterable[Expectation]
) -> tuple[CaseResult, ...]:
    """``cases`` with every expectation applied, and a case ``expect`` for each one unmet.

    Cases of several cells, builds and series may come together.  Each cell whose kernel and config
    an expectation matches must meet it; what the cell's build or series meets counts for the cell.
    The ``case`` glob is matched against ``CASE``, ``WORKLOAD:CASE`` and the whole id.
    A case whose hits are only partly expected stays a fail: one expected report must not hide
    another, unless that is marked as a known issue.
    """
    applied, missed = _apply(cases, tuple(expectations))
    return (*applied, *(_unmet(expectation, place, case) for expectation, place, case in missed))


def expect_of_run(
    run: Found, expectations: Iterable[Expectation]
) -> tuple[tuple[KernelRecord, ...], tuple[BuildRecord, ...], tuple[CellRecord, ...]]:
    """The kernels, builds and cells of ``run`` with every expectation applied.

    A build that fails as expected passes, and its cells are skipped with that note.  Where no cell
    ran, an expectation is only held against a build if it speaks of the build or its series.
    """
    run = replace(run, builds=tuple(map(_build_as_found, run.builds)))
    found = {k.name: c for k in run.kernels if (c := series_case(run, k)) is not None}
    built = [build_case(run, build) for build in run.builds]
    told = [[case for case in cell.cases if case.workload != EXPECT] for cell in run.cells]
    applied, missed = _apply((*found.values(), *built, *chain(*told)), tuple(expectations))
    rest = iter(applied)  # in the order in which they went in

    series = {name: next(rest) for name in found}
    kernels = tuple(
        replace(kernel, expected=series[kernel.name].expected) if kernel.name in series else kernel
        for kernel in run.kernels
    )
    builds = [_build(build, next(rest), series.get(build.kernel), missed) for build in run.builds]
    failed_as_expected = {(b.kernel, b.config, b.arch): b.expected for b in builds if b.expected}
    cells = []
    for cell, before in zip(run.cells, told, strict=True):
        own = tuple(islice(rest, len(before)))
        own += tuple(_unmet(*miss) for miss in missed if own and miss[1] == cell.id)
        title = failed_as_expected.get((cell.kernel, cell.config, cell.arch))
        if own != cell.cases:
            cell = replace(cell, cases=own, verdict=cell_verdict(own))
        elif title and not own and cell.verdict is Verdict.FAIL:
            notes = (*cell.notes, f"as lab.yaml expects: {title}")
            cell = replace(cell, verdict=Verdict.SKIP, notes=notes)
        cells.append(cell)
    return kernels, tuple(builds), tuple(cells)


_Missed = tuple[Expectation, str, CaseResult]


def _apply(
    cases: Iterable[CaseResult], wanted: tuple[Expectation, ...]
) -> tuple[list[CaseResult], list[_Missed]]:
    """The cases with expectations applied, and which expectation was missed in which place."""
    found = [_as_found(case) for case in cases if case.workload != EXPECT]
    met: set[tuple[int, str]] = set()
    result = [_applied(case, wanted, met) for case in found]
    places = {place: case for case in reversed(found) if (place := _place(case))}
    cut = {_place(case) for case in found if case.case == NOT_RUN}
    missed: list[_Missed] = []
    for number, expectation in enumerate(wanted):
        for place, sample in sorted(places.items()):
            inner = any(other.startswith(place + "/") for other in places)
            # What a cell that was ended has not met, the rest of it may.
            if inner or place in cut or not _covers(expectation, place):
                continue
            outer = {place} | {p for p in places if place.startswith(p + "/")}
            if not any((number, p) in met for p in outer):
                missed.append((expectation, place, sample))
    return result, missed


def _as_found(case: CaseResult) -> CaseResult:
    """A case as it was before expectations were applied to it."""
    if case.verdict is Verdict.PASS and case.expected:
        return replace(case, verdict=Verdict.FAIL, expected="")
    head, sign, _ = case.reason.rpartition("\n" + OTHERS)
    return replace(case, reason=head) if sign and case.verdict is Verdict.FAIL else case


def _build_as_found(build: BuildRecord) -> BuildRecord:
    """A build as it was before expectations were applied to it."""
    if build.expected:
        return replace(build, verdict=Verdict.FAIL, expected="")
    vanished = build.verdict is Verdict.FAIL and _VANISHED in build.reason
    return replace(build, verdict=Verdict.PASS, reason="") if vanished else build


def _build(
    build: BuildRecord, case: CaseResult, series: CaseResult | None, missed: list[_Missed]
) -> BuildRecord:
    """A build with expectations applied: those that its case met, and the first that it missed.

    :param case: the build as a case, applied; ``series`` is that of its kernel.
    """
    if case.expected:
        build = replace(build, verdict=case.verdict, expected=case.expected)
    if build.verdict is not Verdict.PASS:
        return build
    stages = [stage for stage in (series, case) if stage is not None]
    for expectation, place, sample in missed:
        aimed = bool(expectation.case.strip("*:"))  # a bare "*" may mean what did not run
        if aimed and place == _place(case) and any(_concerns(expectation, s) for s in stages):
            reason = _unmet(expectation, place, sample).reason
            return replace(build, verdict=Verdict.FAIL, reason=reason)
    return build


def _place(case: CaseResult) -> str:
    """``KERNEL/CONFIG/ARCH/SHAPE`` of a case, without the ``-`` of parts that do not apply."""
    return "/".join(CaseId.parse(case.id).cell.applying)


def _covers(expectation: Expectation, place: str) -> bool:
    cell = CellId.parse(place)
    return fnmatchcase(cell.kernel, expectation.kernel) and (
        expectation.config == "*" or fnmatchcase(cell.config, expectation.config)
    )


def _concerns(expectation: Expectation, case: CaseResult) -> bool:
    names = (case.case, f"{case.workload}:{case.case}", case.id, case.workload)
    return _covers(expectation, _place(case)) and any(
        fnmatchcase(name, expectation.case) for name in names
    )


def _applied(
    case: CaseResult, wanted: tuple[Expectation, ...], met: set[tuple[int, str]]
) -> CaseResult:
    if case.verdict is not Verdict.FAIL:
        return case
    concerned = [(n, e) for n, e in enumerate(wanted) if _concerns(e, case)]
    titles = [hit.title for hit in case.hits]
    seen = [
        (n, e) for n, e in concerned if e.title in case.reason or any(e.title in t for t in titles)
    ]
    if not seen:
        return case
    met.update((n, _place(case)) for n, _ in seen)
    # A kernel log's reason has a line for each forbidden and each missing message as well.
    other = [hit.title for hit in case.hits if not hit.known]
    other += [r for r in case.reason.split("\n") if r.startswith(("forbidden ", "required "))]
    other = [t for t in other if not any(e.title in t for _, e in seen)]
    if other:
        return replace(case, reason=f"{case.reason}\n{OTHERS}{'; '.join(other[:8])}")
    expected = "; ".join(dict.fromkeys(e.title for _, e in seen))
    return replace(case, verdict=Verdict.PASS, expected=expected)


def _unmet(expectation: Expectation, place: str, sample: CaseResult) -> CaseResult:
    where = f" ({expectation.where})" if expectation.where else ""
    return CaseResult(
        id=str(CaseId(CellId.parse(place), EXPECT, expectation.title)),
        workload=EXPECT,
        case=expectation.title,
        verdict=Verdict.FAIL,
        reason=f"expected {expectation.title!r} of case {expectation.case!r}, {_VANISHED}{where}",
        rerun=sample.rerun,
    )
