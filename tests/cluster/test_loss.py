# SPDX-License-Identifier: GPL-2.0-only
"""Workers, schedulers and clients that are killed or hang: nothing lost, nothing counted twice.

Real processes; what they do is pretended, but for a child that stands for make or QEMU.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster_lab import (
    HERE,
    STAGES,
    Machines,
    alive,
    context_of,
    free_port,
    plan_of,
    wait_dead,
)

from orchestrator.cluster.engine import PLACE, Cluster
from orchestrator.cluster.remote import SILENCE
from orchestrator.cluster.tls import parse
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Plan
from orchestrator.runner.context import Event
from orchestrator.runner.state import RunState

DEADLINE = 240.0
pytestmark = pytest.mark.slow


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "local"))
    found = Machines(tmp_path, free_port())
    found.scheduler()
    for name in ("one", "two"):
        found.worker(name)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def start(machines: Machines, tmp_path: Path) -> Iterator[Callable[[Plan], Future[RunState]]]:
    """Have a plan carried out beside the test."""
    events: list[Event] = []
    with ThreadPoolExecutor(1) as pool:

        def go(plan: Plan) -> Future[RunState]:
            (tmp_path / "client").mkdir()
            context = context_of(tmp_path / "client", events.append)
            cluster = Cluster(parse(machines.url, None), str(tmp_path / "store"), nobody=90.0)
            return pool.submit(cluster.carry_out, plan, context, lambda _: None, stages=STAGES)

        yield go
        cases = [event.id for event in events if event.kind == "case"]
        assert len(cases) == len(set(cases))


def passed(state: RunState, plan: Plan) -> None:
    assert state.problems == []
    assert {name: cell.verdict for name, cell in state.cells.items()} == {
        cell.id: Verdict.FAIL
        for cell in plan.cells  # of their workload bad
    }
    for cell in state.cells.values():
        assert [case.case for case in cell.cases] == ["boot", "c", "c"]


@pytest.mark.parametrize("stage", ["build", "cell"])
def test_a_worker_that_is_killed(
    stage: str, machines: Machines, start: Callable[[Plan], Future[RunState]], tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, "abc")
    what = f"build {plan.builds[1].id}" if stage == "build" else f"cell {plan.cells[1].id}"
    held = machines.hold(what)
    running = start(plan)
    lost = machines.wait_until(what, DEADLINE)
    child = machines.child_of(lost)
    machines.signal(lost, signal.SIGKILL)
    wait_dead(child)
    held.unlink()
    state = running.result(DEADLINE)
    passed(state, plan)
    (other,) = {"one", "two"} - {lost}
    notes = (state.builds[plan.builds[1].id] if stage == "build"
             else state.cells[plan.cells[1].id]).notes  # fmt: skip
    assert notes == (f"{PLACE}{other}, after {lost} had been lost with it",), machines.said()
    assert machines.did.count(f"{other} {what}") == 1


def test_a_scheduler_that_is_restarted(
    machines: Machines, start: Callable[[Plan], Future[RunState]], tmp_path: Path
) -> None:
    """What is done stays done; workers end what they were at, and come to the new one."""
    plan = plan_of(tmp_path, "abc")
    what = f"cell {plan.cells[2].id}"
    held = machines.hold(what)
    running = start(plan)
    child = machines.child_of(machines.wait_until(what, DEADLINE))
    machines.signal("scheduler", signal.SIGKILL)
    wait_dead(child, 60)
    held.unlink()
    machines.scheduler()
    state = running.result(DEADLINE)
    passed(state, plan)
    builds = [line.partition(" ")[2] for line in machines.did if " build " in line]
    assert sorted(set(builds)) == sorted(builds)  # none was made again


def test_a_client_that_is_killed(machines: Machines, tmp_path: Path) -> None:
    """Whatever it had asked for ends, and the next client's tasks are done."""
    plan = plan_of(tmp_path, "a")
    held = machines.hold(f"cell {plan.cells[0].id}")
    script = (
        "import sys; from pathlib import Path; from cluster_lab import *\n"
        "from orchestrator.cluster.engine import Cluster\n"
        "from orchestrator.cluster.tls import parse\n"
        "folder = Path(sys.argv[2]); (folder / 'killed').mkdir()\n"
        "Cluster(parse(sys.argv[1], None), str(folder / 'store')).carry_out(\n"
        "    plan_of(folder, 'a'), context_of(folder / 'killed', print), lambda _: None,\n"
        "    stages=STAGES)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    client = subprocess.Popen(
        [sys.executable, "-c", script, machines.url, str(tmp_path)], env=environment
    )
    try:
        child = machines.child_of(machines.wait_until(f"cell {plan.cells[0].id}", DEADLINE))
    finally:
        client.kill()
        client.wait(10)
    wait_dead(child)
    held.unlink()
    (tmp_path / "next").mkdir()
    context = context_of(tmp_path / "next", lambda _: None)
    cluster = Cluster(parse(machines.url, None), str(tmp_path / "store"))
    passed(cluster.carry_out(plan, context, lambda _: None, stages=STAGES), plan)


