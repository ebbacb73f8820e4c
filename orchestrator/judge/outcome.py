# SPDX-License-Identifier: GPL-2.0-only
"""What a case is, and what the cases of a cell and the cells of a run come to together.  Pure.

results.json keeps a series and a build as records of their own.  Who compares or reports wants one
list of cases, and wants the same one everywhere; it is made here.
"""

from __future__ import annotations

import contextlib
import itertools
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK, EXIT_USAGE
from orchestrator.model.evidence import Counter, LedgerStep
from orchestrator.model.formats import counted
from orchestrator.model.kernel import ApplyFailure
from orchestrator.model.names import (
    APPLY,
    BASE_KERNEL,
    BUILD,
    CASES,
    CELL,
    CLI_KERNEL,
    NOT_COMPILED,
    NOT_RUN,
    SERIES,
    STAGES,
    SYNTHETIC,
    CaseId,
    CellId,
    Verdict,
)
from orchestrator.model.results import (
    BuildRecord,
    CaseResult,
    CellRecord,
    Found,
    KernelRecord,
    RunResult,
    Summary,
)
from orchestrator.model.spec import STRICT
from orchestrator.model.toolchain import DEFAULT_TOOLCHAIN

# How the note of a cell begins that was not run for want of time.
BUDGET = "the time budget was spent"
#: Why a cell, or a workload of one, was not run where the run ends with ``--fail-fast``.
ENDED = "not run: ended at the first failure"
#: What of a cell was under way, or due, when SIGINT or SIGTERM came.
STOPPED = "not run: interrupted"
#: What somebody has to look at.
BAD = (Verdict.FAIL, Verdict.ERROR)


def why_not_run(cell: CellRecord) -> str:
    """Why the run left a cell out, so that nothing is known of it; empty where it did not."""
    if not cell.cases:
        for note in cell.notes:
            if note.startswith(BUDGET):
                return f"not run: {BUDGET}"
            if note == ENDED:
                return ENDED
    return ""


def not_run(cells: Iterable[CellRecord]) -> tuple[CellRecord, ...]:
    """The cells that the run's time budget or its early end left out."""
    return tuple(cell for cell in cells if why_not_run(cell))


def left_out_of(cell: CellRecord) -> tuple[str, ...]:
    """The workloads of a cell that the run's early end left out; those before it were run."""
    return tuple(case.workload for case in cell.cases if case.case == NOT_RUN)


def is_cut(cells: Iterable[CellRecord]) -> bool:
    """Whether time or an early end left a cell out, or workloads of one."""
    return any(why_not_run(cell) or left_out_of(cell) for cell in cells)


def not_run_text(cells: Iterable[CellRecord]) -> str:
    """``3 cells not run: time budget``; empty where all were run."""
    cells = tuple(cells)
    whys = [why_not_run(cell) for cell in cells]
    late = sum(why not in ("", ENDED) for why in whys)
    parts = [f"{counted(late, 'cell')} not run: time budget"] if late else []
    stopped = sum(c.case == NOT_RUN and c.reason == STOPPED for cell in cells for c in cell.cases)
    works = sum(len(left_out_of(cell)) for cell in cells) - stopped
    counts = {"workload": works, "cell": whys.count(ENDED)}
    left = " and ".join(counted(count, what) for what, count in counts.items() if count)
    parts += [f"{left} {ENDED}"] if left else []
    parts += [f"{counted(stopped, 'workload')} {STOPPED}"] if stopped else []
    return "; ".join(parts)


def is_complete(run: RunResult) -> bool:
    """Whether every cell of a run was tried: it ended, and neither time nor the host took any.

    A run without cells, which only built, is not; nor is one that had a wrong input, that ended at
    its first failure, or a search: that passes where a failure was explained.
    """
    ended = bool(run.run.finished) and run.run.exit_status in (EXIT_OK, EXIT_KERNEL)
    return ended and run.searched is None and bool(run.cells) and not is_cut(run.cells)


def executed(case: CaseResult) -> bool:
    """Whether a case is evidence that something was tested: ran, and is no synthetic one."""
    # A known failure is told as a skip, and was run.
    if case.verdict not in (Verdict.PASS, Verdict.FAIL) and not case.known:
        return False
    return bool(case.expected) or (case.workload not in STAGES and case.case not in SYNTHETIC)


