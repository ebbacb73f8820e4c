# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that go down in every way that is over in seconds: each must come out as what it is."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from labrun import HOME, Ran, lab_run

pytestmark = pytest.mark.guest
PROVOKE = Path(__file__).parent / "provoke"


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    """``tools/faults.py``, which the campaign uses too."""
    found = importlib.util.spec_from_file_location("faults", HOME / "tools" / "faults.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["faults"] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One cell; each of its workloads in a copy of the booted guest."""
    return lab_run(tmp_path_factory.mktemp("provoked") / "run", cwd=PROVOKE)


def test_each_fault_comes_out_as_what_it_is(ran: Ran, faults: ModuleType) -> None:
    assert ran.status == 1, ran.output
    outcomes = faults.check(ran.results)
    assert len(outcomes) >= 15
    assert [(o.workload, o.wrong) for o in outcomes if o.wrong] == []


def test_none_costs_another_workload(ran: Ran) -> None:
    """Nothing was skipped, erred or booted anew: a crash costs a copy of the guest."""
    (cell,) = ran.results["cells"]
    assert {case["verdict"] for case in cell["cases"]} <= {"pass", "fail", "skip"}
    assert [c["id"] for c in ran.cases(":guest").values()] == []
    assert not list((ran.folder / "cells").glob("*/console-2.log"))
    assert cell["restore_seconds"] <= max(1.5, cell["boot_seconds"] / 4)


def test_a_crash_is_examined_and_has_lines(ran: Ran) -> None:
    case = next(iter(ran.cases("now-folio:kernel-log").values()))
    assert "What each CPU was doing" in case["crash"]["answers"]
    (hit,) = case["hits"]
    lines = [line for frame in hit["frames"] for line in frame["places"]]
    assert any(line["file"] == "drivers/misc/lkdtm/bugs.c" for line in lines), hit["frames"]


def test_a_hang_is_told_with_all_looks_and_has_lines(ran: Ran) -> None:
    """It is the kernel's, and no second try is made of it."""
    case = next(iter(ran.cases("hang-any-lock-kept:hang").values()))
    (hit,) = case["hits"]
    assert hit["signature"]
    (bulk,) = (ran.folder / "cells").glob("*/evidence.json")
    told = json.loads(bulk.read_text())
    (place,) = next(v["hits"] for k, v in told["cases"].items() if k == case["id"])
    assert "look 5 of " in told["texts"][place]
    assert "ask_for_kept_spinlock+0x" in told["texts"][place]
    assert "What each CPU was doing" in case["crash"]["answers"]
    lines = [line for frame in hit["frames"] for line in frame["places"]]
    assert any(line["function"] == "ask_for_kept_spinlock" for line in lines), hit["frames"]


def test_copies_differ_in_their_randomness(ran: Ran) -> None:
    """What the two good workloads drew from the kernel's generator is not the same."""
    drawn = {
        line
        for name in ("a-good", "now-z-good")
        for line in next(ran.folder.glob(f"cells/*/provoke__{name}.ktap")).read_text().splitlines()
        if line.startswith("# random ")
    }
    assert len(drawn) == 2
