# SPDX-License-Identifier: GPL-2.0-only
"""What a run would take on so many cores: the scheduler's own rules, played with measured times."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from orchestrator.model.names import Verdict
from orchestrator.model.spec import Plan
from orchestrator.runner.schedule import (
    Boot,
    BuildEnded,
    CellEnded,
    Event,
    Find,
    KernelEnded,
    Make,
    NotKept,
    Prepare,
    Schedule,
)


def makespan(
    plan: Plan, cells: Mapping[str, float], builds: Mapping[str, float], cores: int
) -> float:
    """Seconds from the first instruction of the schedule to the end of the last.

    A guest is as quick as it was measured, and a build is taken to spread evenly over its cores.

    :param cells: seconds that each cell took.
    :param builds: CPU seconds of the builds that are to be made; the others are kept ones.
    """
    schedule = Schedule(plan, cores)
    ahead: list[tuple[float, int, Event]] = []
    now, number = 0.0, 0
    todo = schedule.begin(now)
    while not schedule.finished:
        for what in todo:
            seconds, event = 0.0, None
            match what:
                case Prepare():
                    event = KernelEnded(what.kernel.name, ready=True)
                case Find() if what.build.id in builds:
                    event = NotKept(what.build.id)
                case Find():
                    event = BuildEnded(what.build.id, Verdict.PASS)
                case Make():
                    seconds = builds[what.build.id] / what.cores
                    event = BuildEnded(what.build.id, Verdict.PASS, seconds)
                case Boot():
                    seconds = cells.get(what.cell.id, 0.0)
                    event = CellEnded(what.cell.id, seconds)
            if event is not None:
                number += 1
                heapq.heappush(ahead, (now + seconds, number, event))
        now, _, ended = heapq.heappop(ahead)
        todo = schedule.on(ended, now)
    return now