def cell_verdict(cases: Iterable[CaseResult]) -> Verdict:
    """A cell's verdict: fail over error over pass over skip; a cell without a case is an error.

    A cell in which every workload skipped is a skip, however clean its kernel log; so is one that
    the run's early end cut, as far as it was clean: a part of it is no pass.
    """
    found = tuple(cases)
    verdicts = {case.verdict for case in found}
    for worst in (Verdict.FAIL, Verdict.ERROR):
        if worst in verdicts:
            return worst
    if not found:
        return Verdict.ERROR
    if any(case.case == NOT_RUN for case in found):
        return Verdict.SKIP
    if Verdict.SKIP in verdicts and not any(map(executed, found)):
        return Verdict.SKIP
    return Verdict.PASS


def exit_status(
    cells: Iterable[CellRecord],
    builds: Iterable[BuildRecord] = (),
    kernels: Iterable[KernelRecord] = (),
    *,
    regressions: int | None = None,
    interrupted: bool = False,
    usage: bool = False,
    host_problem: bool = False,
    need_cases: bool = True,
) -> int:
    """The exit status of a whole run; where several hold: 130, then 2, 3, 1.

    :param regressions: how many cases regressed, where only regressions count as the kernel's
        failure (``--fail-on regression``); None where every fail does.
    :param need_cases: False for a run that only builds.  A run in which no case was executed (no
        kernel built, where it only builds) proves nothing about the kernel: it is the kernel's
        failure where something failed, regressed or not, and the host's otherwise.
    """
    cells, builds, kernels = tuple(cells), tuple(builds), tuple(kernels)
    cases = [case for cell in cells for case in cell.cases]
    verdicts = {b.verdict for b in builds} | {c.verdict for c in cells} | {c.verdict for c in cases}
    unforeseen = any(k.failure is not None and not k.expected for k in kernels)
    failed = Verdict.FAIL in verdicts or unforeseen
    # What fails as lab.yaml expects has been tried, and no guest can come of it.
    foreseen = any(b.expected for b in builds) or any(k.expected for k in kernels)
    built = any(b.verdict is Verdict.PASS for b in builds)
    ran = foreseen or any(map(executed, cases)) or (built and not need_cases)
    if interrupted:
        return EXIT_INTERRUPTED
    if usage:
        return EXIT_USAGE
    if host_problem or Verdict.ERROR in verdicts:
        return EXIT_HOST
    if failed if regressions is None else regressions > 0:
        return EXIT_KERNEL
    if not ran:
        # Nothing regressed only because nothing was tried; that is never a success.
        return EXIT_KERNEL if failed else EXIT_HOST
    return EXIT_OK


@dataclass(frozen=True)
class PlacedCase:
    """A case and the name of the kernel that it belongs to."""

    kernel: str
    case: CaseResult

    @property
    def key(self) -> str:
        """Its id without the kernel part."""
        return CaseId.parse(self.case.id).key


def summary_of(run: Found) -> Summary:
    """How many of all cases came to which verdict: those that the reports show, and no others."""
    verdicts = [placed.case.verdict for placed in cases_of(run)]
    return Summary(
        passed=verdicts.count(Verdict.PASS),
        failed=verdicts.count(Verdict.FAIL),
        skipped=verdicts.count(Verdict.SKIP),
        # What kept a kernel from being tried at all has no case, and is an error all the same.
        errors=verdicts.count(Verdict.ERROR) or len(run.problems),
    )


def kernels_of(run: Found, *, parts: bool = False) -> tuple[str, ...]:
    """The names of the kernels that took part, in the run's order.

    :param parts: those with a part of a series (``--each-patch``) too.
    """
    run = run if parts else without_prefixes(run)
    names = [k.name for k in run.kernels]
    names += [b.kernel for b in run.builds] + [c.kernel for c in run.cells]
    return tuple(dict.fromkeys(names))


