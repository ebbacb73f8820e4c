# SPDX-License-Identifier: GPL-2.0-only
"""Run against run, or two kernels of one run: what got worse, what got better.  Pure.

The rule of thumb: a failure may be called regressed although the baseline is unknown (and the
reason says so), but nothing is called fixed without a pass on the candidate and a real failure on
the baseline.  The whole table is in docs/results.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestrator.judge.mended import failed_as_known, without_companions
from orchestrator.judge.noise import Noise, NoiseTable
from orchestrator.judge.outcome import (
    ENDED,
    PlacedCase,
    cases_of,
    kernels_of,
    left_out_of,
    not_run,
    why_not_run,
)
from orchestrator.judge.retried import judged_again
from orchestrator.model.errors import UserError
from orchestrator.model.evidence import Hit, Measurement
from orchestrator.model.names import BUILD, NOT_ANY, NOT_RUN, SERIES, CaseId, CellId, Verdict
from orchestrator.model.results import CaseComparison, CaseResult, Change, Comparison, RunResult

_ORDER = (
    Change.REGRESSED,
    Change.STILL_FAILING,
    Change.FLAKY,
    Change.FIXED,
    Change.NEW,
    Change.GONE,
    Change.UNCHANGED,
)
_SEVERITY = {Verdict.PASS: 0, Verdict.SKIP: 1, Verdict.ERROR: 2, Verdict.FAIL: 3}


def compare(
    a: RunResult, b: RunResult, kernel_a: str | None = None, kernel_b: str | None = None
) -> Comparison:
    """Set every case of ``b`` (candidate) beside the same case of ``a`` (baseline).

    Cases match by their id without the kernel part.  With a kernel named on either side, one kernel
    is set against one kernel, also within one run (``compare(run, run, "base", "patched")``).  With
    none named, a run with one kernel is set against the other run's only kernel, whatever they are
    called; otherwise kernels match by name.

    :raises UserError: a named kernel is not in its run, or it is unclear which one is meant.
    """
    names_a, names_b = kernels_of(a), kernels_of(b)
    if kernel_a is None and kernel_b is None and not (len(names_a) == 1 == len(names_b)):
        pairs = [(name, name) for name in dict.fromkeys((*names_b, *names_a))]
        label_a, label_b = a.run.id, b.run.id
    else:
        one = _choose(a, names_a, kernel_a, kernel_b, "baseline")
        two = _choose(b, names_b, kernel_b, kernel_a, "candidate")
        pairs = [(one, two)]
        label_a, label_b = f"{a.run.id} {one}", f"{b.run.id} {two}"
    found: list[CaseComparison] = []
    for one, two in pairs:
        found += _compare_kernels(a, b, one, two)
    return Comparison(label_a, label_b, tuple(sorted(found, key=_rank)))


def kernel_regressed(comparison: Comparison) -> bool:
    """Whether a regression is the kernel's doing: one that is no mere error of the host.

    This decides exit status 1 under ``--fail-on regression``; host errors have a status of theirs.
    """
    return any(
        c.after is None or c.after.verdict is not Verdict.ERROR for c in comparison.regressed
    )


def _rank(item: CaseComparison) -> tuple[int, bool]:
    """Regressions first, those that blame the kernel before those of the host; sort() is stable."""
    host = item.after is not None and item.after.verdict is Verdict.ERROR
    return _ORDER.index(item.change), host


def _choose(
    run: RunResult, names: tuple[str, ...], wanted: str | None, other: str | None, side: str
) -> str:
    if wanted is not None:
        if wanted in kernels_of(run, parts=True):
            return wanted
        raise UserError(
            f"{side}: run {run.run.id} has no kernel {wanted!r}",
            f"it has: {', '.join(names) or 'none'}",
        )
    if len(names) == 1:
        return names[0]
    if other in names and other is not None:
        return other
    raise UserError(
        f"{side}: run {run.run.id} has {len(names)} kernels and none was named",
        f"name one of: {', '.join(names) or 'none'}",
    )


def _compare_kernels(a: RunResult, b: RunResult, one: str, two: str) -> list[CaseComparison]:
    before, after = _by_key(a, one), _by_key(b, two)
    found = []
    for key, case in after.items():
        old = before.get(key)
        change, reason = (
            _new(case, _why_missing(a, one, key, before)) if old is None else _change(old, case)
        )
        change, reason = judged_again(change, reason, case, one if a.run.id == b.run.id else "")
        found.append(CaseComparison(key, change, old, case, reason))
    for key, old in before.items():
        if key not in after:
            reason = _why_missing(b, two, key, after)
            found.append(CaseComparison(key, Change.GONE, old, None, reason))
    return without_companions(found)


def _by_key(run: RunResult, kernel: str) -> dict[str, CaseResult]:
    """The kernel's cases by key; of one that was run twice the worse result counts."""
    found: dict[str, CaseResult] = {}
    placed: PlacedCase
    for placed in cases_of(run, kernel):
        if placed.case.case == NOT_RUN:  # of what was not run nothing is known
            continue
        old = found.get(placed.key)
        if old is None or _SEVERITY[placed.case.verdict] > _SEVERITY[old.verdict]:
            found[placed.key] = placed.case
    return found


