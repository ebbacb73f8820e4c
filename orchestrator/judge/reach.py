# SPDX-License-Identifier: GPL-2.0-only
"""On which architectures, configs and shapes a cause shows, and on which the same passed.  Pure.

Two cells that differ in one thing alone, of which the one fails and the other passes the same case,
say that it takes that thing.  Nothing else does: what was not tried, was skipped, or fails there
for another reason tells nothing, nor do two cells that differ in two things.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.judge.causes import Cause
from orchestrator.judge.outcome import executed
from orchestrator.model.names import BOOT, BUILD, NOT_ANY, SERIES, TROUBLE, CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult, CellRecord, Found

#: What a place is told by, in the order in which it is told.
AXES = ("architecture", "config", "shape")

#: Architecture, config and shape of a cell.
Place = tuple[str, str, str]
#: A workload and its case.
_Name = tuple[str, str]


@dataclass(frozen=True)
class Axis:
    """One of :data:`AXES`: the values with which it fails, and those with which the same passes.

    ``passing`` are only those of which a cell stands beside a failing one that is else alike;
    ``proof`` is the id of a case that passed there.  ``tried`` counts all values that were tried.
    """

    name: str
    failing: tuple[str, ...]
    passing: tuple[str, ...] = ()
    proof: str = ""
    tried: int = 1


@dataclass(frozen=True)
class Reach:
    """Where a cause shows: in ``failed`` of ``tried`` places.

    ``told`` says that the axes alone tell which of these fail.
    """

    axes: tuple[Axis, ...] = ()
    failed: int = 0
    tried: int = 0
    told: bool = True


def reach_of(run: Found, cause: Cause) -> Reach:
    """Where the cases of a cause fail, and where the very same ones pass, on the same kernel."""
    failing: dict[Place, set[_Name]] = {}
    for case in cause.cases:
        if case.workload != SERIES:
            name = (case.workload, case.case)
            failing.setdefault(_place(CaseId.parse(case.id).cell), set()).add(name)
    return _reach(run, cause.kernel, failing)


def reach_of_case(run: Found, case: str) -> Reach:
    """The same of one case of a kernel: where it fails, and where it passes."""
    known = CaseId.parse(case)
    name, kernel = (known.workload, known.case), known.cell.kernel
    bad = [
        CellId(kernel, build.config, build.arch)
        for build in run.builds
        if known.workload == BUILD and build.kernel == kernel and build.verdict is Verdict.FAIL
    ]
    bad += [
        CellId.parse(cell.id)
        for cell in run.cells
        if cell.kernel == kernel and known.workload != BUILD
        for one in cell.cases
        if (one.workload, one.case) == name and one.verdict is Verdict.FAIL
    ]
    return _reach(run, kernel, {_place(cell): {name} for cell in bad})


def _reach(run: Found, kernel: str, failing: Mapping[Place, set[_Name]]) -> Reach:
    names = {name for own in failing.values() for name in own}
    built = (BUILD, BUILD) in names
    found = _built(run, kernel) if built else _passed(run, kernel, names)
    passing = {place: own for place, own in found.items() if place not in failing}
    axes = [_axis(at, failing, passing) for at in range(len(AXES))] if failing else []
    told = all(any(place[at] in axis.passing for at, axis in enumerate(axes)) for place in passing)
    # What has no shape, as a build, has none to tell.
    applying = tuple(axis for axis in axes if axis.failing != (NOT_ANY,))
    return Reach(applying, len(failing), len(failing) + len(passing), told)


def _axis(
    at: int,
    failing: Mapping[Place, Iterable[_Name]],
    passing: Mapping[Place, Mapping[_Name, str]],
) -> Axis:
    bad = tuple(dict.fromkeys(place[at] for place in failing))
    good: dict[str, str] = {}
    for place, passed in passing.items():
        if place[at] in bad:
            continue
        for other, failed in failing.items():
            alike = place[:at] + place[at + 1 :] == other[:at] + other[at + 1 :]
            shared = next((name for name in failed if name in passed), None) if alike else None
            if shared is not None:
                good.setdefault(place[at], passed[shared])
    tried = len({place[at] for place in (*failing, *passing)})
    return Axis(AXES[at], bad, tuple(good), next(iter(good.values()), ""), tried)


def _place(cell: CellId) -> Place:
    return (cell.arch, cell.config, cell.shape)


def _built(run: Found, kernel: str) -> dict[Place, dict[_Name, str]]:
    """The builds of a kernel that came out."""
    return {
        (build.arch, build.config, NOT_ANY): {
            (BUILD, BUILD): str(CaseId.of_build(kernel, build.config, build.arch))
        }
        for build in run.builds
        if build.kernel == kernel and build.verdict is Verdict.PASS and not build.expected
    }


def _passed(run: Found, kernel: str, names: set[_Name]) -> dict[Place, dict[_Name, str]]:
    """The cells of a kernel in which some of these cases passed and none of them failed."""
    found = {}
    for cell in run.cells:
        if cell.kernel != kernel:
            continue
        own = {(case.workload, case.case): case for case in cell.cases}
        if any(name in own and own[name].verdict is Verdict.FAIL for name in names):
            continue
        good = {name: proof for name in names if (proof := _proof(name, own, cell))}
        if good:
            found[_place(CellId.parse(cell.id))] = good
    return found


def _proof(name: _Name, own: Mapping[_Name, CaseResult], cell: CellRecord) -> str:
    """The id of the case by which another one of that name would be known to pass here."""
    case = own.get(name)
    if case is not None:
        return case.id if _plain(case) else ""
    workload, wanted = name
    if wanted not in TROUBLE:
        return ""
    # It stands there only when it fails: that its workload ran is enough.
    ran = (
        one
        for one in cell.cases
        if one.workload == workload and _plain(one) and (workload == BOOT or executed(one))
    )
    return next((one.id for one in ran), "")


def _plain(case: CaseResult) -> bool:
    return case.verdict is Verdict.PASS and not case.known and not case.expected
