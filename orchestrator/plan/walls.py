# SPDX-License-Identifier: GPL-2.0-only
"""Read what lab.yaml says of walls: ``run_as:`` and ``build_sandbox:``."""

from __future__ import annotations

from orchestrator.model.walls import WallsSpec
from orchestrator.plan.yaml_reader import View


def read_walls(top: View) -> WallsSpec:
    """The walls; the defaults where the file says nothing.  The schema has told what is wrong."""
    return WallsSpec(
        top.text("run_as") or WallsSpec.run_as,
        top.text("build_sandbox") or WallsSpec.build_sandbox,
    )
