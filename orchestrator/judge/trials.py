# SPDX-License-Identifier: GPL-2.0-only
"""What it takes to run a case of an earlier run again, and what the trials come to.  Pure.

A *subject* is one kernel in the guest that the case had.  Where the kernel has a series there are
two: its base comes first, since only the two together tell whether the series is to blame.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from orchestrator.judge.cases import BUILD, SERIES, cases_of
from orchestrator.judge.outcome import STAGES, executed
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.values import (
    CaseResult,
    Cell,
    KernelRecord,
    KernelSpec,
    LabConfig,
    Plan,
    RunResult,
    ShapeSpec,
    Verdict,
)
from orchestrator.plan.budget import as_ran
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.selftests import named

# What the base is called where lab.yaml has no kernel of that source.
BASE = "base"


@dataclass(frozen=True)
class Subject:
    """A kernel that the case is run on: ``cell`` is the guest with the workloads to run.

    ``image_sha256`` is the image that the earlier run booted, empty where it booted none of this
    kernel or another one is asked for; ``record`` is that run's record of the kernel.
    ``command`` is the QEMU command line of the earlier run.
    """

    cell: Cell
    is_base: bool = False
    image_sha256: str = ""
    record: KernelRecord | None = None
    command: str = ""


@dataclass(frozen=True)
class Repeat:
    """All it takes: ``subjects``, base first; ``boots`` is False where the case is a build's.

    ``plan`` is a run's of just these, with what lab.yaml expects and knows.
    """

    case: CaseResult
    subjects: tuple[Subject, ...]
    plan: Plan
    boots: bool

    @property
    def tested(self) -> Subject:
        """The kernel under test."""
        return self.subjects[-1]

    @property
    def base(self) -> Subject | None:
        """The kernel that tells whether the series is to blame."""
        return self.subjects[0] if self.subjects[0].is_base else None


# ---------------------------------------------------------------- what to run


def find_case(earlier: RunResult, case_id: str) -> CaseResult:
    """The case of a run that is called so.

    :raises UserError: when there is none, with the nearest name.
    """
    cases = [placed.case for placed in cases_of(earlier)]
    for case in cases:
        if case.id == case_id:
            return case
    near = difflib.get_close_matches(case_id, [case.id for case in cases], 1, 0.5)
    raise UserError(
        f"run {earlier.run.id} has no case {case_id!r}",
        f"did you mean {near[0]!r}?" if near else "its cases are in results.json",
    )


def place_of(case: CaseResult) -> tuple[str, str, str, str]:
    """Kernel, config, architecture and shape of a case; ``-`` where it has none."""
    parts = [*case.id.split(":", 1)[0].split("/"), "-", "-", "-", "-"]
    return parts[0], parts[1], parts[2], parts[3]


def make_repeat(
    config: LabConfig,
    earlier: RunResult,
    case: CaseResult,
    *,
    on: str | None = None,
    shape: ShapeSpec | None = None,
    with_base: bool = True,
) -> Repeat:
    """Work out the kernels and the guest.

    :param on: the name of a kernel of lab.yaml to take instead of the case's own.
    :param shape: the guest's shape as that run had it; None: as lab.yaml has it now.
    :raises UserError: when lab.yaml no longer has what it takes.
    """
    kernel, config_name, arch, shape_name = place_of(case)
    record = next((entry for entry in earlier.kernels if entry.name == kernel), None)
    workloads = _workloads(config, earlier, case)
    defined = {entry.name for entry in config.shapes}
    selection = Selection(
        arches=() if arch == "-" else (arch,),
        configs=() if config_name == "-" else (config_name,),
        shapes=(shape_name,) if shape is None and shape_name != "-" else (),
        workloads=workloads,
    )
    if shape is not None and shape.name in defined:
        selection = replace(selection, shapes=(shape.name,))
    known = any(entry.name == kernel for entry in config.kernels)
    if on is not None:
        selection = replace(selection, kernels=(on,))
    elif known:
        selection = replace(selection, kernels=(kernel,))
    elif record is not None:
        selection = replace(selection, source=record.source, series=record.series_origin or None)
    else:
        raise UserError(
            f"lab.yaml has no kernel {kernel!r}, and run {earlier.run.id} does not tell its source",
            "name another kernel with --on",
        )
    plan = make_plan(config, selection, tuple(ARCHES))
    place = case.id.split(":", 1)[0]
    loops = (loop for ran in earlier.cells if ran.id == place for loop in ran.loops)
    cell = as_ran(plan.cells[0], loops)
    if shape is not None:
        cell = replace(cell, shape=shape)
    if on is None:
        cell = _on(cell, _as_run(cell.build.kernel, kernel, record))
        tested = _told(Subject(cell, record=record), earlier)
    else:
        tested = Subject(cell)
    with_base &= case.workload != SERIES  # a base has none
    base = _base(config, earlier, tested) if with_base else None
    subjects = (tested,) if base is None else (base, tested)
    cells = tuple(subject.cell for subject in subjects)
    again = replace(
        plan,
        builds=tuple(dict.fromkeys(cell.build for cell in cells)),
        cells=cells,
        baseline=base.cell.build.kernel.name if base else None,
        time_budget=None,
        spend_budget=False,
    )
    return Repeat(case, subjects, again, boots=case.workload not in (BUILD, SERIES))


def _workloads(config: LabConfig, earlier: RunResult, case: CaseResult) -> tuple[str, ...]:
    """The case's workload; of a case of boot or config all that the cell ran."""
    known = {spec.name for spec in config.workloads}
    if case.workload in known or named(case.workload, config.workloads) is not None:
        return (case.workload,)
    if case.workload not in STAGES:
        raise UserError(
            f"there is no workload {case.workload!r} any more", "`lab list` shows those there are"
        )
    place = case.id.split(":", 1)[0]
    ran = (c.workload for cell in earlier.cells if cell.id == place for c in cell.cases)
    return tuple(dict.fromkeys(n for n in ran if n in known or named(n, config.workloads)))


