# SPDX-License-Identifier: GPL-2.0-only
"""``expect:`` of lab.yaml: a kernel that is known to be bad becomes a check of the lab.

A failing case whose title is expected passes, with the title in ``expected``.  An expectation that
no failing case meets is itself a fail: the lab no longer finds what it is known to be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from orchestrator.model import CaseResult, Expectation, Verdict


def apply_expectations(
    cases: Iterable[CaseResult], expectations: Iterable[Expectation]
) -> tuple[CaseResult, ...]:
    """``cases`` with every expectation applied, and a case ``expect`` for each one unmet.

    Cases of several cells, builds and series may come together.  Each cell whose kernel and config
    an expectation matches must meet it; what the cell's build or series meets counts for the cell.
    The ``case`` glob is matched against ``CASE``, ``WORKLOAD:CASE`` and the whole id.
    A case whose hits are only partly expected stays a fail: one known report must not hide another.
    """
    found, wanted = tuple(cases), tuple(expectations)
    met: set[tuple[int, str]] = set()
    result = [_applied(case, wanted, met) for case in found]
    places = {place: case for case in reversed(found) if (place := _place(case))}
    for number, expectation in enumerate(wanted):
        for place, sample in sorted(places.items()):
            inner = any(other.startswith(place + "/") for other in places)
            if inner or not _covers(expectation, place):
                continue
            outer = {place} | {p for p in places if place.startswith(p + "/")}
            if not any((number, p) in met for p in outer):
                result.append(_unmet(expectation, place, sample))
    return tuple(result)


def _place(case: CaseResult) -> str:
    """``KERNEL/CONFIG/ARCH/SHAPE`` of a case, without the ``-`` of parts that do not apply."""
    parts = case.id.split(":", 1)[0].split("/")
    while parts and parts[-1] in ("-", ""):
        parts.pop()
    return "/".join(parts)


def _covers(expectation: Expectation, place: str) -> bool:
    kernel, _, rest = place.partition("/")
    config = rest.split("/", 1)[0]
    return fnmatchcase(kernel, expectation.kernel) and (
        expectation.config == "*" or fnmatchcase(config, expectation.config)
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
    other = titles + [
        r for r in case.reason.split("\n") if r.startswith(("forbidden ", "required "))
    ]
    other = [t for t in other if not any(e.title in t for _, e in seen)]
    if other:
        return replace(case, reason=f"{case.reason}\nnot expected: {'; '.join(other[:8])}")
    expected = "; ".join(dict.fromkeys(e.title for _, e in seen))
    return replace(case, verdict=Verdict.PASS, expected=expected)


def _unmet(expectation: Expectation, place: str, sample: CaseResult) -> CaseResult:
    where = f" ({expectation.where})" if expectation.where else ""
    return CaseResult(
        id=f"{place}:expect:{expectation.title}",
        workload="expect",
        case=expectation.title,
        verdict=Verdict.FAIL,
        reason=f"expected {expectation.title!r} of case {expectation.case!r}, and nothing failed "
        f"with it{where}",
        rerun=sample.rerun,
    )
