# SPDX-License-Identifier: GPL-2.0-only
"""What a rerun repeats: the plan of one case, its base, and the very kernel that the run had.

lab.yaml, the sources and the compiler may say something else by then.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import replace
from pathlib import Path

from orchestrator.judge.trials import Repeat, Subject
from orchestrator.kernel.build.kept import find_image
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import LabError, UserError
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import (
    BASE_KERNEL,
    BUILD,
    CLI_KERNEL,
    NOT_ANY,
    SERIES,
    STAGES,
    CaseId,
    CellId,
)
from orchestrator.model.results import CaseResult, KernelRecord, RunResult
from orchestrator.model.spec import Cell, KernelSpec, LabConfig, ShapeSpec
from orchestrator.model.toolchain import Toolchain
from orchestrator.plan.budget import as_ran
from orchestrator.plan.explore import as_found, refuse_unknown
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.plan.selftests import named
from orchestrator.runner.context import TESTED, Context, Event, Kernel
from orchestrator.runner.rebuilt import what_differs
from orchestrator.runner.stages import Stages


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
    refuse_unknown(case)
    place = CaseId.parse(case.id).cell
    kernel, config_name, arch, shape_name = place.parts
    record = next((entry for entry in earlier.kernels if entry.name == kernel), None)
    workloads = _workloads(config, earlier, case)
    defined = {entry.name for entry in config.shapes}
    selection = Selection(
        arches=() if arch == NOT_ANY else (arch,),
        configs=() if config_name == NOT_ANY else (config_name,),
        shapes=(shape_name,) if shape is None and shape_name != NOT_ANY else (),
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
        series = record.series_origin or None
        apply = record.apply if series else None
        selection = replace(selection, source=record.source, series=series, apply=apply)
    else:
        raise UserError(
            f"lab.yaml has no kernel {kernel!r}, and run {earlier.run.id} does not tell its source",
            "name another kernel with --on",
        )
    plan = make_plan(config, selection, tuple(ARCHES))
    loops = (loop for ran in earlier.cells if ran.id == str(place) for loop in ran.loops)
    cell = as_ran(plan.cells[0], loops)
    # Of random programs the very program, whatever its seed would make by now.
    cell = replace(cell, workloads=tuple(as_found(spec, case) for spec in cell.workloads))
    if shape is not None:
        cell = replace(cell, shape=shape)
    if not workloads and record is not None and record.patches:
        cell = replace(cell, workloads=())  # it was there to see that it boots
    built = next((one for one in earlier.builds if one.id == place.build), None)
    if built is not None:
        config_spec = cell.build.config
        with contextlib.suppress(ValueError):  # a later lab may know more of them
            config_spec = replace(config_spec, toolchain=Toolchain.parse(built.toolchain))
        if built.image_sha256:  # whatever its symbols came to
            config_spec = replace(config_spec, build_mismatched=True)
        cell = replace(cell, build=replace(cell.build, config=config_spec))
    if on is None:
        cell = _on(cell, _as_run(cell.build.kernel, kernel, record, _asked_base(earlier, kernel)))
        tested = told(Subject(cell, record=record), earlier)
    else:
        tested = Subject(cell)
    with_base &= case.workload != SERIES  # a base has none
    base = _base(config, earlier, tested) if with_base else None
    subjects = (tested,) if base is None else (base, tested)
    cells = tuple(subject.cell for subject in subjects)
    again = replace(
        plan,
        builds=tuple(dict.fromkeys(cell.build for cell in cells if not cell.on_host)),
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
    place = str(CaseId.parse(case.id).cell)
    ran = (c.workload for cell in earlier.cells if cell.id == place for c in cell.cases)
    return tuple(dict.fromkeys(n for n in ran if n in known or named(n, config.workloads)))


def _as_run(spec: KernelSpec, name: str, record: KernelRecord | None, base: str = "") -> KernelSpec:
    """The kernel as the run had it, whatever lab.yaml makes of its name now.

    :param base: the source that the run set it beside.
    """
    if record is None:
        return replace(spec, name=name)
    series = record.series_origin or None
    return replace(
        spec, name=name, source=record.source, series=series, base=base, apply=record.apply,
        patches=record.patches,
    )  # fmt: skip


def _asked_base(earlier: RunResult, name: str) -> str:
    """The source of ``--base``, by which the run's own kernel was told; else nothing."""
    known = {k.name: k.source for k in earlier.kernels} if name == CLI_KERNEL else {}
    return known.get(BASE_KERNEL, "") if earlier.run.baseline == BASE_KERNEL else ""


def _on(cell: Cell, kernel: KernelSpec) -> Cell:
    """The same guest with another kernel."""
    old = cell.build
    build = replace(old, id=CellId(kernel.name, old.config.name, old.arch).build, kernel=kernel)
    return replace(cell, id=f"{build.id}/{cell.shape.name}", build=build)


