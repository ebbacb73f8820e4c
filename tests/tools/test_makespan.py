# SPDX-License-Identifier: GPL-2.0-only
"""A run played through on more cores than there are."""

from __future__ import annotations

import pytest
from makespan import makespan

from orchestrator import HOME
from orchestrator.model.arch import ARCHES
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan

PLAN = make_plan(
    load_config(HOME / "lab.yaml", tuple(ARCHES)),
    Selection(kernels=("v6.12",), configs=("default", "no-thp"), workloads=("uffd-move/basic",)),
    tuple(ARCHES),
)
CELLS = {cell.id: 100.0 for cell in PLAN.cells}


def test_guests_that_fit_beside_each_other_run_so() -> None:
    assert [cell.shape.cpus for cell in PLAN.cells] == [2, 2, 2, 2]
    assert makespan(PLAN, CELLS, {}, cores=2) == 400
    assert makespan(PLAN, CELLS, {}, cores=4) == 200
    assert makespan(PLAN, CELLS, {}, cores=16) == 100


def test_a_build_takes_the_cores_it_is_given_and_its_cells_wait_for_it() -> None:
    builds = {PLAN.builds[0].id: 240.0}
    assert makespan(PLAN, CELLS, builds, cores=2) == 120 + 400
    # Its build has 12 cores, once the guests of the other builds are through.
    assert makespan(PLAN, CELLS, builds, cores=16) == pytest.approx(220)
