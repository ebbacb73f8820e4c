# SPDX-License-Identifier: GPL-2.0-only
"""Plan very many cells and say what that takes (CPU seconds): ``python plan_many.py KERNELS``.

Each kernel stands for 1,000 cells: 50 configs, two architectures, ten shapes, four workloads.
Prints JSON: cells, seconds, and the most memory of the process (MiB).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from peak_memory import peak_kib

from orchestrator.cluster.offers import Wanted
from orchestrator.model.spec import (
    ConfigSpec,
    KernelSpec,
    LabConfig,
    ProfileEntry,
    ProfileSpec,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.plan.graph import graph_of
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.runner.schedule import Schedule

CONFIGS, SHAPES, WORKLOADS = 50, 10, 4


def config_of(kernels: int) -> LabConfig:
    names = [f"kernel{number}" for number in range(kernels)]
    configs = [f"config{number}" for number in range(CONFIGS)]
    shapes = [f"shape{number}" for number in range(SHAPES)]
    entry = ProfileEntry(
        tuple(configs), ("x86_64", "arm64"), tuple(shapes), ("*",), kernels=tuple(names)
    )
    return LabConfig(
        Path("/lab.yaml"),
        tuple(KernelSpec(name, f"git:/linux#{name}") for name in names),
        tuple(ConfigSpec(name, (Path("/base.config"),)) for name in configs),
        tuple(ShapeSpec(name) for name in shapes),
        (ProfileSpec("many", (entry,)),),
        tuple(
            WorkloadSpec(f"fam/w{number}", "fam", Path("/fam"), f"w{number}.c")
            for number in range(WORKLOADS)
        ),
        default_profile="many",
    )


def main() -> None:
    config = config_of(int(sys.argv[1]))
    began = time.process_time()
    plan = make_plan(config, Selection(), ("x86_64", "arm64"))
    graph = graph_of(plan)
    wanted = Wanted([{"cpus": 16.0, "memory": 64_000.0, "disk": 1e6, "builds": 1.0}] * 200)
    for task in graph.tasks:
        wanted.by(task.needs)
    Schedule(plan, 16).begin(0.0)
    took = time.process_time() - began
    most = peak_kib() / 1024
    print(json.dumps({"cells": len(plan.cells), "tasks": len(graph.tasks),
                      "seconds": round(took, 2), "mib": round(most)}))  # fmt: skip


if __name__ == "__main__":
    main()