def cases_of(run: Found, kernel: str | None = None, *, parts: bool = False) -> Iterator[PlacedCase]:
    """All cases of ``run`` (of one kernel): series, then builds, then the cells' in their order.

    :param parts: those of kernels with a part of a series (``--each-patch``) too.
    """
    run = run if parts or kernel is not None else without_prefixes(run)
    for record in run.kernels:
        if kernel in (None, record.name) and (case := series_case(run, record)) is not None:
            yield PlacedCase(record.name, case)
    for build in run.builds:
        if kernel in (None, build.kernel):
            case = build_case(run, build)
            yield PlacedCase(build.kernel, case)
    for cell in run.cells:
        if kernel in (None, cell.kernel):
            for case in cell_cases(run, cell):
                yield PlacedCase(cell.kernel, case)


def cell_cases(run: Found, cell: CellRecord) -> tuple[CaseResult, ...]:
    """A cell's own cases.

    What a cell repeats of its series and build is left to those.  A cell that has no other case
    although they are good becomes one case, since missing evidence is never a pass.
    """
    place = (cell.kernel, cell.config, cell.arch)
    builds = [b for b in run.builds if (b.kernel, b.config, b.arch) == place]
    kernels = [k for k in run.kernels if k.name == cell.kernel and (k.series or k.failure)]
    told = {BUILD} if builds else set()
    told |= {SERIES} if kernels else set()
    own = tuple(c for c in cell.cases if c.workload not in told)
    explained = (
        any(b.verdict is not Verdict.PASS or b.expected for b in builds)
        or any(k.failure is not None for k in kernels)
        or any(c.verdict is not Verdict.PASS or c.expected for c in cell.cases)
    )
    if own or explained:
        return own
    verdict = Verdict.ERROR if cell.verdict is Verdict.PASS else cell.verdict
    reason = "; ".join(cell.notes) or "the cell has no case: nothing was executed in it"
    case_id = str(CaseId(CellId.parse(cell.id), CELL, CASES))
    return (CaseResult(case_id, CELL, CASES, verdict, reason),)


def series_case(run: Found, kernel: KernelRecord) -> CaseResult | None:
    """Whether the series applies, as a case; None where the kernel has no series."""
    if not kernel.series and kernel.failure is None:
        return None
    verdict, reason = Verdict.PASS, ""
    if kernel.failure is not None:
        verdict, reason = Verdict.FAIL, apply_reason(kernel.failure)
    elif any(patch.applied is not True for patch in kernel.series):
        bad = next(patch for patch in kernel.series if patch.applied is not True)
        verdict, reason = Verdict.FAIL, f"patch {bad.n} ({bad.subject}) did not apply"
    rerun = _again(run, kernel.name, *_chosen(run.command, _OF_CELLS + _OF_BUILDS))
    case_id = str(CaseId.of_series(kernel.name))
    if kernel.expected and verdict is Verdict.FAIL:
        verdict = Verdict.PASS
    case = CaseResult(
        case_id, SERIES, APPLY, verdict, reason, rerun=rerun, expected=kernel.expected
    )
    return _as_told(case, (c for c in run.cells if c.kernel == kernel.name))


def _again(run: Found, name: str, *more: str) -> str:
    """The command that runs a kernel of ``run`` once more; no lab.yaml has cli and base."""
    known = next((kernel for kernel in run.kernels if kernel.name == name), None)
    if known is not None and known.prefix_of:
        name = known.prefix_of
        more = (*more, "--each-patch=build")
    if known is None or name not in (CLI_KERNEL, BASE_KERNEL):
        return shlex.join(["lab", "run", "--kernel", name, *more])
    if known.series and not known.series_origin:
        return run.command
    series = ["--series", known.series_origin] if known.series_origin else []
    if series and known.apply != STRICT:
        series += ["--apply", known.apply]
    return shlex.join(["lab", "run", "--source", known.source, *series, *more])


# Options of a run that say what of lab.yaml it is about, and not which kernel.
_OF_BUILDS = ("--arch", "--config", "--toolchain")
_OF_CELLS = ("-p", "--profile", "--shape", "--workload")