def told(subject: Subject, earlier: RunResult) -> Subject:
    """A subject with what the earlier run tells of it."""
    cell = subject.cell
    built = next((b for b in earlier.builds if b.id == cell.build.id), None)
    commands = (c.qemu_command for c in earlier.cells if c.id == cell.id)
    return replace(
        subject, image_sha256=built.image_sha256 if built else "", command=next(commands, ""),
        built=built,
    )  # fmt: skip


def _base(config: LabConfig, earlier: RunResult, tested: Subject) -> Subject | None:
    """The kernel without the series; else the kernel that the run compared with; else none."""
    kernel = tested.cell.build.kernel
    if kernel.series is None or kernel.base:
        record = next((k for k in earlier.kernels if k.name == earlier.run.baseline), None)
        if tested.record is None or (record is not None and record.name == kernel.name):
            return None
        if record is None:
            source = _nearest(tested.record)
            if not source:
                return None
            kernel = replace(kernel, source=source)
    else:
        record = next(
            (k for k in earlier.kernels if k.source == kernel.source and not k.series), None
        )
    plain = [k for k in config.kernels if k.series is None]
    if record is not None:
        like = next((k for k in plain if k.name == record.name), KernelSpec(record.name, ""))
        series = record.series_origin or None
        spec = replace(like, source=record.source, series=series, apply=record.apply)
    else:
        bare = kernel.source.partition("=")[0]
        sources = (kernel.source, bare) if kernel.source.startswith("debian:") else (kernel.source,)
        like = next((k for k in plain if k.source in sources), KernelSpec(BASE_KERNEL, ""))
        spec = replace(like, source=kernel.source)
    if spec.name == kernel.name:
        spec = replace(spec, name=BASE_KERNEL)
    return told(Subject(_on(tested.cell, spec), is_base=True, record=record), earlier)


def _nearest(record: KernelRecord) -> str:
    """The source of the known kernel that a tree was told by; empty where it is no other."""
    beside = record.tested.difference
    return beside.source if beside is not None and beside.near and beside.count else ""


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


def same_kernel(
    subject: Subject, old: Path, context: Context, stages: Stages
) -> tuple[Kernel, BuildResult | None, str]:
    """The kernel that the earlier run booted: the kept image, or one built anew where that is gone.

    Gives the kernel, its build (None where the series does not apply), and a note where the image
    is another one than that of the run.

    :param old: the earlier run's folder.
    :raises LabError: when it can neither be found nor built.
    """
    build = subject.cell.build
    kept = find_image(build, subject.image_sha256, context.cache)
    if kept is not None and subject.record is not None:
        return _kept_kernel(subject.record, kept, old, context, stages)
    kernel = stages.prepare(build.kernel, context)
    if kernel.tree.failure is not None:
        return kernel, None, ""
    built = stages.build(build, kernel, context)
    note = ""
    if subject.image_sha256 and built.image_sha256 not in ("", subject.image_sha256):
        note = (
            f"{build.id} is not the image of {old.name}: that one is no longer in the cache, and "
            f"what was built now differs ({built.image_sha256[:12]}, "
            f"not {subject.image_sha256[:12]})"
        )
        if subject.built is not None:
            sources = subject.record.tree if subject.record is not None else ""
            note += f" by {what_differs(subject.built, old, sources, built, kernel.tree.tree)}"
    return kernel, built, note


def _kept_kernel(
    known: KernelRecord, kept: BuildResult, old: Path, context: Context, stages: Stages
) -> tuple[Kernel, BuildResult, str]:
    """The kernel of a kept image; what its tree is now is told only if the image was made of it."""
    spec = kept.build.kernel
    tree = KernelTree(spec, known.version, "", "", known.series, known.series_digest)
    told: list[Event] = []

    def hear(event: Event) -> None:
        if event.stage == TESTED:
            told.append(event)
        else:
            context.listener(event)

    try:
        kernel = stages.prepare(spec, replace(context, listener=hear))
    except (LabError, OSError):
        kernel = Kernel(tree, "", known.source)  # gone or changed meanwhile
    if kernel.tree.series_digest != known.series_digest:
        kernel = Kernel(tree, kernel.slot, known.source)
    kernel = replace(kernel, exact=_made(kernel, kept, context, stages))
    note = ""
    if not kernel.exact:
        kernel = replace(
            kernel, tree=replace(kernel.tree, version=known.version, tested=known.tested)
        )
        told = [Event("kernel", spec.name, TESTED, known.tested.sentence)]
        note = kernel.slot and (
            f"the sources of {spec.name} are not what they were in {old.name}, whose image this "
            "is: `lab run` tests them as they are now"
        )
    for event in told if known.tested.sentence else ():
        context.listener(event)
    return kernel, kept, note


def _made(kernel: Kernel, kept: BuildResult, context: Context, stages: Stages) -> bool:
    """Whether a kept image was built of a kernel's sources as they are now."""
    if kernel.tree.failure is not None or not kernel.tree.tree:
        return False
    with contextlib.suppress(LabError, OSError):
        found = stages.find(kept.build, kernel, context)
        return found is not None and found.image_sha256 == kept.image_sha256
    return False