def _why_missing(run: RunResult, kernel: str, key: str, cases: Mapping[str, CaseResult]) -> str:
    """Why a run has no such case: not planned, or something before it went wrong."""
    if kernel not in kernels_of(run, parts=True):
        return f"no kernel {kernel} in that run"
    cell = CaseId.of_key(kernel, key).cell
    no_shape = replace(cell, shape=NOT_ANY)
    series, build = CaseId.of_series(kernel), CaseId(no_shape, BUILD, BUILD)
    for earlier in (series.key, build.key):
        case = cases.get(earlier)
        bad = case is not None and (case.verdict in (Verdict.FAIL, Verdict.ERROR) or case.expected)
        if earlier != key and case is not None and bad:
            what = "its series does not apply" if case.workload == SERIES else "its build failed"
            host = " (host error)" if case.verdict is Verdict.ERROR else ""
            return f"not run: {what}{host}"
    for left in not_run(run.cells):
        at_build = cell == no_shape and CellId.parse(left.id).build == cell.build
        if left.id == str(cell) or at_build:
            return why_not_run(left)
    if not run.run.finished:
        return f"not run: run {run.run.id} did not finish"
    for there in run.cells:
        if there.id == str(cell):
            left_out = CaseId.of_key(kernel, key).workload in left_out_of(there)
            return ENDED if left_out else "its cell ran without it"
    return "not part of that run"


def _new(case: CaseResult, why: str) -> tuple[Change, str]:
    if case.verdict is Verdict.FAIL:
        return Change.REGRESSED, f"new and failing (baseline: {why}){_because(case)}"
    if case.verdict is Verdict.ERROR:
        return Change.NEW, f"host error, nothing is known of the kernel{_because(case)}"
    return Change.NEW, f"baseline: {why}"


