# SPDX-License-Identifier: GPL-2.0-only
"""How the lab grows with a run: many short cells in real guests, and the report of a large run."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench_measure import (
    HOME,
    Bench,
    BenchError,
    Sample,
    Sampler,
    lab,
    remove,
    results,
)
from bench_peers import into, watched
from curve import curves

from orchestrator.results.runs import cell_folder
from orchestrator.results.store import EVIDENCE

#: How many cells the runs have.
CELLS = (1, 4, 16, 64, 256)
#: The large run of the report: so many cells, each of so many cases.
REPORT_CELLS, REPORT_CASES = 256, 200
WORKLOAD = "uffd-move/probe"
_SHAPES, _PROFILES = "\nshapes:\n", "\nprofiles:\n"


def many_cells(text: str, count: int) -> str:
    """A lab.yaml with a profile ``cells`` of so many cells: one kernel, one config, many shapes."""
    names = [f"cell-{number:03}" for number in range(1, count + 1)]
    shapes = "".join(f"  {name}: {{ cpus: 1, memory: 512M }}\n" for name in names)
    profile = (
        "  cells:\n    matrix:\n      - configs: [default]\n        arches: [x86_64]\n"
        f"        shapes: [{', '.join(names)}]\n"
    )
    if text.count(_SHAPES) != 1 or text.count(_PROFILES) != 1:
        raise BenchError("lab.yaml has no line `shapes:`, or none `profiles:`")
    text = text.replace(_SHAPES, _SHAPES + shapes)
    return text.replace(_PROFILES, _PROFILES + profile)


def grow(count: int) -> Callable[[Bench], AbstractContextManager[Sampler]]:
    """A run of so many cells, each a guest of one CPU with one short workload."""

    @contextlib.contextmanager
    def prepare(bench: Bench) -> Iterator[Sampler]:
        lab(bench, "build -p smoke --arch x86_64 --config default")
        project = bench.project()

        def sample() -> Sample:
            (project / "lab.yaml").write_text(many_cells((HOME / "lab.yaml").read_text(), count))
            out = bench.work / "run"
            words = ["run", "-p", "cells", "--workload", WORKLOAD]
            spent = watched(bench, [*words, *into(out)])
            found = results(out)
            cells = [one for one in found["cells"] if one["verdict"] == "pass"]
            if len(cells) != count:
                raise BenchError(f"{len(cells)} of {count} cells passed: lab report {out}")
            return {"cells": count, "wall": spent["wall"], "memory": spent["memory"],
                    "own": spent["own"]}  # fmt: skip

        yield sample

    return prepare


def multiplied(run: Path, out: Path, cells: int, cases: int) -> None:
    """A stored run with so many cells of so many cases, each a copy of the first one's of ``run``.

    Of its cases every so many-th is taken, so that they are a sample of all its workloads.
    """
    found = results(run)
    first = found["cells"][0]
    have = first["cases"]
    if len(have) < cases:
        raise BenchError(f"{first['id']} has {len(have)} cases, {cases} are needed")
    step = len(have) / cases
    taken = [have[int(number * step)] for number in range(cases)]
    evidence = _evidence(run, first["id"], {case["id"] for case in taken})
    model = json.dumps({**first, "cases": taken})
    made = []
    for number in range(cells):
        place = first["id"].rpartition("/")[0] + f"/cell-{number:03}"

        def moved(text: str, place: str = place) -> str:
            text = text.replace(cell_folder(first["id"]), cell_folder(place))
            return text.replace(first["id"], place)

        made.append({**json.loads(moved(model)), "shape": place.rpartition("/")[2]})
        folder = out / cell_folder(place)
        folder.mkdir(parents=True)
        if evidence is not None:
            (folder / EVIDENCE).write_text(moved(json.dumps(evidence)))
    (out / "results.json").write_text(json.dumps({**found, "cells": made}, indent=1))


def _evidence(run: Path, cell: str, cases: set[str]) -> dict[str, Any] | None:
    path = run / cell_folder(cell) / EVIDENCE
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    return {**found, "cases": {k: v for k, v in found["cases"].items() if k in cases}}


@contextlib.contextmanager
def large_report(bench: Bench) -> Iterator[Sampler]:
    """``lab report`` of a run of 256 cells with 200 cases each, of the shape of a real run's."""
    folder = bench.work / "large-run"
    remove(folder)
    bench.tell("the run that the large one is made of")
    _, out = lab(bench, "run -p smoke --arch x86_64")
    multiplied(out, folder, REPORT_CELLS, REPORT_CASES)

    def sample() -> Sample:
        spent = watched(bench, ["report", str(folder)])
        size = (folder / "index.html").stat().st_size + (folder / "junit.xml").stat().st_size
        return {"wall": spent["wall"], "cpu": spent["own"], "memory": spent["memory"],
                "size": size / 1e6}  # fmt: skip

    yield sample
    shutil.rmtree(folder, ignore_errors=True)


def growth_curve(taken: dict[int, Sample]) -> str:
    """The SVG of what was measured of :func:`grow`, by the count of cells."""
    sizes = sorted(taken)
    charts = {
        "wall-clock seconds a cell": [(n, taken[n]["wall"] / n) for n in sizes],
        "memory of the lab, MB": [(n, taken[n]["memory"]) for n in sizes],
        "CPU seconds of the lab a cell": [(n, taken[n]["own"] / n) for n in sizes],
    }
    return curves(charts, "cells", doubling=True)
