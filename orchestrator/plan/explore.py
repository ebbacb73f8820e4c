# SPDX-License-Identifier: GPL-2.0-only
"""What ``lab explore`` has its guests do: slices of time with their seeds, and programs.  Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.errors import UserError
from orchestrator.model.finds import FAIL, parse_program
from orchestrator.model.formats import parse_dotconfig
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Cell, ConfigSpec, LabConfig, Plan, WorkloadSpec

#: The workload of each mode.  A mode more is a line here, and a program in ``guest-tests/explore``
#: that knows the options of ``steady.c``.
MODES = {"steady": "explore/steady", "failing": "explore/failing", "racing": "explore/racing"}
#: The mode whose kernels must be able to have allocations fail.
FAILING = "failing"
#: What the case of `lab explore replay` is called.
REPLAY = "replay"
#: So long a guest explores before a fresh one takes its place (s of the guest's clock).
SLICE = 60.0
# In a slice each of the swarms may have a find, which is made smaller for a minute.
_SHRINKING = 300.0
# So many seeds lie between two slices: no slice makes as many programs.
_STRIDE = 100_000
#: A run carries out so many programs at once; steady.c takes 64.
AT_ONCE = 32
_SEEDS = 1 << 64

#: What the case of a program is called, and its lines.
Named = tuple[str, Sequence[str]]


@dataclass(frozen=True)
class Slice:
    """What one fresh guest does: a workload with its arguments; ``number`` counts from 0."""

    number: int
    spec: WorkloadSpec
    programs: int = 0


def exploring(plan: Plan, mode: str) -> Plan:
    """The plan whose cells explore in a mode, each in guests of its own.

    :raises UserError: when no cell has a guest.
    """
    name = MODES[mode]
    cells = tuple(cell for cell in plan.cells if not cell.on_host)
    if not cells or any(all(spec.name != name for spec in cell.workloads) for cell in cells):
        raise UserError(f"there is no guest that could run {name}", "see `lab plan`")
    return replace(
        plan, cells=tuple(replace(cell, fresh_guests=True) for cell in cells), time_budget=None,
        spend_budget=False,
    )  # fmt: skip


def mode_of(program: Iterable[str], mode: str) -> str:
    """The mode in which a program is carried out: where allocations fail in it, that one.

    :param mode: in which it is where nothing speaks against it.
    """
    return FAILING if any(FAIL in step.fields for step in parse_program(program)) else mode


def configs_for(mode: str, config: LabConfig, asked: Sequence[str]) -> tuple[str, ...]:
    """The configs of an exploration: what was asked for, else one that the mode can do with.

    :param asked: of the command line; empty leaves it to the profile where any config will do.
    :raises UserError: when lab.yaml has none that will do, or a fragment cannot be read.
    """
    wanted = _symbols(mode, config)
    if asked or not wanted:
        return tuple(asked)
    able = next((one.name for one in config.configs if not _missing(one, wanted)), None)
    if able is None:
        raise UserError(
            f"--mode {mode} needs a kernel with {', '.join(wanted)}, and no config of lab.yaml has "
            "them", "add a config with the fragment fault-injection (docs/configs.md)",
        )  # fmt: skip
    return (able,)


def refuse_unable(plan: Plan, mode: str, config: LabConfig) -> None:
    """See that each kernel of a plan is configured for what a mode does.

    :raises UserError: when one is not, or a fragment cannot be read.
    """
    wanted = _symbols(mode, config)
    for build in plan.builds:
        if missing := _missing(build.config, wanted):
            raise UserError(
                f"--mode {mode}: config {build.config.name} has no {', '.join(missing)}",
                "leave --config out, or name one with the fragment fault-injection",
            )


def _symbols(mode: str, config: LabConfig) -> tuple[str, ...]:
    """The Kconfig symbols that the workload of a mode needs."""
    return tuple(need for spec in config.workloads if spec.name == MODES[mode]
                 for need in spec.needs if need.startswith("CONFIG_"))  # fmt: skip


def _missing(config: ConfigSpec, symbols: Iterable[str]) -> list[str]:
    """Those of the symbols that neither a config's fragments nor its .config switch on."""
    found: dict[str, str] = {}
    for path in (*config.fragments, *([config.full] if config.full else [])):
        try:
            found |= parse_dotconfig(path.read_text("utf-8", errors="replace"))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    return [symbol for symbol in symbols if found.get(symbol.removeprefix("CONFIG_")) != "y"]


def share(seconds: float, cells: Sequence[Cell], cores: int) -> float:
    """What of the time each cell has (s): those that find no room beside each other share it."""
    cpus = max((cell.shape.cpus for cell in cells), default=1)
    at_once = max(1, min(len(cells), cores // cpus))
    return seconds * at_once / max(1, len(cells))


def slice_of(spec: WorkloadSpec, number: int, seed: int, left: float) -> Slice:
    """The slice with this number, of a cell or of several: no two draw the same programs.

    :param left: seconds of the time that are left.
    """
    begins = (seed + number * _STRIDE) % _SEEDS
    budget = round(max(1.0, min(SLICE, left)), 1)
    return Slice(
        number,
        replace(spec, seed=begins, budget=budget, timeout=max(spec.timeout, _SHRINKING)),
    )


def replaying(spec: WorkloadSpec, programs: Iterable[tuple[str, Iterable[str]]]) -> WorkloadSpec:
    """The workload that carries out programs and nothing else, once each, strictly.

    :param programs: what each one's case is called, and its lines.
    """
    words: list[str] = []
    count = 0
    for name, lines in programs:
        words += ["--program", ";".join(_bare(lines)), "--case", name]
        count += 1
    return replace(
        spec, args=tuple(words), budget=0.0, seed=None, timeout=max(spec.timeout, 5.0 * count)
    )


def as_found(spec: WorkloadSpec, case: CaseResult) -> WorkloadSpec:
    """The workload as it repeats a case: one of random programs by its very program."""
    if case.find is None or spec.name != case.workload:
        return spec
    return replaying(spec, [(case.case, case.find.program)])


def refuse_unknown(case: CaseResult) -> None:
    """See that a case can be repeated: only of what fails is the program of a replay known.

    :raises UserError: when it cannot.
    """
    replay = case.case == REPLAY and case.workload in MODES.values()
    if replay and case.find is None:
        raise UserError(f"{case.id} found nothing, and of such a program nothing is kept",
                        "`lab explore replay FILE` carries it out again")  # fmt: skip


def _bare(lines: Iterable[str]) -> list[str]:
    """Lines without comments and what is empty."""
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def chunks(programs: Sequence[Named]) -> list[Sequence[Named]]:
    """Programs in parts that one run of the workload takes."""
    count = math.ceil(len(programs) / AT_ONCE)
    return [programs[i * AT_ONCE : (i + 1) * AT_ONCE] for i in range(count)]
