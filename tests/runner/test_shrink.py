# SPDX-License-Identifier: GPL-2.0-only
"""Making a find's program smaller, in guests that are played."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.judge.trials import Repeat, Subject
from orchestrator.model.errors import UserError
from orchestrator.model.finds import Find, parse_program
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.results import CaseResult, CellRecord, KernelRecord
from orchestrator.model.searched import SHRINK
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.results import store
from orchestrator.runner.context import Context, Kernel, Places
from orchestrator.runner.run import RunOptions
from orchestrator.runner.shrink import NOTES, Shrunk, shrink
from orchestrator.runner.stages import Ran, Stages

WORK = WorkloadSpec("explore/steady", "explore", Path("e"), "steady.c", deterministic=False)
PROGRAM = ("0 mmap at=0 n=8 prot=rw how=private", "0 write at=1 byte=1", "0 cold at=1 n=2",
           "0 fork to=1", "0 write at=2 byte=1", "1 exit",
           "0 move at=1 n=2 to=9 how=strict")  # fmt: skip
FIND = Find("state", "move", "page 9 is none, expected present (entry 0)", PROGRAM, seed=4)
NEEDED = {"mmap", "write", "move"}


class Played:
    """Guests in which a program fails that has all steps of ``NEEDED``, each time or not."""

    def __init__(self, rate: float = 1.0) -> None:
        self.dice, self.rate = random.Random(3), rate
        self.tried: list[str] = []
        self.boots = 0
        self.other = False
        self.lock = threading.Lock()

    def prepare(self, spec: KernelSpec, _: Context) -> Kernel:
        return Kernel(KernelTree(spec, "6.12", "base", "tree"), "slot", spec.source)

    def build(self, wanted: Build, *_: Any) -> BuildResult:
        return BuildResult(wanted, Verdict.PASS, "", 1.0, False, image_sha256="sha")

    def cases(self, spec: WorkloadSpec, place: str) -> tuple[CaseResult, ...]:
        option, program, named, name = spec.args
        assert (option, named) == ("--program", "--case")
        with self.lock:
            self.tried.append(program)
            there = {step.name for step in parse_program(program.split(";"))} >= NEEDED
            fails = there and self.dice.random() < self.rate
        case = CaseResult(f"{place}:{spec.name}:{name}", spec.name, name, Verdict.PASS)
        if fails:
            step = "copy" if self.other else FIND.step
            found = replace(FIND, program=tuple(program.split(";")), seed=None, step=step)
            case = replace(case, verdict=Verdict.FAIL, reason="x", find=found)
        return (case,)

    def run(self, cell: Cell, *_: Any) -> Ran:
        self.boots += 1
        cases = self.cases(cell.workloads[0], cell.id)
        record = CellRecord(
            cell.id, "k", "c", "x86_64", "s", "tcg", cases[0].verdict, 1.0, cases,
        )  # fmt: skip
        return Ran(record, cell)

    @contextlib.contextmanager
    def again(self, cell: Cell, *_: Any) -> Iterator[Callable[..., Any]]:
        yield lambda spec, context: self.cases(spec, cell.id)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "lab.yaml", tmp_path / "reports", Cache(tmp_path / "cache"), tmp_path)


def repeat_of(find: Find | None = FIND) -> Repeat:
    build = Build("k/c/x86_64", KernelSpec("k", "path:/x"), ConfigSpec("c"), "x86_64")
    cell = Cell(f"{build.id}/s", build, ShapeSpec("s", cpus=1, memory_mib=1), (WORK,))
    place = f"{cell.id}:{WORK.name}:state-move"
    case = CaseResult(place, WORK.name, "state-move", Verdict.FAIL, find=find)
    subject = Subject(cell, record=KernelRecord("k", "path:/x", "6.12.1"))
    return Repeat(case, (subject,), Plan("p", (build,), (cell,)), boots=True)


def go(played: Played, places: Places, most: int = 500, **options: Any) -> Shrunk:
    stages = Stages(
        lambda *_: None, played.prepare, lambda *_: None, played.build, played.run,
        again=played.again,
    )  # fmt: skip
    seconds = options.pop("seconds", None)
    return shrink(
        repeat_of(), places.reports / "r1", places, RunOptions(jobs=2, **options), most=most,
        seconds=seconds, stages=stages,
    )  # fmt: skip


def names(found: Shrunk) -> list[str]:
    return [step.name for step in parse_program(found.program)]


def test_no_step_is_left_that_can_go_and_the_run_has_the_smallest(places: Places) -> None:
    played = Played()
    found = go(played, places)
    assert names(found) == ["mmap", "write", "move"]
    assert (found.sure, found.done.status, played.boots) == (True, 0, 1)
    assert found.said == "3 of 7 steps left, fails 1 of 1; nothing of it can go"
    run = store.load(found.done.folder)
    assert run.searched is not None
    assert (run.searched.kind, run.searched.sure, run.searched.of) == (SHRINK, True, "r1")
    assert run.searched.trials == len(played.tried) - 1
    (case,) = run.cells[0].cases
    assert case.find is not None
    assert case.find.program == found.program
    assert (found.done.folder / "finds" / "state-move.c").is_file()
    assert not any((found.done.folder / "trials").glob("*"))


def test_one_that_fails_now_and_then_is_made_as_small(places: Places) -> None:
    found = go(Played(0.5), places)
    assert set(names(found)) >= NEEDED
    assert len(found.program) <= 4


def test_what_does_not_fail_again(places: Places) -> None:
    found = go(Played(0.0), places)
    assert (found.sure, found.done.status) == (False, 1)
    assert found.said == "does not fail again: fails 0 of 20 as it was"


def test_another_failure_is_no_proof(places: Places) -> None:
    played = Played()
    played.other = True
    assert go(played, places).said.startswith("does not fail again")


def test_an_end_before_the_end_and_going_on(places: Places) -> None:
    played = Played()
    found = go(played, places, most=5)
    assert (found.sure, found.done.status) == (False, 1)
    assert found.said.endswith("not finished: --resume goes on")
    before = len(played.tried)
    again = go(played, places, resume=found.done.folder)
    assert (again.sure, names(again)) == (True, ["mmap", "write", "move"])
    whole = Played()
    assert go(whole, places).program == again.program
    # Nothing is tried twice but the smallest, at both ends.
    assert len(played.tried) - 2 <= len(whole.tried) <= len(played.tried) + before


def test_the_time_is_kept(places: Places) -> None:
    played = Played()
    found = go(played, places, seconds=0.0)
    assert (found.sure, played.tried) == (False, [])


def test_the_notes_of_another_program_are_refused(places: Places) -> None:
    found = go(Played(), places, most=2)
    notes = found.done.folder / NOTES
    told = json.loads(notes.read_text())
    notes.write_text(json.dumps(told | {"about": ["path:/x", "0 exit"]}))
    with pytest.raises(UserError, match="searched something else"):
        go(Played(), places, resume=found.done.folder)


def test_what_is_no_find_has_no_program(places: Places) -> None:
    with pytest.raises(UserError, match="is no find"):
        shrink(repeat_of(None), places.reports, places, most=1)
