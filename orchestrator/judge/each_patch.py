# SPDX-License-Identifier: GPL-2.0-only
"""A series patch by patch: which patch breaks what, and which one mends it again.  Pure.

The kernels of the first patches of a series (``--each-patch``) stand in a row: the base without it,
patch 1, patches 1 and 2, and so on to the whole.  A build, a boot or a case that fails at one and
was well before is blamed on that patch, once, however far it reaches.  What fails on the base too
is not the series'; what lab.yaml foresees of the whole series is not held against its parts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.judge.causes import Cause, causes_among
from orchestrator.judge.outcome import PlacedCase, cases_of, executed
from orchestrator.model.errors import EXIT_HOST, EXIT_KERNEL, EXIT_OK
from orchestrator.model.names import BOOT, BUILD, EXPECT, SERIES, STAGES, CaseId, Verdict
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    Comparison,
    EachPatch,
    KernelRecord,
    PatchFinding,
    PatchRow,
    RunResult,
)

# Whether it applies is told of the whole; what lab.yaml expects may well take all of it to happen.
_NOT_ITS_OWN = (SERIES, EXPECT)
#: What findings are about, in the order in which they are told.
KINDS = ("build", "boot", "test", "warning")


def each_patch(run: RunResult, comparison: Comparison | None = None) -> tuple[EachPatch, ...]:
    """Every series of a run that was tried patch by patch, with what its patches break.

    :param comparison: what tells how the base fares; without one nothing is known of it.
    """
    parts: dict[str, dict[int, str]] = {}
    for kernel in run.kernels:
        if kernel.prefix_of:
            parts.setdefault(kernel.prefix_of, {})[kernel.patches] = kernel.name
    return tuple(
        _Series(run, whole, parts[whole.name], comparison).judged()
        for whole in run.kernels
        if whole.name in parts
    )


def status_with(status: int, judged: Iterable[EachPatch], run: RunResult) -> int:
    """The exit status of a run whose other kernels come to ``status``.

    A patch that breaks something is the kernel's failure; where the host kept a part of a series
    from being tried, it is the host's.
    """
    if status not in (EXIT_OK, EXIT_KERNEL):
        return status
    if any(placed.case.verdict is Verdict.ERROR for placed in cases_of(run, parts=True)):
        return EXIT_HOST
    return EXIT_KERNEL if any(one.broken for one in judged) else status


# ---------------------------------------------------------------- a row of outcomes


@dataclass(frozen=True)
class _Span:
    """From which patch on something is there, and with which it is gone; see PatchFinding."""

    patch: int
    since: int
    mended: int
    base_known: bool


def _spans(outcomes: Sequence[bool | None]) -> Iterator[_Span]:
    """When something was there: True, False or (None) not known, the base's outcome first."""
    there, well = outcomes[0] is True, 0  # the last that is known to be well, or was not tried
    span: _Span | None = None
    for n, outcome in enumerate(outcomes[1:], 1):
        if outcome is True and not there:
            span = _Span(n, well + 1, 0, outcomes[0] is not None)
        elif outcome is False:
            if span is not None:
                yield _Span(span.patch, span.since, n, span.base_known)
            span, well = None, n
        there = there if outcome is None else outcome
    if span is not None:
        yield span


