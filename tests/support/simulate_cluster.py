# SPDX-License-Identifier: GPL-2.0-only
"""Dask's scheduler and workers as they are, in a time that passes only when all of them wait.

    python simulate_cluster.py CELLS WORKERS BUILDS

A plan's graph, its tasks asked for as the engine does, on workers of two cores; a task sleeps as
long as such a one was measured to take.  Some cells are lost with their worker and begun again,
some take five times as long.  Prints JSON: the makespan, its lower bound and their ratio.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import selectors
import sys
from typing import Any

import dask

from orchestrator.cluster.engine import urgency
from orchestrator.cluster.offers import GUESTS, LAB, Wanted, code
from orchestrator.model.spec import Build, Cell, ConfigSpec, KernelSpec, Plan, ShapeSpec
from orchestrator.plan.graph import Task, graph_of

#: What was measured on two cores under TCG (s; docs/figures.md, README.md): builds of the config
#: default for x86_64 and arm64, a cell of the profile smoke; and how much either differs.
BUILDS, CELL = (415.0, 363.0), 75.0
BUILD_SPREAD, CELL_SPREAD = 0.1, 0.2
LOST, SLOW, SLOWNESS = 0.02, 0.02, 5.0
SEED = 1


class _Clock(selectors.DefaultSelector):
    """Where nothing is ready, the next timer's time is now."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            return super().select(0.001)  # another thread will wake it
        found = super().select(0)
        if not found and timeout > 0:
            _Clock.now += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_Clock())

    def time(self) -> float:
        return _Clock.now


dask.config.set({
    "logging": {"distributed": "error"},
    # What only measures or watches would make of hours of pretended time hours of real time.
    "distributed.scheduler.http.routes": [], "distributed.worker.http.routes": [],
    "distributed.scheduler.worker-ttl": None, "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "10000s", "distributed.client.heartbeat": "10000s",
    "distributed.admin.system-monitor.interval": "10000s",
    "distributed.worker.memory.monitor-interval": "10000s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.comm.timeouts.connect": "10000s", "distributed.comm.timeouts.tcp": "10000s",
    # Its default, 0.1 s, is as to these tasks nothing.
    "distributed.scheduler.work-stealing-interval": "5s",
})  # fmt: skip

import distributed.metrics  # noqa: E402

distributed.metrics.time = lambda: 1e9 + _Clock.now
distributed.metrics.monotonic = lambda: _Clock.now

from distributed import Client, Reschedule, Scheduler, Worker  # noqa: E402

_tried: set[str] = set()


async def _work(name: str, seconds: float, lost_after: float) -> str:
    if lost_after and name not in _tried:
        _tried.add(name)
        await asyncio.sleep(lost_after)
        raise Reschedule
    await asyncio.sleep(seconds)
    return name


def plan_of(cells: int, builds: int) -> Plan:
    shape = ShapeSpec("small")
    made = tuple(
        Build(f"k{number}/c/{arch}", KernelSpec(f"k{number}", "path:x"), ConfigSpec("c"), arch)
        for number in range(builds // 2)
        for arch in ("x86_64", "arm64")
    )
    return Plan(
        "p", made,
        tuple(Cell(f"{made[n % len(made)].id}/s{n}", made[n % len(made)], shape, ())
              for n in range(cells)),
    )  # fmt: skip


async def _simulate(cells: int, workers: int, builds: int) -> dict[str, float]:
    chance = random.Random(SEED)
    graph = graph_of(plan_of(cells, builds))
    offer = {"cpus": 2.0, "memory": 8000.0, "disk": 1e5, "builds": 1.0,
             LAB.format(code()): 1e6}  # fmt: skip
    offer |= {GUESTS.format(arch): 1e6 for arch in ("x86_64", "arm64")}
    wanted = Wanted([offer])
    takes: dict[str, tuple[float, float]] = {}
    for task in graph.tasks:
        if isinstance(task.work, Build):
            base = BUILDS[task.work.arch == "arm64"]
            takes[task.id] = base * chance.uniform(1 - BUILD_SPREAD, 1 + BUILD_SPREAD), 0.0
        elif isinstance(task.work, Cell):
            seconds = CELL * chance.lognormvariate(0, CELL_SPREAD)
            seconds *= SLOWNESS if chance.random() < SLOW else 1
            lost = seconds * chance.random() if chance.random() < LOST else 0.0
            takes[task.id] = seconds, lost
    # No order is shorter than all work on all workers, or than a cell behind its build.
    chains = (sum(takes[name]) + sum(sum(takes[b]) for b in graph.by_id[name].after if b in takes)
              for name in takes)  # fmt: skip
    bound = max(sum(map(sum, takes.values())) / workers, max(chains))
    scheduler = await Scheduler(protocol="inproc", dashboard=False, dashboard_address="127.0.0.1:0")
    names = range(workers)
    made = [Worker(scheduler.address, name=f"w{n}", nthreads=3, resources=offer, memory_limit=0,
                   dashboard=False, dashboard_address="127.0.0.1:0", heartbeat_interval="10000s")
            for n in names]  # fmt: skip
    await asyncio.gather(*made)
    async with Client(scheduler.address, asynchronous=True) as client:
        began, open_tasks = _Clock.now, set(takes)
        waiting: dict[str, list[Task]] = {}
        answers: asyncio.Queue[str] = asyncio.Queue()
        kept = set()  # asyncio itself holds its tasks but weakly

        def ask(task: Task) -> None:
            kind = "build" if isinstance(task.work, Build) else "cell"
            future = client.submit(
                _work, task.id, *takes[task.id], key=f"{kind}-0/{task.id}", pure=False,
                resources=dict(wanted.by(task.needs)), priority=urgency(task),
            )  # fmt: skip
            kept.add(asyncio.ensure_future(_answer(future)))

        async def _answer(future: Any) -> None:
            answers.put_nowait(await future)

        for task in graph.tasks:
            if isinstance(task.work, Build):
                ask(task)
            elif isinstance(task.work, Cell):
                waiting.setdefault(task.after[0], []).append(task)
        while open_tasks:
            name = await answers.get()
            open_tasks.remove(name)
            for task in waiting.pop(name, ()):
                ask(task)
        span = _Clock.now - began
    return {"makespan": round(span), "bound": round(bound), "ratio": round(span / bound, 3)}


def main() -> None:
    loop = _Loop()
    asyncio.set_event_loop(loop)
    print(json.dumps(loop.run_until_complete(_simulate(*map(int, sys.argv[1:4])))), flush=True)
    os._exit(0)  # to close 200 workers would take longer than all of it


if __name__ == "__main__":
    main()
