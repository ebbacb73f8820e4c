# SPDX-License-Identifier: GPL-2.0-only
"""What a run's tasks are made of, put into the store by whoever starts the run.

Kernels are prepared here, where the user's sources are; what is built already is found here or in
the store; the rest goes with the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.cluster.duty import (
    Answer,
    Job,
    find_shared,
    share_build,
    share_job,
    share_root,
)
from orchestrator.cluster.goods import Store, files_of
from orchestrator.cluster.inputs import Inputs
from orchestrator.cluster.parcel import Paths, pack
from orchestrator.cluster.sources import Source, share_tree
from orchestrator.guest.root import root_image
from orchestrator.host.cache import seals
from orchestrator.judge.resumed import workloads_done
from orchestrator.model.arch import ARCHES
from orchestrator.model.kernel import BuildResult
from orchestrator.model.spec import Build, Cell, KernelSpec, Plan
from orchestrator.plan import budget
from orchestrator.results.runs import cell_folder
from orchestrator.runner.context import Context, Event, Kernel
from orchestrator.runner.stages import Stages
from orchestrator.runner.state import RunState


class Materials:
    """The store's side of one run; ``kernels`` are those that were prepared."""

    def __init__(self, plan: Plan, context: Context, stages: Stages, store: Store) -> None:
        self.context = context
        self.stages = stages
        self.store = store
        self.kernels: dict[str, Kernel] = {}
        self._plan = plan
        self._inputs = Inputs(plan, context.machine.fragments, context.cache, store)
        self._sources: dict[str, tuple[Source, ...]] = {}
        self.paths = Paths(context.cache.folder, self._inputs.mine)

    def prepare(self, spec: KernelSpec, context: Context) -> Kernel:
        """Prepare a kernel here and share its sources: a stage."""
        kernel = self.stages.prepare(spec, context)
        if kernel.tree.failure is None:
            context.listener(Event("kernel", spec.name, "share", "putting it into the store"))
            self._sources[spec.name] = share_tree(kernel.tree, context.cache, self.store)
        self.kernels[spec.name] = kernel
        return kernel

    def find(self, build: Build, kernel: Kernel, context: Context) -> BuildResult | None:
        """A build that this cache or the store has: a stage."""
        return find_shared(build, kernel, context, self.stages, self.store)

    def known(self, build: Build, built: BuildResult) -> Answer:
        """A build that is here, as a worker would have answered it."""
        name = self.stages.name(build, self.kernels[build.kernel.name], self.context)
        goods = share_build(built, name, self.context.cache, self.store)
        return Answer(build.id, "", "", pack(built, self.paths), goods=goods)

    def share_job(
        self, work: Iterable[Build | Cell], state: RunState, until: float | None = None
    ) -> str:
        """Put what these tasks share into the store; gives its digest.

        :param until: nothing is begun once the clock says so (s since the epoch).
        """
        work = list(work)
        builds = [one for one in work if isinstance(one, Build)]
        cells = [one for one in work if isinstance(one, Cell)]
        guests = [cell for cell in cells if not cell.on_host]
        roots = {}
        for arch in dict.fromkeys(cell.build.arch for cell in guests):
            root = root_image(ARCHES[arch], self.context.cache)
            if seals.sound(self.context.cache, root):  # a damaged one is not spread
                roots[arch] = share_root(root, self.store)
        looping = sum(budget.loop_seconds(cell) > 0 for cell in guests)
        ahead = budget.Ahead(
            left=self._plan.time_budget or 0.0, cells=looping, others=len(guests) - looping,
            builds=min(1, len(builds)), at_once=1,
        )  # fmt: skip
        job = Job(
            {build.id: build for build in builds},
            {cell.id: self._to_run(cell, state, ahead) for cell in cells},
            self.kernels, self._sources, self.context.values, self.stages,
            self.context.machine.fragments, self._inputs.compiled(cells), roots, until,
        )  # fmt: skip
        return share_job(job, tuple(self._inputs.goods), self.paths, self.store)

    def _to_run(self, cell: Cell, state: RunState, ahead: budget.Ahead) -> Cell:
        """A cell as a worker is to run it: what is done of it left out, its loops stretched.

        All cells are asked for at once, so that each gets what is left for it as if they came one
        after another on one machine: a night on many is over sooner.
        """
        earlier = state.cells.get(cell.id)
        if earlier is not None:
            cell = replace(cell, done=workloads_done(earlier))
        spend = self._plan.spend_budget and self._plan.time_budget
        return budget.stretched(cell, ahead) if spend else cell

    def before(self, cell: str) -> str:
        """The digest of what the part of the run before it was cut has left of a cell."""
        folder = self.context.folder
        files = files_of(folder / cell_folder(cell)).values()
        return self.store.share({path.relative_to(folder).as_posix(): path for path in files})
