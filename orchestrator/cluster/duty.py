# SPDX-License-Identifier: GPL-2.0-only
"""What a worker does with one task: fetch what it is made of, have it done, share what came of it.

Knows nothing of who gave it the task.  What belongs to a whole run is a :class:`Job` in the store,
fetched once; a task is an :class:`Order` of a few words.
"""

from __future__ import annotations

import errno
import functools
import logging
import pickle
import secrets
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.cluster.goods import Good, Store, fetch_all, files_of
from orchestrator.cluster.parcel import Paths, pack, unpack
from orchestrator.cluster.sources import Source, fetch_trees
from orchestrator.cluster.story import Message, Story
from orchestrator.guest.root import root_image
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import using
from orchestrator.host.cache.scratch import scratch
from orchestrator.host.ending import ended_by
from orchestrator.judge.outcome import BUDGET, ENDED
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import Ended, HostError, Interrupted, LabError, UserError
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, Cell
from orchestrator.plan.selftests import collections
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues
from orchestrator.runner.stages import Stages

log = logging.getLogger("lab.cluster")

#: The names in the store: kept builds by what they are called in a cache, guests' roots by theirs.
BUILDS, ROOTS = "builds", "roots"
#: With less than that (bytes) on its disk a worker can do nothing.
_NO_ROOM = 1 << 20


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share.

    ``sources`` is what each kernel's tree is fetched as, ``compiled`` the compiled workloads of
    each architecture, ``roots`` its guests' root.  Nothing is begun once the clock says ``until``
    (s since the epoch).
    """

    builds: Mapping[str, Build]
    cells: Mapping[str, Cell]
    kernels: Mapping[str, Kernel]
    sources: Mapping[str, tuple[Source, ...]]
    values: RunValues
    stages: Stages
    fragments: Path
    compiled: Mapping[str, Good] = field(default_factory=dict)
    roots: Mapping[str, Good] = field(default_factory=dict)
    until: float | None = None


@dataclass(frozen=True)
class Order:
    """One task of a run: the build or cell called ``task``, with ``cpus`` cores.

    ``job`` is the job's digest.  Of a trial, ``trial`` is its cell, packed.  ``before`` is what an
    earlier part of the run has left of the cell in the run's folder.
    """

    store: str
    job: str
    task: str
    cpus: int
    before: str = ""
    trial: bytes = b""


@dataclass(frozen=True)
class Failure:
    """An error that a stage raised elsewhere; with ``full`` for want of room on its disk."""

    kind: str
    message: str
    hint: str = ""
    trace: str = ""
    full: bool = False

    def error(self) -> Exception:
        """The error, to be raised where the task was asked for."""
        if self.kind == "user":
            return UserError(self.message, self.hint)
        if self.kind == "host":
            return HostError(self.message, self.hint)
        log.error("on a worker: %s", self.trace)
        return RuntimeError(self.message)


@dataclass(frozen=True)
class Answer:
    """What came of a task on ``worker``.

    ``parcel`` is what the stage gave, packed; ``goods`` are files of it for the asker's cache,
    ``evidence`` those for the run's folder.  ``left`` says why it was not begun.
    """

    task: str
    worker: str
    attempt: str
    parcel: bytes = b""
    verdict: Verdict = Verdict.PASS
    goods: tuple[Good, ...] = ()
    evidence: str = ""
    failure: Failure | None = None
    events: tuple[Event, ...] = ()
    left: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Desk:
    """Where a worker works: its name, its cache, and its own way to the store, if it has one."""

    name: str
    cache: Cache
    store: str = ""


def share_job(job: Job, inputs: tuple[Good, ...], paths: Paths, store: Store) -> str:
    """Put a job into the store; gives its digest.

    :param inputs: the user's files that it names.
    """
    return store.share_bytes(pickle.dumps((inputs, pack(job, paths))))


@functools.lru_cache(4)
def _job_of(url: str, digest: str, cache: Cache) -> Job:
    seals.forget()  # once a run, as on one machine
    store = Store(url)
    inputs, packed = pickle.loads(store.read(digest))
    fetch_all(inputs, store, cache.folder)
    job: Job = unpack(packed, Paths(cache.folder))
    return job


def carry_out(
    order: Order, built: Answer | None, desk: Desk,
    send: Callable[[Message], None], gone: Callable[[], bool],
) -> Answer:  # fmt: skip
    """Do a task; what goes wrong is in the answer.

    :param built: what came of the build of a cell or a trial.
    :param send: tells the asker, and may lose what is told.
    :param gone: whether the task is to end: nobody wants it, or the run has what it ran for.
    :raises Interrupted: when this worker is being stopped: another one has to do it.
    """
    attempt, began = secrets.token_hex(8), time.monotonic()
    answer = Answer(order.task, desk.name, attempt)
    try:
        with using(desk.cache), scratch(desk.cache) as folder:
            story = Story(order.task, attempt, desk.name, folder, send, gone)
            try:
                with story, ended_by(story.ending):
                    answer = _Duty(order, built, desk, story).do(answer)
            except Ended:
                answer = replace(answer, left=ENDED)
            except Interrupted:
                raise
            except Exception as error:
                answer = replace(answer, failure=_failure(error, desk))
            return replace(answer, events=tuple(story.events), seconds=time.monotonic() - began)
    except (OSError, HostError) as error:  # not even a scratch folder
        failure = _failure(error, desk)
        return replace(answer, failure=failure, seconds=time.monotonic() - began)


def _failure(error: Exception, desk: Desk) -> Failure:
    full = _is_full(error, desk.cache)
    if full:
        log.error("worker %s: the disk of its cache %s is full", desk.name, desk.cache.folder)
    if isinstance(error, LabError):
        kind = "user" if isinstance(error, UserError) else "host"
        return Failure(kind, error.message, error.hint, full=full)
    if isinstance(error, OSError):
        return Failure("host", str(error), "is the worker's disk full?", full=full)
    return Failure("bug", f"{type(error).__name__}: {error}", trace=traceback.format_exc())


def _is_full(error: BaseException | None, cache: Cache) -> bool:
    """Whether it was for want of room: it says so, or a host's error came where there is none."""
    if isinstance(error, OSError | HostError) and shutil.disk_usage(cache.folder).free < _NO_ROOM:
        return True
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class _Duty:
    """One task while it is done."""

    def __init__(self, order: Order, built: Answer | None, desk: Desk, story: Story) -> None:
        self.order = order
        self.built = built
        self.cache = desk.cache
        self.store = Store(desk.store or order.store)
        self.job = _job_of(self.store.url, order.job, desk.cache)
        self.paths = Paths(desk.cache.folder)
        self.stages = self.job.stages
        machine = Machine(desk.cache, story.folder, self.job.fragments, ending=story.ending)
        values = replace(self.job.values, jobs=order.cpus)
        self.context = Context(values, machine, story.tell)

    def do(self, answer: Answer) -> Answer:
        """Whatever it is."""
        if self.job.until is not None and time.time() > self.job.until and not self.order.trial:
            return replace(answer, left=BUDGET)
        if self.order.trial:
            return self._try(answer, unpack(self.order.trial, self.paths))
        if self.order.task in self.job.builds:
            return self._build(answer, self.job.builds[self.order.task])
        return self._run(answer, self.job.cells[self.order.task])

    # ------------------------------------------------------------ a build

    def _build(self, answer: Answer, wanted: Build) -> Answer:
        kernel = self._kernel(wanted)
        self._fetch_tree(wanted.kernel.name)
        name = self.stages.name(wanted, kernel, self.context)
        built = find_shared(wanted, kernel, self.context, self.stages, self.store)
        if built is None:
            built = self.stages.build(wanted, kernel, self.context)
        goods = share_build(built, name, self.cache, self.store)
        packed = pack(built, self.paths)
        return replace(answer, parcel=packed, verdict=built.verdict, goods=goods)

    def _kernel(self, build: Build) -> Kernel:
        return self.job.kernels[build.kernel.name]

    def _fetch_tree(self, kernel: str) -> None:
        fetch_trees(self.job.sources.get(kernel, ()), self.cache, self.store)

    # ------------------------------------------------------------ a cell, and one case of it

    def _run(self, answer: Answer, cell: Cell) -> Answer:
        kernel = self._kernel(cell.build)
        if self.order.before:
            self.store.fetch(Good(".", self.order.before), self.context.folder)
        if cell.on_host:
            self._fetch_tree(cell.build.kernel.name)
            ran = self.stages.host(cell, kernel, self.context)
        else:
            with self._ready(cell) as built:
                ran = self.stages.run(cell, built, kernel, self.context)
        return self._with_evidence(answer, ran, ran.cell)

    def _try(self, answer: Answer, cell: Cell) -> Answer:
        (spec,) = cell.workloads
        with self._ready(cell) as built, self.stages.again(cell, built, self.context) as once:
            cases = once(spec, self.context)
        return self._with_evidence(answer, cases, cell)

    @contextmanager
    def _ready(self, cell: Cell) -> Iterator[BuildResult]:
        """What a cell is made of, fetched; what was made for it is shared afterwards."""
        assert self.built is not None
        fetch_all(self.built.goods, self.store, self.cache.folder)
        built: BuildResult = unpack(self.built.parcel, self.paths)
        if collections(cell) or cell.build.config.coverage:
            self._fetch_tree(cell.build.kernel.name)
        arch = ARCHES[cell.build.arch]
        if arch.name in self.job.compiled:
            self.store.fetch(self.job.compiled[arch.name], self.cache.folder, self.cache)
        root = root_image(arch, self.cache)
        known = self.job.roots.get(arch.name) or shared_root(root, self.store)
        # Of one recipe any will do: one that was made here is not changed for that of the client.
        if known is not None and not seals.sound(self.cache, root):
            self.store.fetch(known, self.cache.folder, self.cache)
        yield built
        if known is None and seals.sound(self.cache, root):
            share_root(root, self.store)

    def _with_evidence(self, answer: Answer, value: Any, cell: Cell) -> Answer:
        bundles = {spec.bundle for spec in cell.workloads if spec.bundle is not None}
        goods = tuple(
            Good(place, self.store.share(files_of(folder)))
            for folder in sorted(bundles)
            if (place := self.paths.told(folder))
        )
        evidence = self.store.share(files_of(self.context.folder))
        return replace(answer, parcel=pack(value, self.paths), goods=goods, evidence=evidence)