def test_a_worker_that_hangs(
    machines: Machines, start: Callable[[Plan], Future[RunState]], tmp_path: Path
) -> None:
    """One that says nothing for a while is given up; when it goes on, it ends what it was at."""
    plan = plan_of(tmp_path, "ab")
    what = f"cell {plan.cells[0].id}"
    held = machines.hold(what)
    running = start(plan)
    hung = machines.wait_until(what, DEADLINE)
    child = machines.child_of(hung)
    machines.signal(hung, signal.SIGSTOP)
    (other,) = {"one", "two"} - {hung}
    until = time.monotonic() + 3 * SILENCE
    while f"{other} {what}" not in machines.did:
        assert time.monotonic() < until, machines.said()
        time.sleep(0.5)
    held.unlink()
    passed(running.result(DEADLINE), plan)
    assert alive(child)
    machines.signal(hung, signal.SIGCONT)
    wait_dead(child, 60)


def test_a_worker_that_is_asked_to_end_hands_its_task_on(
    machines: Machines, start: Callable[[Plan], Future[RunState]], tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, "a")
    what = f"cell {plan.cells[0].id}"
    held = machines.hold(what)
    running = start(plan)
    first = machines.wait_until(what, DEADLINE)
    child = machines.child_of(first)
    machines.signal(first, signal.SIGTERM)
    assert machines.running[first].wait(30) == 0
    wait_dead(child)
    held.unlink()
    passed(running.result(DEADLINE), plan)


@pytest.mark.parametrize("size", ["64k", "900k"])
def test_a_worker_whose_disk_gets_full(size: str, machines: Machines, tmp_path: Path) -> None:
    """It says so, and others do what it had no room for; where there is no other it is an error."""
    machines.stop()
    machines.scheduler()
    machines.worker("small", disk="8g")
    machines.worker("roomy")
    until = time.monotonic() + DEADLINE
    while not all(f"worker {name}: cpus" in machines.said() for name in ("small", "roomy")):
        assert time.monotonic() < until, machines.said()
        time.sleep(0.2)
    machines.shrink("small", size)
    plan = plan_of(tmp_path, "abcd")
    events: list[Event] = []
    (tmp_path / "client").mkdir()
    context = context_of(tmp_path / "client", events.append)
    cluster = Cluster(parse(machines.url, None), str(tmp_path / "store"), nobody=90.0)
    passed(cluster.carry_out(plan, context, lambda _: None, stages=STAGES), plan)
    told = "the disk of worker small is full: it is done elsewhere"
    assert told in {event.text for event in events}, machines.said()
    assert "worker small: the disk of its cache" in machines.said()
    machines.signal("roomy", signal.SIGTERM)
    assert machines.running.pop("roomy").wait(60) == 0
    (tmp_path / "alone").mkdir()
    alone = context_of(tmp_path / "alone", lambda _: None)
    state = cluster.carry_out(plan_of(tmp_path, "ef"), alone, lambda _: None, stages=STAGES)
    assert {cell.verdict for cell in state.cells.values()} == {Verdict.ERROR}
    assert any("No space left" in problem for problem in state.problems), state.problems
