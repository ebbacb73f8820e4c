# SPDX-License-Identifier: GPL-2.0-only
"""What the cases of a cell, and the cells of a run, come to together."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK, EXIT_USAGE
from orchestrator.model.values import BuildRecord, CaseResult, CellRecord, KernelRecord, Verdict

# What a workload had not done when a known issue took its guest.
UNFINISHED = "unfinished"
# Cases that say how a workload ran and not what it tested: alone they are no evidence of a test.
SYNTHETIC = frozenset(
    {"kernel-log", "counters", "hang", "exit-status", "guest", "reset", "ktap", "host", "expect"}
    | {UNFINISHED}
)
# Pseudo-workloads of cases that the lab makes itself.
STAGES = frozenset({"series", "build", "boot", "config", "kernel", "cell"})


# How the note of a cell begins that was not run for want of time.
BUDGET = "the time budget was spent"


def not_run(cells: Iterable[CellRecord]) -> tuple[CellRecord, ...]:
    """The cells that the run's time budget left out: nothing is known of them."""
    return tuple(
        cell
        for cell in cells
        if not cell.cases and any(note.startswith(BUDGET) for note in cell.notes)
    )


def not_run_text(cells: Iterable[CellRecord]) -> str:
    """``3 cells not run: time budget``; empty where all were run."""
    left = len(not_run(cells))
    return f"{left} {'cell' if left == 1 else 'cells'} not run: time budget" if left else ""


def executed(case: CaseResult) -> bool:
    """Whether a case is evidence that something was tested: ran, and is no synthetic one."""
    # A known failure is told as a skip, and was run.
    if case.verdict not in (Verdict.PASS, Verdict.FAIL) and not case.known:
        return False
    return bool(case.expected) or (case.workload not in STAGES and case.case not in SYNTHETIC)


def cell_verdict(cases: Iterable[CaseResult]) -> Verdict:
    """A cell's verdict: fail over error over pass over skip; a cell without a case is an error.

    A cell in which every workload skipped is a skip, however clean its kernel log.
    """
    found = tuple(cases)
    verdicts = {case.verdict for case in found}
    for worst in (Verdict.FAIL, Verdict.ERROR):
        if worst in verdicts:
            return worst
    if not found:
        return Verdict.ERROR
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
    cells, builds = tuple(cells), tuple(builds)
    verdicts = [b.verdict for b in builds] + [c.verdict for c in cells]
    verdicts += [case.verdict for cell in cells for case in cell.cases]
    kernels = tuple(kernels)
    failed = Verdict.FAIL in verdicts
    failed |= any(k.failure is not None and not k.expected for k in kernels)
    ran = any(executed(case) for cell in cells for case in cell.cases)
    # What fails as lab.yaml expects has been tried, and no guest can come of it.
    ran |= any(b.expected for b in builds) or any(k.expected for k in kernels)
    ran |= not need_cases and any(b.verdict is Verdict.PASS for b in builds)
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
