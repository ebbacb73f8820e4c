# SPDX-License-Identifier: GPL-2.0-only
"""A cell that explores, with copies of its guest that are played; what ends it, what it leaves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.guest import snapshot
from orchestrator.host.cache.files import Cache
from orchestrator.judge.explored import OF_CORPUS
from orchestrator.model.errors import HostError, Interrupted
from orchestrator.model.evidence import Measurement
from orchestrator.model.finds import Find
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import KERNEL_LOG, NEEDS, CaseId, Verdict
from orchestrator.model.results import CaseResult, CellRecord, RunInfo, RunResult, Summary
from orchestrator.model.spec import (
    Build,
    Cell,
    ConfigSpec,
    KernelSpec,
    KnownIssue,
    Plan,
    ShapeSpec,
    WorkloadSpec,
)
from orchestrator.runner.cell import CellRun
from orchestrator.runner.collector import stem
from orchestrator.runner.context import OF_CASE, Context, Event, Machine, RunValues
from orchestrator.runner.explore import Exploring, Hunt, _Counting, programs_of
from orchestrator.runner.in_guest import InGuest

WORK = WorkloadSpec("explore/steady", "explore", Path("e"), "steady.c", timeout=60.0)
FIND = Find("state", "move", "page 1 is none, expected present (entry 0)",
            ("0 mmap at=1 n=2 prot=rw how=private", "0 move at=1 n=1 to=5 how=strict"),
            swarm="userfault", seed=9)  # fmt: skip


def figures(programs: int) -> tuple[Measurement, ...]:
    return (
        Measurement("programs", programs, "programs"),
        Measurement("steps", programs * 40, "steps"),
        Measurement("rate", 40.0, "steps/s"),
    )


class Played:
    """What each slice comes to, one after another; the last goes on for ever."""

    def __init__(self, *slices: list[tuple[str, Verdict, Find | None]]) -> None:
        self.slices = list(slices)
        self.specs: list[WorkloadSpec] = []
        self.fails: Exception | None = None
        self.lock = threading.Lock()

    def in_copy(self, run: CellRun, _kept: object, spec: WorkloadSpec) -> bool:
        with self.lock:
            self.specs.append(spec)
            if self.fails is not None:
                raise self.fails
            cases = self.slices.pop(0) if len(self.slices) > 1 else self.slices[0]
        run.restores.append(0.5)
        console = run.log.console("-explore_steady")
        console.write_text("")
        if "--program" in spec.args:
            cases = [(spec.args[3], Verdict.PASS, None)]
        for name, found, find in cases:
            case_id = str(CaseId.parse(f"{run.cell.id}:{spec.name}:{name}"))
            measured = figures(2) if name.isalpha() else ()
            run.log.add(
                CaseResult(case_id, spec.name, name, found, "why", find=find, measurements=measured)
            )
        time.sleep(0.01)
        return False


GOOD = [("advice", Verdict.PASS, None), (KERNEL_LOG, Verdict.PASS, None)]
FOUND = [("advice", Verdict.FAIL, FIND), (KERNEL_LOG, Verdict.PASS, None)]


def exploring(tmp_path: Path, hunt: Hunt, events: list[Event], spare: Any = None) -> Exploring:
    build = Build("k/c/x86_64", KernelSpec("k", "path:x"), ConfigSpec("c"), "x86_64")
    cell = Cell("k/c/x86_64/s", build, ShapeSpec("s", memory_mib=1), (WORK,))
    built = BuildResult(build, Verdict.PASS, "", 1.0, False, image=tmp_path / "image")
    machine = Machine(Cache(tmp_path / "cache"), tmp_path / "run", tmp_path)
    machine = replace(machine, spare=spare) if spare else machine
    return Exploring(cell, built, Context(RunValues("r", 2), machine, events.append), hunt)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    made = Played(GOOD, FOUND, GOOD)
    monkeypatch.setattr(CellRun, "in_copy", lambda run, kept, spec: made.in_copy(run, kept, spec))
    monkeypatch.setattr(InGuest, "unmet", lambda _self, _spec: False)
    return made


def test_slices_until_the_time_is_spent(tmp_path: Path, played: Played) -> None:
    events: list[Event] = []
    run = exploring(tmp_path, Hunt(0.2, seed=7), events)
    left = [WORK]
    run.run_copies("kept", left)  # type: ignore[arg-type]
    assert left == []
    assert len(played.specs) > 3
    seeds = [spec.seed for spec in played.specs]
    assert seeds == [7 + number * 100_000 for number in range(len(seeds))]
    cases = {case.case: case for case in run.log.cases}
    assert set(cases) == {"state-move", "advice", KERNEL_LOG}
    found = cases["state-move"]
    assert found.id == "k/c/x86_64/s:explore/steady:state-move"
    assert found.rerun == "lab rerun r k/c/x86_64/s:explore/steady:state-move"
    assert found.console == (
        "cells/k__c__x86_64__s/explore/1/cells/k__c__x86_64__s/console-explore_steady.log"
    )
    assert (tmp_path / "run" / found.console).is_file()
    # Of slices in which all was well nothing stays.
    assert [path.name for path in (run.folder / "explore").iterdir()] == ["1"]
    assert cases["advice"].measurements[0].value == 2 * len(seeds)
    assert next(e.id for e in events if e.kind == OF_CASE) == found.id
    assert any("1 find" in event.text and "s left" in event.text for event in events)
    assert run.inside.loops[WORK.name].seed == 7
    assert len(run.restores) == len(seeds)


def test_a_find_that_comes_again_is_counted(tmp_path: Path, played: Played) -> None:
    played.slices = [FOUND, FOUND, [("everything", Verdict.FAIL, replace(FIND, seed=44)), *GOOD]]
    run = exploring(tmp_path, Hunt(0.1, seed=7), [])
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    (found,) = [case for case in run.log.cases if case.find is not None]
    assert found.find is not None
    assert found.find.times == len(played.specs)
    assert found.find.seed == 9


def test_what_is_no_find_is_repeated_by_its_seed(tmp_path: Path, played: Played) -> None:
    played.slices = [GOOD, [("advice", Verdict.PASS, None), (KERNEL_LOG, Verdict.FAIL, None)], GOOD]
    run = exploring(tmp_path, Hunt(0.1, seed=7), [])
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    (bad,) = [case for case in run.log.cases if case.verdict is Verdict.FAIL]
    assert bad.case == KERNEL_LOG
    assert run.inside.loops[WORK.name].seed == 100_007


def test_the_corpus_comes_first(tmp_path: Path, played: Played) -> None:
    programs = [(f"{number:02}", ("0 exit",)) for number in range(33)]
    run = exploring(tmp_path, Hunt(0.0, seed=7, corpus=programs), [])
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    counts = [spec.args.count("--program") for spec in played.specs]
    assert counts == [32, 1, 0]
    assert played.specs[0].args[3] == f"{OF_CORPUS}00"
    assert any(case.case == "corpus" for case in run.log.cases)


KEPT = "KEPT swarm=files from=drawn new=2 pcs=ffffffff81000000+10 steps=0 exit"


def test_what_a_guest_kept_the_next_one_is_told(
    tmp_path: Path, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_copy(run: CellRun, kept: object, spec: WorkloadSpec) -> bool:
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / f"{stem(spec)}.ktap").write_text(f"KTAP version 1\n{KEPT}\nok 1 files\n")
        return played.in_copy(run, kept, spec)

    monkeypatch.setattr(CellRun, "in_copy", in_copy)
    hunt = Hunt(0.2, seed=7)
    run = exploring(tmp_path, hunt, [])
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert all(spec.args == () for spec in played.specs)
    assert any("not guided by coverage: its config has no `kcov`" in note for note in run.log.notes)
    assert hunt.guidance.kept == 0
    build = replace(run.built.build, config=ConfigSpec("explore", kcov=("mm/*.c",)))
    run.built = replace(run.built, build=build, image_sha256="ab" * 32)
    played.specs.clear()
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert played.specs[0].args == ()
    assert played.specs[1].args == ("--base", "0 exit", "--passed", "ffffffff81000000+10")
    assert (hunt.guidance.kept, run.tally.pcs) == (1, 2)


def test_enough_finds_end_it(tmp_path: Path, played: Played) -> None:
    events: list[Event] = []
    plan = Plan("p", (), ())
    hunt = Hunt(60.0, seed=7, finds=1)
    counting = _Counting(plan, hunt, events.append)
    run = exploring(tmp_path, hunt, [])
    run.log.context = replace(run.log.context, listener=counting)
    began = time.monotonic()
    run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert time.monotonic() - began < 30
    assert hunt.enough.is_set()
    assert len(played.specs) <= 3
    assert any("found what it was for" in note for note in run.log.notes)
    assert events


def test_a_known_find_does_not_count(played: Played) -> None:
    issue = KnownIssue("known", case="state-move", title="none, expected", kernels=())
    hunt = Hunt(60.0, seed=7, finds=1)
    counting = _Counting(Plan("p", (), (), known_issues=(issue,)), hunt, lambda _: None)
    case = CaseResult("k/c/a/s:explore/steady:state-move", WORK.name, "state-move", Verdict.FAIL,
                      FIND.said, find=FIND)  # fmt: skip
    counting(Event(OF_CASE, case.id, "done", case.reason, None, Verdict.FAIL, 1.0, case=case))
    assert not hunt.enough.is_set()
    other = replace(case, id="k/c/a/s:explore/steady:bytes-move", case="bytes-move")
    counting(Event(OF_CASE, other.id, "done", "", None, Verdict.FAIL, 1.0, case=other))
    assert hunt.enough.is_set()


def test_several_guests_at_once_where_cores_are_free(tmp_path: Path, played: Played) -> None:
    together: list[int] = []
    here = [0]

    def in_copy(run: CellRun, kept: object, spec: WorkloadSpec) -> bool:
        with played.lock:
            here[0] += 1
            together.append(here[0])
        time.sleep(0.05)
        with played.lock:
            here[0] -= 1
        return played.in_copy(run, kept, spec)

    @contextlib.contextmanager
    def spare(_wanted: int) -> Iterator[bool]:
        yield True

    run = exploring(tmp_path, Hunt(0.4, seed=7, lanes=3), [], spare)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellRun, "in_copy", in_copy)
        run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert max(together) == 3
    seeds = [spec.seed for spec in played.specs]
    assert len(set(seeds)) == len(seeds)


def test_a_host_that_restores_no_guest_keeps_what_was_found(tmp_path: Path, played: Played) -> None:
    played.slices = [FOUND]
    run = exploring(tmp_path, Hunt(60.0, seed=7), [])
    usual = played.in_copy

    def in_copy(cell: CellRun, kept: object, spec: WorkloadSpec) -> bool:
        if played.specs:
            raise snapshot.RestoreFailed("QEMU said no")
        return usual(cell, kept, spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellRun, "in_copy", in_copy)
        with pytest.raises(HostError, match="QEMU said no"):
            run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert [case.case for case in run.log.cases if case.find] == ["state-move"]


def test_an_interrupted_exploration_keeps_what_was_found(tmp_path: Path, played: Played) -> None:
    played.slices = [FOUND]
    run = exploring(tmp_path, Hunt(60.0, seed=7), [])
    usual = played.in_copy

    def in_copy(cell: CellRun, kept: object, spec: WorkloadSpec) -> bool:
        if played.specs:
            raise Interrupted("interrupted")
        return usual(cell, kept, spec)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellRun, "in_copy", in_copy)
        run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert [case.case for case in run.log.cases if case.find] == ["state-move"]
    assert any("s before its time" in note for note in run.log.notes)


def test_what_a_guest_lacks_is_told_and_nothing_is_explored(tmp_path: Path, played: Played) -> None:
    run = exploring(tmp_path, Hunt(60.0, seed=7), [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            InGuest, "unmet", lambda self, spec: not self.log.case(spec.name, NEEDS, Verdict.SKIP)
        )
        run.run_copies("kept", [WORK])  # type: ignore[arg-type]
    assert (played.specs, [case.case for case in run.log.cases]) == ([], [NEEDS])


def test_a_guest_that_cannot_be_copied_is_the_hosts_trouble(tmp_path: Path) -> None:
    run = exploring(tmp_path, Hunt(60.0, seed=7), [])
    assert run.copies([WORK])
    with pytest.raises(HostError, match="cannot be copied: no room"):
        run.share("no room")


def test_programs_for_the_corpus_are_those_that_nobody_foresaw() -> None:
    bad = CaseResult("i", WORK.name, "state-move", Verdict.FAIL, find=FIND)
    known = replace(bad, verdict=Verdict.SKIP, known="known")
    cell = CellRecord("k/c/a/s", "k", "c", "a", "s", "tcg", Verdict.FAIL, 1.0, (bad, known))
    info = RunInfo("r1", "", "", "lab explore", 1, "0", "p")
    run = RunResult(info, (), (), (cell,), Summary(0, 1, 1, 0))
    assert programs_of(run) == [(f"{FIND.title} (k, run r1)", FIND.program)]
