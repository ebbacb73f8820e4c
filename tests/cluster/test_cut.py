# SPDX-License-Identifier: GPL-2.0-only
"""A worker whose network is cut while it works: a namespace of its own, and a link that is down.

Real processes, with certificates, since the scheduler listens on more than the loopback.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster_lab import STAGES, Machines, Wire, context_of, free_port, plan_of, wait_dead

from orchestrator.cluster.engine import PLACE, Cluster
from orchestrator.cluster.remote import SILENCE
from orchestrator.cluster.tls import make, parse
from orchestrator.model.names import Verdict
from orchestrator.runner.context import Event

DEADLINE = 240.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a link into another namespace"),
]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire.laid() as found:
        yield found


@pytest.fixture
def machines(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "local"))
    make(tmp_path / "tls")
    words = ("--tls", str(tmp_path / "tls"))
    found = Machines(tmp_path, free_port(), words, "tls", address=wire.here)
    found.scheduler()
    found.worker("far", wire=wire)
    try:
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize("seconds", [12.0, SILENCE + 5])
def test_a_worker_whose_network_is_cut(
    seconds: float, wire: Wire, machines: Machines, tmp_path: Path
) -> None:
    """For a moment: it goes on.  For a minute: another does its task, and it comes back."""
    plan = plan_of(tmp_path, "a")
    what = f"cell {plan.cells[0].id}"
    held = machines.hold(what)
    events: list[Event] = []
    (tmp_path / "client").mkdir()
    context = context_of(tmp_path / "client", events.append)
    cluster = Cluster(parse(machines.url, tmp_path / "tls"), str(tmp_path / "store"),
                      tmp_path / "tls", nobody=90.0)  # fmt: skip
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cluster.carry_out, plan, context, lambda _: None, stages=STAGES)
        assert machines.wait_until(what, DEADLINE) == "far"
        child = machines.child_of("far")
        machines.worker("near")
        with wire.cut():
            time.sleep(seconds)
            if seconds > SILENCE:
                assert machines.wait_until(f"near {what}", DEADLINE) == "near"
        if seconds > SILENCE:
            wait_dead(child, 60)  # what it was at is nobody's any more
        held.unlink()
        state = running.result(DEADLINE)
    assert state.problems == []
    (cell,) = state.cells.values()
    assert cell.verdict is Verdict.FAIL  # of its workload bad
    assert [case.case for case in cell.cases] == ["boot", "c", "c"]
    told = [event.id for event in events if event.kind == "case"]
    assert len(told) == len(set(told))
    begun = [line for line in machines.did if line.endswith(what)]
    if seconds > SILENCE:
        assert begun == [f"far {what}", f"near {what}"]
        assert cell.notes == (f"{PLACE}near, after far had been lost with it",), machines.said()
        machines.wait_said("far", "worker far: ", times=3)  # it began, was given up, began anew
    else:
        assert begun == [f"far {what}"]
        assert cell.notes == (f"{PLACE}far",), machines.said()