def _change(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
    """The table of docs/results.md; one row for each pair of verdicts."""
    if b.verdict is Verdict.PASS and b.expected:
        return _expected(a, b)
    if b.known:
        return _known_issue(a, b)
    if a.known and b.verdict is Verdict.FAIL and (a.hits or a.verdict is Verdict.PASS):
        # It failed there too, had it not been known.
        return _still_failing(a, b)
    if a.verdict is Verdict.PASS and a.expected and b.verdict is Verdict.PASS:
        return Change.FIXED, f"failed as expected on the baseline ({a.expected}), passes now"
    if failed_as_known(a) and b.verdict is Verdict.PASS:
        told = f"a known issue on the baseline, passes now: {a.known}"
        return Change.FIXED, ". ".join(filter(None, (told, _hit_changes(a, b))))
    return _TABLE[a.verdict, b.verdict](a, b)


def _expected(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
    """``expect:`` makes a known failure a pass of the lab's; it is no fix of the kernel's."""
    told = f"fails as lab.yaml expects: {b.expected}"
    if a.verdict is Verdict.FAIL:
        return Change.STILL_FAILING, told
    if a.verdict is Verdict.PASS and not a.expected:
        return Change.UNCHANGED, f"{told} (passed on the baseline)"
    return Change.UNCHANGED, told


def _known_issue(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
    """A known issue is no regression; neither is what it excuses a fix."""
    ran = b.verdict is Verdict.PASS or (b.judged.startswith(Verdict.FAIL.value) and not b.hits)
    told = "known issue" if ran else "not executed for a known issue"
    if a.verdict is Verdict.FAIL:
        return Change.STILL_FAILING, f"{told}: {b.known} (was: {a.reason})"
    if a.verdict in (Verdict.SKIP, Verdict.ERROR) and b.verdict is Verdict.PASS and not a.known:
        why = "skipped on" if a.verdict is Verdict.SKIP else "only a host error on"
        return Change.NEW, f"{told}: {b.known} ({why} the baseline)"
    notes = _hit_changes(a, b)
    return Change.UNCHANGED, f"{told}: {b.known}" + (f". {notes}" if notes else "")


def _still_failing(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
    """One known report must not hide another: a hit that was not there before is a regression."""
    notes = _hit_changes(a, b)
    known = {hit.signature for hit in b.hits if hit.known}
    if {hit.signature for hit in b.hits} - {hit.signature for hit in a.hits} - known:
        before = f"a known issue on the baseline ({a.known})" if a.known else "failed before"
        return Change.REGRESSED, f"{before}, and has a {notes}"
    if a.known:
        notes = ". ".join(filter(None, (f"a known issue on the baseline: {a.known}", notes)))
    if not notes and a.reason != b.reason:
        notes = f"was: {a.reason}"
    return Change.STILL_FAILING, notes


def _unchanged_pass(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
    return Change.UNCHANGED, _hit_changes(a, b)


def _hit_changes(a: CaseResult, b: CaseResult) -> str:
    old = {hit.signature: _title(hit) for hit in a.hits}
    new = {hit.signature: _title(hit) for hit in b.hits}
    came = list(dict.fromkeys(new[s] for s in new if s not in old))
    went = list(dict.fromkeys(old[s] for s in old if s not in new))
    parts = []
    if came:
        parts.append(f"new hit: {'; '.join(came)}")
    if went:
        parts.append(f"no longer seen: {'; '.join(went)}")
    return ". ".join(parts)


def _title(hit: Hit) -> str:
    return f"{hit.title} (known issue)" if hit.known else hit.title


def _because(case: CaseResult) -> str:
    return f": {case.reason}" if case.reason else ""


def _always(change: Change, words: str, because: str = "") -> _Rule:
    """A rule with fixed words; ``because`` names the side whose reason is added, ``a`` or ``b``."""

    def rule(a: CaseResult, b: CaseResult) -> tuple[Change, str]:
        side = {"a": a, "b": b}.get(because)
        return change, words + (_because(side) if side is not None else "")

    return rule


_Rule = Callable[[CaseResult, CaseResult], tuple[Change, str]]
_P, _F, _S, _E = Verdict.PASS, Verdict.FAIL, Verdict.SKIP, Verdict.ERROR

_TABLE: dict[tuple[Verdict, Verdict], _Rule] = {
    (_P, _P): _unchanged_pass,
    (_P, _F): _always(Change.REGRESSED, "passed on the baseline, fails now", "b"),
    (_P, _S): _always(Change.REGRESSED, "skipped, but ran on the baseline", "b"),
    (_P, _E): _always(
        Change.REGRESSED, "host error, so the baseline's pass is not confirmed; run it again", "b"
    ),
    (_F, _P): _always(Change.FIXED, "failed on the baseline", "a"),
    (_F, _F): _still_failing,
    (_F, _S): _always(Change.REGRESSED, "skipped, but ran (and failed) on the baseline", "b"),
    (_F, _E): _always(
        Change.STILL_FAILING, "host error: failed on the baseline and not shown to be fixed", "b"
    ),
    (_S, _P): _always(Change.NEW, "skipped on the baseline", "a"),
    (_S, _F): _always(Change.REGRESSED, "new and failing (baseline: skipped)", "b"),
    (_S, _S): _always(Change.UNCHANGED, "skipped on both sides", "b"),
    (_S, _E): _always(
        Change.UNCHANGED, "host error, and skipped on the baseline: nothing is known", "b"
    ),
    (_E, _P): _always(Change.NEW, "passes; the baseline has only a host error", "a"),
    (_E, _F): _always(
        Change.REGRESSED,
        "fails; the baseline has only a host error, so this may be older than the change",
        "b",
    ),
    (_E, _S): _always(Change.UNCHANGED, "skipped, and a host error on the baseline", "b"),
    (_E, _E): _always(Change.UNCHANGED, "host error on both sides: nothing is known", "b"),
}


# ---------------------------------------------------------------- measurements

#: A measurement called so tells how far the rounds of the one before the suffix spread, in percent.
SPREAD = "-spread"

# A smaller change is not told, however still the figure: nobody would act on it.
_LEAST = math.log(1.02)
_LOWER_IS_BETTER = ("ns", "us", "ms", "s")


@dataclass(frozen=True)
class FigureChange:
    """A measurement on both sides.  ``judged``: better, worse, changed, noise, unknown or same.

    ``changed`` is one whose unit does not say which way is better; ``unknown`` one of which too few
    runs are known to tell a change from noise.  No verdict depends on any of it.
    """

    key: str
    name: str
    unit: str
    before: float
    after: float
    percent: float
    judged: str
    noise: Noise | None
    spreads: tuple[float | None, float | None]


def figure_changes(comparison: Comparison, noise: NoiseTable) -> tuple[FigureChange, ...]:
    """Every measurement that both sides have: beyond noise first, of those the largest change."""
    found = []
    for item in comparison.cases:
        if item.before is None or item.after is None:
            continue
        old = {m.name: m for m in item.before.measurements}
        new = {m.name: m for m in item.after.measurements}
        for name, after in new.items():
            before = old.get(name)
            if before is None or before.unit != after.unit or name.endswith(SPREAD):
                continue
            known = noise.get((item.key, name))
            percent, judged = _judge(before.value, after.value, after.unit, known)
            spreads = (_spread(old, name), _spread(new, name))
            found.append(FigureChange(item.key, name, after.unit, before.value, after.value,
                                      percent, judged, known, spreads))  # fmt: skip
    return tuple(sorted(found, key=lambda c: (_JUDGED.index(c.judged), -abs(c.percent))))


_JUDGED = ("worse", "changed", "better", "unknown", "noise", "same")


def _spread(measurements: Mapping[str, Measurement], name: str) -> float | None:
    found = measurements.get(name + SPREAD)
    return found.value if found is not None else None


def _judge(before: float, after: float, unit: str, noise: Noise | None) -> tuple[float, str]:
    if before == after:
        return 0.0, "same"
    if not (before > 0 and after > 0 and math.isfinite(before) and math.isfinite(after)):
        return 0.0, "unknown"
    change = math.log(after / before)
    percent = (after / before - 1) * 100
    if noise is None:
        return percent, "unknown"
    if abs(change) <= max(_LEAST, noise.limit):
        return percent, "noise"
    if unit.endswith("/s") or unit == "x":
        return percent, "better" if change > 0 else "worse"
    if unit in _LOWER_IS_BETTER:
        return percent, "better" if change < 0 else "worse"
    return percent, "changed"
