# SPDX-License-Identifier: GPL-2.0-only
"""Where a cause shows, in words.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.judge.reach import Axis, Reach
from orchestrator.model.formats import listed

# Values of an axis that are named; of more their number is told.
_NAMED = 3


def where(found: Reach, unit: str) -> Iterator[tuple[str, str]]:
    """On which architectures, configs and shapes: phrases, each with the id of what proves it.

    That is the case that passed elsewhere, or empty.  Of what was not tried nothing is claimed.

    :param unit: what was tried: a ``cell``, a ``build``.
    """
    if found.tried == 1:
        arch, config, *shape = (axis.failing[0] for axis in found.axes)
        yield f"tried in {'/'.join((config, arch, *shape))} only", ""
        return
    for axis in found.axes:
        text = _axis_text(axis)
        if text:
            yield text, axis.proof
    if not found.told:
        yield f"in {found.failed} of {found.tried} {unit}s that were tried", ""
    for axis in found.axes[:1]:
        if axis.tried == 1:
            yield f"tried on {axis.failing[0]} only", ""


_IN = {
    "architecture": ("on ", "on ", "architectures"),
    "config": ("with config ", "with configs ", "configs"),
    "shape": ("in shape ", "in shapes ", "shapes"),
}


def _axis_text(axis: Axis) -> str:
    one, several, plural = _IN[axis.name]
    count = len(axis.failing)
    inside = "on" if axis.name == "architecture" else "in"
    named = f"{one if count == 1 else several}{listed(axis.failing)}"
    if axis.passing and count + len(axis.passing) < axis.tried:
        return f"{named} and not {one}{listed(axis.passing)}"  # of the others nothing is known
    if axis.passing:
        return f"only {named if count <= _NAMED else f'{inside} {count} of {axis.tried} {plural}'}"
    if count < 2 or count < axis.tried:
        return ""
    every = f"both {plural}" if count == 2 else f"all {count} {plural}"
    return f"{inside} {every}"
