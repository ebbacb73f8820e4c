# SPDX-License-Identifier: GPL-2.0-only
"""What runs first: whatever is most likely to fail, since the first failure is waited for.  Pure.

First comes what failed in its last run here, then what did so elsewhere, then what runs the code
that the series touches, then what failed most often; then what no run has tried yet, and the rest
by how soon it is over.  What is equal stays as it was.  Only the order comes of it: results and
reports keep the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import IntEnum

from orchestrator.model.formats import counted
from orchestrator.model.names import BOOT, BUILD, CONFIG, NOT_ANY, CellId
from orchestrator.model.signs import Signs, Turn
from orchestrator.model.spec import Cell, Plan, WorkloadSpec

#: Signs by ``CONFIG/ARCH/SHAPE`` and the workload's name, the lab's own among them.
Known = Mapping[tuple[str, str], Signs]
# Of what no run has tried.
_NEVER = Signs()


class _Kind(IntEnum):
    """What speaks for a failure, the strongest first."""

    FAILED = 0
    FAILED_ELSEWHERE = 1
    TOUCHES = 2
    FAILED_BEFORE = 3
    NOTHING = 4


# ---------------------------------------------------------------- what is known


def with_signs(plan: Plan, known: Known) -> Plan:
    """The plan, each of its cells with what is known of its workloads.

    Also of the programs of its selftests, which become workloads only when the tree was looked at.
    """
    by_place: dict[str, dict[str, Signs]] = {}
    for (place, name), signs in known.items():
        by_place.setdefault(place, {})[name] = signs
    return replace(plan, cells=tuple(_with(cell, by_place) for cell in plan.cells))


def _with(cell: Cell, known: Mapping[str, Mapping[str, Signs]]) -> Cell:
    place = CellId.parse(cell.id)
    names = {BOOT, CONFIG, *(spec.name for spec in cell.workloads)}
    bases = tuple(f"{spec.name}/" for spec in cell.workloads if spec.selftests is not None)
    found = {
        name: signs
        for name, signs in known.get(place.place, {}).items()
        if name in names or name.startswith(bases)
    }
    of_build = known.get(replace(place, shape=NOT_ANY).place, {})
    if BUILD in of_build:
        found[BUILD] = of_build[BUILD]
    return replace(cell, signs=tuple(sorted(found.items(), key=lambda item: item[0])))


# ---------------------------------------------------------------- within a cell


def workload_turns(cell: Cell) -> tuple[Turn, ...]:
    """A cell's workloads in the order in which they run; where nothing is known, as they were."""
    known = dict(cell.signs)
    if not known:
        return tuple(Turn(spec.name) for spec in cell.workloads)

    def rank(number: int) -> tuple[int, int, bool, float, int]:
        spec = cell.workloads[number]
        signs = known.get(spec.name, _NEVER)
        # A loop takes its time whether it was ever run or not.
        seconds = signs.seconds if signs.seconds is not None else spec.budget or math.inf
        tried = bool(signs.runs or spec.budget)
        return _kind(signs), -signs.found, tried, seconds, number

    order = sorted(range(len(cell.workloads)), key=rank)
    names = [cell.workloads[number].name for number in order]
    return tuple(Turn(name, _why(known.get(name, _NEVER))) for name in names)


def in_turn(cell: Cell, workloads: Iterable[WorkloadSpec]) -> list[WorkloadSpec]:
    """Workloads of a cell, with whatever a run gives them besides, in the order of its turns.

    Without those that an earlier part of the run has done.
    """
    order = {turn.name: number for number, turn in enumerate(workload_turns(cell))}
    left = (spec for spec in workloads if spec.name not in cell.done)
    return sorted(left, key=lambda spec: order[spec.name])


def _kind(signs: Signs) -> _Kind:
    if signs.failed:
        return _Kind.FAILED
    if signs.failed_at:
        return _Kind.FAILED_ELSEWHERE
    if signs.touches:
        return _Kind.TOUCHES
    return _Kind.FAILED_BEFORE if signs.found else _Kind.NOTHING


def _why(signs: Signs) -> str:
    """Why it is before others, in words; empty where nothing speaks for its failing."""
    match _kind(signs):
        case _Kind.FAILED:
            return "failed in its last run"
        case _Kind.FAILED_ELSEWHERE:
            return f"failed in its last run in {signs.failed_at}"
        case _Kind.TOUCHES:
            more = f" and {len(signs.touches) - 1} more" if len(signs.touches) > 1 else ""
            return f"runs {signs.touches[0]}{more}, which the series touches"
        case _Kind.FAILED_BEFORE:
            return f"failed in {signs.found} of {counted(signs.runs, 'run')} of any kernel"
    return ""


# ---------------------------------------------------------------- cells


def with_turns(plan: Plan, *, base_beside: bool = False) -> Plan:
    """The plan with the order of its cells, by what is likeliest to fail in each.

    A baseline's cells come after all that are compared with them, and the parts of a series after
    the whole.  Where nothing speaks for another one, the cells of a build stay where their build
    is, since that begins with what the one before it compiled; among them the quicker are first.

    :param base_beside: a baseline's cell right behind its counterpart, so that a failure is known
        to be new as soon as can be.
    """
    places: dict[str, int] = {}
    for number, cell in enumerate(plan.cells):
        places.setdefault(cell.build.id, number)
    whys: dict[str, str] = {}
    ranks: dict[str, tuple[bool, int, int, int, float, int]] = {}
    for number, cell in enumerate(plan.cells):
        signs = min((one for _, one in cell.signs), key=_strength, default=_NEVER)
        whys[cell.id] = _why(signs)
        part = bool(cell.build.kernel.prefix_of)
        ranks[cell.id] = (part, *_strength(signs), places[cell.build.id], _seconds(cell), number)

    def rank(cell: Cell) -> tuple[bool, tuple[object, ...], bool]:
        base = cell.build.kernel.name == plan.baseline
        if base and base_beside:
            twins = [r for name, r in ranks.items() if _is_twin(name, cell.id)]
            return False, min(twins, default=ranks[cell.id]), True
        return base, ranks[cell.id], False

    ordered = sorted(plan.cells, key=rank)
    return replace(plan, turns=tuple(Turn(cell.id, whys[cell.id]) for cell in ordered))


def _is_twin(cell: str, base: str) -> bool:
    """Whether two cells differ in their kernels alone."""
    return cell != base and CellId.parse(cell).place == CellId.parse(base).place


def _strength(signs: Signs) -> tuple[int, int]:
    return _kind(signs), -signs.found


def _seconds(cell: Cell) -> float:
    """What its workloads take together (s); infinite where that is not known of each."""
    known = dict(cell.signs)
    took = [known.get(spec.name, _NEVER).seconds for spec in cell.workloads]
    return sum(math.inf if one is None else one for one in took)
