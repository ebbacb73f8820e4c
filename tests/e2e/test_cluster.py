# SPDX-License-Identifier: GPL-2.0-only
"""A run on workers, with real guests: two of them are killed with their guests, and it is whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_lab import Machines, alive, free_port
from labrun import HOME, LAB, lab_run

from orchestrator.cluster.engine import PLACE

pytestmark = pytest.mark.guest

WORKLOADS = ("ledger/anon", "ledger/swap", "ledger/thp")
CELL = ("--kernel", "v6.12", "--config", "default", "--arch", "x86_64", "--shape", "small")
#: Whatever is waited for comes sooner, on a busy machine too (s).
DEADLINE = 600.0


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path, free_port())
    found.scheduler()
    try:
        yield found
    finally:
        found.stop()


def guests(machines: Machines) -> dict[int, str]:
    """The QEMU processes that workers have started, and whose each is."""
    owners = {child.pid: name for name, child in machines.running.items()}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        # By this name, since a worker that starts asks a QEMU without one whether KVM works.
        if parent in owners and b"\0-name\0lab\0" in words:
            found[int(folder.name)] = owners[parent]
    return found


def wait(what: str, until: Callable[[], bool], machines: Machines) -> None:
    end = time.monotonic() + DEADLINE
    while not until():
        assert time.monotonic() < end, f"no {what}: {machines.said()}"
        time.sleep(0.1)


def kill(machines: Machines) -> str:
    """Kill the worker that has a guest; the guest is gone with it.  Gives its name."""
    ((guest, name),) = guests(machines).items()
    machines.signal(name, signal.SIGKILL)
    wait("end of its guest", lambda: not alive(guest), machines)
    return name


def test_workers_that_are_killed_with_their_guests(machines: Machines, tmp_path: Path) -> None:
    words = [word for name in WORKLOADS for word in ("--workload", name)]
    seed = ("--seed", "1")
    alone = lab_run(tmp_path / "alone", *CELL, *words, *seed)
    assert alone.status == 0, alone.output
    for name in ("one", "two"):
        machines.worker(name)
    out, told = tmp_path / "run", tmp_path / "told"
    argv = [str(LAB), "run", "--json", "--scheduler", machines.url, "--store",
            str(tmp_path / "store"), "--out", str(out), *CELL, *words, *seed]  # fmt: skip
    with told.open("wb") as file:
        run = subprocess.Popen(argv, cwd=HOME, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait("guest", lambda: bool(guests(machines)) or run.poll() is not None, machines)
        assert run.poll() is None, told.read_text() + machines.said()
        first = kill(machines)  # while it boots
        machines.worker("three")
        seen = f'"id": "{"/".join(CELL[1::2])}:ledger/'
        wait("case", lambda: seen in told.read_text() or run.poll() is not None, machines)
        assert run.poll() is None, told.read_text() + machines.said()
        # What a guest says is here while it runs.
        assert any(path.stat().st_size for path in out.glob("cells/*/console*.log"))
        second = kill(machines)  # while it runs workloads
        assert run.wait(DEADLINE) == 0, told.read_text() + machines.said()
    finally:
        run.kill()
        run.wait(10)
    results = json.loads((out / "results.json").read_text())
    (cell,) = results["cells"]
    (last,) = {"one", "two", "three"} - {first, second}
    note = f"{PLACE}{last}, after {first}, {second} had been lost with it"
    assert note in cell["notes"]
    assert note in (out / "index.html").read_text()
    cases = [case["id"] for case in cell["cases"]]
    assert len(cases) == len(set(cases))
    assert {case["id"]: case["verdict"] for case in cell["cases"]} == {
        name: case["verdict"] for name, case in alone.cases().items()
    }
    assert results["builds"][0]["cached"]  # fetched, not built again
    assert guests(machines) == {}
