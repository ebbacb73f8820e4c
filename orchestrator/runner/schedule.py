# SPDX-License-Identifier: GPL-2.0-only
"""What comes next in a run: events in, instructions out.  Pure; who carries them out is elsewhere.

Kernels are prepared one after another.  Then each build is looked up among the kept ones; the cells
of those that are there queue before any build, since an early answer counts.  What is to be built
queues behind them, and its cells queue when it is done.

The kernels of a series' first patches (``--each-patch``) are prepared after all others, and their
cells run when nothing else is to be built or run: what the whole series does is told first.

Cells on the host wait for their kernels alone, and begin beside the first build.  They hold no
cores: they are one process at a time, and niced.

Cores are counted here too.  Kernel builds spread over all cores by themselves, so a second one at
the same time gains nothing.  Guests are given cores as they have vCPUs: more running vCPUs than
cores would make true soft-lockup and RCU-stall reports in healthy kernels.  Who is first in the
queue is waited for, so that a wide cell is not starved by narrow ones.

Time is what the caller says it is (seconds of one monotonic clock).
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field

from orchestrator.judge.outcome import BUDGET, ENDED
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, Cell, KernelSpec, Plan
from orchestrator.plan import budget
from orchestrator.plan.graph import EVERY, graph_of

# A build leaves this many cores to guests where there are plenty, so that boots overlap with it.
PLENTY = 8
SPARED = 4


# ---------------------------------------------------------------- instructions


@dataclass(frozen=True)
class Prepare:
    """Fetch the source and apply the series; answered by :class:`KernelEnded`."""

    kernel: KernelSpec


@dataclass(frozen=True)
class Find:
    """Look whether a build is kept; answered by :class:`BuildEnded` or :class:`NotKept`."""

    build: Build


@dataclass(frozen=True)
class Make:
    """Build with ``cores`` cores; answered by :class:`BuildEnded`."""

    build: Build
    cores: int


@dataclass(frozen=True)
class Boot:
    """Run a cell, its loops as long as the time budget allows; answered by :class:`CellEnded`.

    One on the host is run there.
    """

    cell: Cell


@dataclass(frozen=True)
class Leave:
    """Record that a cell is not run; there is no answer."""

    cell: Cell
    verdict: Verdict
    reason: str


Instruction = Prepare | Find | Make | Boot | Leave


# ---------------------------------------------------------------- events


@dataclass(frozen=True)
class KernelEnded:
    """A kernel is ready to be built, or of no use: no source, a series that does not apply."""

    name: str
    ready: bool


@dataclass(frozen=True)
class NotKept:
    """No earlier run built this; or a build of it was ended with the run."""

    build: str


@dataclass(frozen=True)
class BuildEnded:
    """A build was found or made, or could not be; ``seconds`` is None for one that was found."""

    build: str
    verdict: Verdict
    seconds: float | None = None


@dataclass(frozen=True)
class CellEnded:
    """A cell is over; it took ``seconds`` without its loops (None: it was not run to its end)."""

    cell: str
    seconds: float | None = None


@dataclass(frozen=True)
class CoresFreed:
    """Cores that :meth:`Schedule.spare` gave are back."""

    cores: int


Event = KernelEnded | NotKept | BuildEnded | CellEnded | CoresFreed


# ---------------------------------------------------------------- the schedule


@dataclass
class _Seen:
    """What things took, for the estimate of what is to come (s)."""

    builds: list[float] = field(default_factory=list)
    looping: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)


class Schedule:
    """The decisions of one run.

    :param cores: how many cores there are.
    :param boot: False to stop after the builds.
    :param done: ids of builds and cells that an earlier, interrupted run finished.
    :param took: what the builds among them took (s).
    """

    def __init__(
        self,
        plan: Plan,
        cores: int,
        *,
        boot: bool = True,
        done: Collection[str] = (),
        took: Collection[float] = (),
    ) -> None:
        self.cores = cores
        self._plan = plan
        self._boot = boot
        graph = graph_of(plan)
        self._tasks = graph.by_id
        self._kernels = list(graph.kernels)
        self._builds = {build.id: build for build in plan.builds}
        self._cells = {cell.id: cell for cell in plan.cells}
        self._open_builds = [build for build in plan.builds if build.id not in done]
        self._open_cells = {cell.id for cell in plan.cells if cell.id not in done}
        self._ready: set[str] = set()
        self._on_host: set[str] = set()  # cells under way there
        self._finding: set[str] = set()
        self._to_make: list[Build] = []
        self._waiting: list[tuple[int, int, Make | Boot]] = []
        self._number = 0
        self._held: dict[str, int] = {}
        self._free = cores
        self._until: float | None = None
        self._ended = False
        self._seen = _Seen(builds=list(took))

    @property
    def build_cores(self) -> int:
        """How many cores a build is given."""
        return self.cores - (SPARED if self.cores >= PLENTY else 0)

    @property
    def finished(self) -> bool:
        """Whether nothing is under way and nothing waits."""
        busy = self._finding or self._waiting or self._held or self._on_host
        return not (self._kernels or busy)

    def begin(self, now: float) -> tuple[Instruction, ...]:
        """The first instructions; the time budget counts from here."""
        if self._plan.time_budget:
            self._until = now + self._plan.time_budget
        return self._next_kernel()

    def on(self, event: Event, now: float) -> tuple[Instruction, ...]:
        """What follows from an event."""
        told: tuple[Instruction, ...] = ()
        match event:
            case KernelEnded():
                told = self._kernel_ended(event)
            case NotKept():
                self._finding.discard(event.build)
                self._free += self._held.pop(event.build, 0)
                self._to_make.append(self._builds[event.build])
            case BuildEnded():
                told = self._build_ended(event)
            case CellEnded():
                self._cell_ended(event)
            case CoresFreed():
                self._free += event.cores
        if not self._kernels and not self._finding:
            self._queue_builds()
        return (*told, *self._start(now))

    def end(self) -> None:
        """From the next event on begin nothing more: the run has its first failure.

        What is under way tells its end as ever.
        """
        self._ended = True

    def spare(self, wanted: int) -> bool:
        """Give cores to a cell that is running, if they are free and nobody waits for any.

        They come back with :class:`CoresFreed`.
        """
        got = not self._ended and not self._waiting and not self._to_make and self._free >= wanted
        if got:
            self._free -= wanted
        return got

    # ------------------------------------------------------------ kernels and builds

    def _next_kernel(self) -> tuple[Instruction, ...]:
        if self._ended:  # by a kernel: nothing else is under way yet
            self._kernels, self._open_builds = [], []
            return tuple(
                self._leave(cell, Verdict.SKIP, ENDED)
                for cell in self._cells.values()
                if self._boot and cell.id in self._open_cells
            )
        if self._kernels:
            return (Prepare(self._kernels[0]),)
        wanted = [build for build in self._open_builds if build.kernel.name in self._ready]
        self._finding = {build.id for build in wanted}
        return (*self._begin_on_host(), *(Find(build) for build in wanted))

    def _begin_on_host(self) -> tuple[Instruction, ...]:
        """The cells that need no build; all kernels were looked at."""
        if not self._boot:
            return ()
        here = [cell for cell in self._cells.values() if cell.on_host]
        cells = [c for c in here if c.id in self._open_cells and c.build.kernel.name in self._ready]
        self._on_host = {cell.id for cell in cells}
        return tuple(Boot(cell) for cell in cells)

    def _kernel_ended(self, event: KernelEnded) -> tuple[Instruction, ...]:
        self._kernels = [spec for spec in self._kernels if spec.name != event.name]
        if event.ready:
            self._ready.add(event.name)
        else:
            # A kernel that cannot be built has neither builds nor cells before it.
            gone = {
                cell.id for cell in self._cells.values() if cell.build.kernel.name == event.name
            }
            self._open_cells -= gone
            self._open_builds = [b for b in self._open_builds if b.kernel.name != event.name]
        return self._next_kernel()

    def _queue_builds(self) -> None:
        """Put what is to be built behind the cells that can run; all lookups are answered."""
        for build in sorted(self._to_make, key=lambda build: self._tasks[build.id].rank):
            self._queue(build.id, Make(build, self.build_cores))
        self._to_make.clear()

    def _build_ended(self, event: BuildEnded) -> tuple[Instruction, ...]:
        self._finding.discard(event.build)
        self._free += self._held.pop(event.build, 0)
        self._open_builds = [build for build in self._open_builds if build.id != event.build]
        if event.seconds is not None:
            self._seen.builds.append(event.seconds)
        if not self._boot:
            return ()
        cells = self._open_of(event.build)
        if event.verdict is Verdict.PASS:
            for cell in cells:
                self._queue(cell.id, Boot(cell))
            return ()
        failed = event.verdict is Verdict.FAIL
        why = "its build failed" if failed else "its build could not be made"
        return tuple(self._leave(cell, event.verdict, f"not booted: {why}") for cell in cells)

    def _cell_ended(self, event: CellEnded) -> None:
        self._free += self._held.pop(event.cell, 0)
        self._open_cells.discard(event.cell)
        if event.cell in self._on_host:
            self._on_host.discard(event.cell)  # what it took tells nothing of a guest
        elif event.seconds is not None:
            loops = budget.loop_seconds(self._cells[event.cell])
            (self._seen.looping if loops else self._seen.plain).append(event.seconds)

    # ------------------------------------------------------------ the queue

    def _queue(self, name: str, what: Make | Boot) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (self._tasks[name].rank, self._number, what))

    def _start(self, now: float) -> tuple[Instruction, ...]:
        """Who is first and fits, goes; what comes too late is left."""
        told: list[Instruction] = []
        late = self._ended or (self._until is not None and now > self._until)
        while self._waiting:
            what = self._waiting[0][2]
            number = self._cores_of(what)
            if not late and number > self._free:
                break
            heapq.heappop(self._waiting)
            if late:
                told += self._too_late(what)
            elif isinstance(what, Make):
                self._hold(what.build.id, number)
                told.append(Make(what.build, number))
            else:
                self._hold(what.cell.id, number)
                told.append(Boot(self._stretched(what.cell, now)))
        return tuple(told)

    def _cores_of(self, what: Make | Boot) -> int:
        needs = self._tasks[what.build.id if isinstance(what, Make) else what.cell.id].needs
        wanted = self.build_cores if needs.cpus == EVERY else needs.cpus or 1
        return max(1, min(wanted, self.cores))

    def _hold(self, name: str, cores: int) -> None:
        self._held[name] = cores
        self._free -= cores

    def _too_late(self, what: Make | Boot) -> list[Instruction]:
        if isinstance(what, Boot):
            return [self._leave(what.cell, Verdict.SKIP, ENDED if self._ended else BUDGET)]
        self._open_builds = [build for build in self._open_builds if build.id != what.build.id]
        why = ENDED if self._ended else f"{BUDGET} before its build"
        return [self._leave(cell, Verdict.SKIP, why) for cell in self._open_of(what.build.id)]

    def _leave(self, cell: Cell, verdict: Verdict, reason: str) -> Leave:
        self._open_cells.discard(cell.id)
        return Leave(cell, verdict, reason)

    def _open_of(self, build: str) -> list[Cell]:
        """The cells of a build that have no record yet."""
        cells = self._cells.values()
        return [cell for cell in cells if cell.build.id == build and cell.id in self._open_cells]

    # ------------------------------------------------------------ the time budget

    def _stretched(self, cell: Cell, now: float) -> Cell:
        """The cell with its share of the time budget, where that is to be spent."""
        if not self._plan.spend_budget or self._until is None:
            return cell
        guests = self._open_cells - self._on_host
        looping = [budget.loop_seconds(self._cells[name]) > 0 for name in guests]
        seen = self._seen
        ahead = budget.Ahead(
            left=self._until - now,
            cells=sum(looping),
            builds=len(self._open_builds),
            others=len(looping) - sum(looping),
            at_once=max(1, self.cores // cell.shape.cpus),
            build_seconds=max(seen.builds, default=budget.BUILD_GUESS),
            cell_seconds=max(seen.looping, default=budget.CELL_GUESS),
            other_seconds=max(seen.plain, default=budget.CELL_GUESS),
        )
        return budget.stretched(cell, ahead)