class _Series:
    """One series: its kernels by the number of their patches, and what each came to."""

    def __init__(
        self,
        run: RunResult,
        whole: KernelRecord,
        parts: Mapping[int, str],
        comparison: Comparison | None,
    ) -> None:
        self.whole = whole
        self.count = len(whole.series)
        self.names = {**parts, self.count: whole.name}
        self.numbers = range(1, self.count + 1)
        self.builds = {
            n: {(b.config, b.arch): b for b in run.builds if b.kernel == name}
            for n, name in self.names.items()
        }
        self.cases = {
            n: {placed.key: placed for placed in cases_of(run, name)}
            for n, name in self.names.items()
        }
        self.base = _of_base(whole.name, comparison)

    def judged(self) -> EachPatch:
        warnings = list(self._warnings())
        gone = [finding for finding in warnings if finding.mended]
        found = sorted([*self._broken(), *gone], key=_order)
        brought = {n: sum(f.patch == n for f in warnings) for n in self.numbers}
        rows = tuple(self._row(n, brought[n]) for n in self.numbers)
        return EachPatch(self.whole.name, rows, tuple(found))

    def _subject(self, n: int) -> str:
        return self.whole.series[n - 1].subject

    # ------------------------------------------------------------ what fails

    def _broken(self) -> Iterator[PatchFinding]:
        """What a patch breaks, cases of one cause together."""
        tried = {key for n, cases in self.cases.items() if n < self.count for key in cases}
        spans: dict[_Span, list[PlacedCase]] = {}
        for key in dict.fromkeys(key for cases in self.cases.values() for key in cases):
            if key not in tried or CaseId.of_key("", key).workload in _NOT_ITS_OWN:
                continue
            last = self.cases[self.count].get(key)
            if last is not None and (last.case.expected or last.case.known):
                continue
            row = [_fails(self.base.get(key))]
            row += [_fails(self._case(n, key)) for n in self.numbers]
            for span in _spans(row):
                spans.setdefault(span, []).append(self.cases[span.patch][key])
        for span, placed in spans.items():
            for cause in causes_among(placed):
                yield self._finding(span, cause)

    def _case(self, n: int, key: str) -> CaseResult | None:
        placed = self.cases.get(n, {}).get(key)
        return placed.case if placed is not None else None

    def _finding(self, span: _Span, cause: Cause) -> PatchFinding:
        cases = (*cause.cases, *cause.followers)
        workload = cause.first.workload
        cells = [CaseId.parse(case.id).cell for case in cases]
        return PatchFinding(
            kind="build" if workload == BUILD else "boot" if workload in STAGES else "test",
            patch=span.patch,
            subject=self._subject(span.patch),
            title=cause.title,
            since=span.since,
            mended=span.mended,
            evidence=cause.evidence,
            places=tuple(dict.fromkeys(f"{cell.config}/{cell.arch}" for cell in cells)),
            case=cause.first.id,
            cases=len(cases),
            rerun=cause.first.rerun,
            base_known=span.base_known,
        )

    # ------------------------------------------------------------ warnings

    def _warnings(self) -> Iterator[PatchFinding]:
        """The compiler's warnings that a patch brings, in any config; some are taken away again."""
        places = dict.fromkeys(place for builds in self.builds.values() for place in builds)
        found: dict[tuple[_Span, str], list[str]] = {}
        for place in places:
            told = [_warned(self.builds.get(n, {}).get(place)) for n in self.numbers]
            seen = dict.fromkeys(key for one in told if one is not None for key in one)
            for key in seen:
                row = [False, *(None if one is None else key in one for one in told)]
                for span in _spans(row):
                    one = told[span.patch - 1]
                    title = one[key] if one is not None else ""
                    found.setdefault((span, title), []).append("/".join(place))
        for (span, title), where in found.items():
            yield PatchFinding(
                "warning", span.patch, self._subject(span.patch), title, span.since, span.mended,
                places=tuple(where), base_known=True,
            )  # fmt: skip

    # ------------------------------------------------------------ the table

    def _row(self, n: int, warnings: int) -> PatchRow:
        builds = self.builds.get(n, {}).values()
        cases = [placed.case for placed in self.cases.get(n, {}).values()]
        boots = [c for c in cases if (c.workload, c.case) == (BOOT, BOOT)]
        tests = [c for c in cases if c.workload not in STAGES and executed(c)]
        patch = self.whole.series[n - 1]
        return PatchRow(
            n=n,
            subject=patch.subject,
            kernel=self.names.get(n, ""),
            applies=patch.applied,
            builds=len(builds),
            built=_passed(builds),
            boots=len(boots),
            booted=_passed(boots),
            passed=_passed(tests),
            failed=sum(c.verdict is Verdict.FAIL for c in tests),
            warnings=warnings,
        )


def _order(finding: PatchFinding) -> tuple[int, int]:
    return KINDS.index(finding.kind), finding.patch


def _of_base(whole: str, comparison: Comparison | None) -> dict[str, CaseResult]:
    """What the base came to, by key, as far as it stands beside this kernel."""
    if comparison is None:
        return {}
    return {
        item.key: item.before
        for item in comparison.cases
        if item.before is not None
        and (item.after is None or CaseId.parse(item.after.id).cell.kernel == whole)
    }


def _fails(case: CaseResult | None) -> bool | None:
    """Whether a case fails; None where it was not tried, or the host kept it from it."""
    if case is None or case.verdict in (Verdict.SKIP, Verdict.ERROR):
        return None
    return case.verdict is Verdict.FAIL


def _warned(build: BuildRecord | None) -> dict[Hashable, str] | None:
    """A build's new warnings in words, by what they are; None where it was not made."""
    if build is None or build.verdict is not Verdict.PASS:
        return None
    return {(m.file, m.text): f"{m.file}:{m.line}: warning: {m.text}" for m in build.new_warnings}


def _passed(results: Iterable[CaseResult | BuildRecord]) -> int:
    return sum(result.verdict is Verdict.PASS for result in results)