# ---------------------------------------------------------------- builds and roots by name


def find_shared(
    wanted: Build, kernel: Kernel, context: Context, stages: Stages, store: Store
) -> BuildResult | None:
    """A build that this machine's cache or the store has; None where neither does."""
    found = stages.find(wanted, kernel, context)
    if found is None:
        name = stages.name(wanted, kernel, context)
        digest = store.noted(BUILDS, name)
        if digest is not None:
            try:
                store.fetch(Good(_place(context.cache.build(name), context.cache), digest),
                            context.cache.folder)  # fmt: skip
            except HostError as error:  # it is built, and put there anew
                log.warning("the build of %s is not taken from the store: %s", wanted.id, error)
            found = stages.find(wanted, kernel, context)
    return found


def share_build(built: BuildResult, name: str, cache: Cache, store: Store) -> tuple[Good, ...]:
    """Put what a build left into the store: all of a good one, of one that failed its log."""
    if built.verdict is Verdict.PASS and built.image is not None:
        folder = built.image.parent
        digest = store.share(files_of(folder))
        store.note(BUILDS, name, digest)
        return (Good(_place(folder, cache), digest),)
    logs = [path for path in (built.log, built.kernel_config) if path and path.is_file()]
    return tuple(Good(_place(p.parent, cache), store.share({p.name: p})) for p in logs)


def shared_root(root: Path, store: Store) -> Good | None:
    """The root image of that name, if the store has one."""
    digest = store.noted(ROOTS, root.name)
    return Good(root.parent.name, digest) if digest else None


def share_root(root: Path, store: Store) -> Good:
    """Put a root image into the store."""
    good = Good(root.parent.name, store.share({root.name: root}))
    store.note(ROOTS, root.name, good.digest)
    return good


def _place(folder: Path, cache: Cache) -> str:
    return folder.relative_to(cache.folder).as_posix()