def _chosen(command: str, options: tuple[str, ...]) -> list[str]:
    """The words of a run's command with which these options chose among what is in lab.yaml."""
    joined = tuple(name if len(name) == 2 else f"{name}=" for name in options)
    with contextlib.suppress(ValueError):
        words = shlex.split(command)
        if words[:2] in (["lab", "run"], ["lab", "build"]):
            found, rest = [], iter(words[2:])
            for word in rest:
                if word in options:
                    found += [word, *itertools.islice(rest, 1)]
                elif word.startswith(joined):
                    found.append(word)
            return found
    return []


def apply_reason(failure: ApplyFailure) -> str:
    """One sentence on why a series does not apply, its place told once."""
    place = f" at {failure.file}:{failure.line}" if failure.line else f" at {failure.file}"
    if not failure.file or (not failure.line and failure.file in failure.message):
        place = ""
    return f"patch {failure.n} ({failure.subject}) does not apply{place}: {failure.message}"


def build_case(run: Found, build: BuildRecord) -> CaseResult:
    """A build as a case, its reason made from the first compiler error where it has none."""
    reason = build.reason
    if not reason and build.errors:
        first = build.errors[0]
        reason = f"{first.file}:{first.line}: {first.text}"
    case_id = CaseId.of_build(build.kernel, build.config, build.arch)
    words = _chosen(run.command, _OF_CELLS)
    words += ["--config", build.config, "--arch", build.arch]
    if build.mismatches and not reason.startswith(NOT_COMPILED):
        words.append("--build-mismatched")
    if build.toolchain != str(DEFAULT_TOOLCHAIN):
        words += ["--toolchain", build.toolchain]
    case = CaseResult(
        id=str(case_id),
        workload=BUILD,
        case=BUILD,
        verdict=build.verdict,
        reason=reason,
        seconds=build.seconds,
        rerun=_again(run, build.kernel, *words),
        expected=build.expected,
    )
    return _as_told(case, (c for c in run.cells if CellId.parse(c.id).build == case_id.cell.build))


def _as_told(case: CaseResult, cells: Iterable[CellRecord]) -> CaseResult:
    """``case`` with what its cells know better: how to repeat it, and that it was expected."""
    for cell in cells:
        for told in cell.cases:
            if told.workload == case.workload and told.verdict is not Verdict.SKIP:
                case = replace(case, rerun=told.rerun or case.rerun)
                if told.expected:
                    return replace(case, verdict=told.verdict, expected=told.expected)
    return case


def counter_drift(counter: Counter) -> int | None:
    """Counter minus page walk, in pages, both taken at the same standstill; None without a walk."""
    if counter.walk is None or counter.at_walk is None:
        return None
    return counter.at_walk - counter.walk


def ledger_drift(step: LedgerStep) -> tuple[tuple[str, int], ...]:
    """What of a ledger step is beyond its tolerance: (counter, counter minus walk in pages)."""
    return tuple((name, have - real) for name, have, real in step.off)


def decisive(case: CaseResult) -> str:
    """The hit and the drifting counter of a failing case in one phrase; empty without either.

    A fatal hit comes before others, a clean one before a corrupted one; the first drift counts.
    Known issues are not why it fails.
    """
    parts: list[str] = []
    hits = [hit for hit in case.hits if not hit.known]
    hits = list(case.hits) if case.verdict is not Verdict.FAIL else hits
    if hits:
        hit = min(hits, key=lambda h: (not h.fatal, h.corrupted))
        more = len({h.signature for h in hits}) - 1
        parts.append(hit.title + (f" (and {more} other kinds of hit)" if more > 0 else ""))
    # The first step at which the books are wrong is the one to look at.
    step = next((step for step in case.ledger if ledger_drift(step)), None)
    if step is not None:
        drifts = " and ".join(f"{name} {drift:+d}" for name, drift in ledger_drift(step))
        parts.append(f"{drifts} pages off the page walk at step {step.step!r} (pid {step.pid})")
    elif case.verdict is Verdict.FAIL:
        off = [(c.name, drift) for c in case.counters if (drift := counter_drift(c))]
        if off:
            drifts = " and ".join(f"{name} {drift:+d}" for name, drift in off[:3])
            parts.append(f"{drifts} pages off the page walk")
    return "; ".join(parts)