def _as_run(spec: KernelSpec, name: str, record: KernelRecord | None) -> KernelSpec:
    """The kernel as the run had it, whatever lab.yaml makes of its name now."""
    if record is None:
        return replace(spec, name=name)
    series = record.series_origin or None
    return replace(spec, name=name, source=record.source, series=series)


def _on(cell: Cell, kernel: KernelSpec) -> Cell:
    """The same guest with another kernel."""
    old = cell.build
    build = replace(old, id=f"{kernel.name}/{old.config.name}/{old.arch}", kernel=kernel)
    return replace(cell, id=f"{build.id}/{cell.shape.name}", build=build)


def _told(subject: Subject, earlier: RunResult) -> Subject:
    """A subject with what the earlier run tells of it."""
    cell = subject.cell
    shas = (b.image_sha256 for b in earlier.builds if b.id == cell.build.id)
    commands = (c.qemu_command for c in earlier.cells if c.id == cell.id)
    return replace(subject, image_sha256=next(shas, ""), command=next(commands, ""))


def _base(config: LabConfig, earlier: RunResult, tested: Subject) -> Subject | None:
    """The kernel without the series; else the kernel that the run compared with; else none."""
    kernel = tested.cell.build.kernel
    if kernel.series is None:
        record = next((k for k in earlier.kernels if k.name == earlier.run.baseline), None)
        if record is None or record.name == kernel.name or tested.record is None:
            return None
    else:
        record = next(
            (k for k in earlier.kernels if k.source == kernel.source and not k.series), None
        )
    plain = [k for k in config.kernels if k.series is None]
    if record is not None:
        like = next((k for k in plain if k.name == record.name), KernelSpec(record.name, ""))
        series = record.series_origin or None
        spec = replace(like, source=record.source, series=series)
    else:
        bare = kernel.source.partition("=")[0]
        sources = (kernel.source, bare) if kernel.source.startswith("debian:") else (kernel.source,)
        like = next((k for k in plain if k.source in sources), KernelSpec(BASE, ""))
        spec = replace(like, source=kernel.source)
    if spec.name == kernel.name:
        spec = replace(spec, name=BASE)
    return _told(Subject(_on(tested.cell, spec), is_base=True, record=record), earlier)


# ---------------------------------------------------------------- what the trials come to


class Shown(str, Enum):
    """What a trial showed of the case."""

    AGAIN = "fails again"
    OTHERWISE = "fails in another case"
    NO = "does not fail"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Trial:
    """One run of one subject; ``reason`` is one line on what failed or why nothing is known."""

    subject: Subject
    shown: Shown
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether the kernel failed."""
        return self.shown in (Shown.AGAIN, Shown.OTHERWISE)


def judge_trial(case: CaseResult, subject: Subject, found: Iterable[CaseResult]) -> Trial:
    """What the cases of a trial say of the case that is run again.

    A case that stands there only when it fails (``hang``, ``exit-status``) is missing when it does
    not; so what ran and passed is enough for "does not fail".
    """
    cases = tuple(found)
    failed = [c for c in cases if c.verdict is Verdict.FAIL]
    # A known issue is told as a skip, and is the same failure again.
    own = [c for c in cases if (c.workload, c.case) == (case.workload, case.case)]
    same = [c for c in own if c.verdict is Verdict.FAIL or c.known]
    if same:
        return Trial(subject, Shown.AGAIN, _line(same[0]))
    if failed:
        first = failed[0]
        return Trial(subject, Shown.OTHERWISE, f"{first.workload}:{first.case}: {_line(first)}")
    wrong = [c for c in cases if c.verdict is Verdict.ERROR]
    if wrong:
        return Trial(subject, Shown.UNKNOWN, _line(wrong[0]))
    staged = case.workload in STAGES
    if any(c.verdict is Verdict.PASS if staged else executed(c) for c in cases if not c.known):
        return Trial(subject, Shown.NO)
    skipped = next((c for c in cases if c.verdict is Verdict.SKIP), None)
    return Trial(subject, Shown.UNKNOWN, _line(skipped) if skipped else "no case was executed")


def _line(case: CaseResult) -> str:
    return case.reason.partition("\n")[0] or case.verdict.value


def answer(repeat: Repeat, trials: Iterable[Trial]) -> str:
    """One sentence: whether it failed again, and whether the series is to blame."""
    every = tuple(trials)
    tested = _worst(t for t in every if not t.subject.is_base)
    base = _worst(t for t in every if t.subject.is_base)
    if tested is None:
        return "nothing was tried" if base is None else f"only the base was tried: {_saying(base)}"
    counts = _counts(every)
    if tested.shown is Shown.UNKNOWN:
        return f"not known whether it fails again: {tested.reason}{counts}"
    series = repeat.tested.cell.build.kernel.series is not None
    name = repeat.base.cell.build.kernel.name if repeat.base else ""
    if not tested.failed:
        told = "did not fail again"
        if base is not None and base.failed:
            what = "not the series" if series else "not what differs"
            told += f", but fails on {name}, the base: {what}"
        return told + counts
    how = "fails" if tested.shown is Shown.AGAIN else "fails in another case"
    if base is None:
        return f"{how} again{counts}" if tested.shown is Shown.AGAIN else f"{how}{counts}"
    if base.shown is Shown.UNKNOWN:
        return f"{how} again; nothing is known of the base {name}: {base.reason}{counts}"
    if not base.failed:
        if series:
            return f"{how} with the series and not without it: the series is to blame{counts}"
        return f"{how} here and not on {name}: what differs between them is to blame{counts}"
    if base.shown is tested.shown:
        return f"fails on the base too: not the series{counts}" if series else (
            f"fails on {name} too: not what differs between them{counts}"
        )  # fmt: skip
    return f"{how}; the base {name} fails too, but otherwise ({base.reason}){counts}"


def _worst(trials: Iterable[Trial]) -> Trial | None:
    order = (Shown.AGAIN, Shown.OTHERWISE, Shown.UNKNOWN, Shown.NO)
    return min(trials, key=lambda trial: order.index(trial.shown), default=None)


def _saying(trial: Trial) -> str:
    return trial.shown.value + (f" ({trial.reason})" if trial.reason else "")


def _counts(trials: tuple[Trial, ...]) -> str:
    """``; 1 of 7 trials failed, 0 of 7 on the base``; empty where each kernel had one trial."""
    tested = [t for t in trials if not t.subject.is_base]
    base = [t for t in trials if t.subject.is_base]
    if len(tested) < 2:
        return ""
    told = f"; {sum(t.failed for t in tested)} of {len(tested)} trials failed"
    return told + (f", {sum(t.failed for t in base)} of {len(base)} on the base" if base else "")


# ---------------------------------------------------------------- the same guest


def command_difference(before: str, after: str) -> str:
    """What differs between two QEMU command lines of a cell; empty where nothing does.

    Folders are left out: where the files of a guest lie is no part of it.  The root's name holds
    what it was made from.
    """
    old, new = _words(before), _words(after)
    if not old or old == new:
        return ""
    gone = [word for word in old if word not in new]
    come = [word for word in new if word not in old]
    told = [f"-{word}" for word in gone] + [f"+{word}" for word in come]
    return " ".join(told) or "the order of its words"


def _words(command: str) -> list[str]:
    try:
        split = shlex.split(command)
    except ValueError:
        return command.split()
    words: list[str] = []
    for word in split:
        name = re.sub(r"(^|[=:])/(?:[^,]|,,)*/", r"\1", word)
        name = re.sub(r"logfile=console(-\d+)?\.log", "logfile=console.log", name)
        # The kernel's words one by one, so that one boot argument is told and not all.
        words += name.split(" ") if "console=" in name and " " in name else [name]
    return words
