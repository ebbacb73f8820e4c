# SPDX-License-Identifier: GPL-2.0-only
"""Dask distributed: the scheduler, a worker, and a client's link to them; its only importer.

Who does what and when, what a lost worker was at, retries and resources are Dask's.  It keeps
nothing on disk: who asked for tasks asks again when a scheduler was restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cluster import duty
from orchestrator.cluster.duty import Answer, Desk, Order
from orchestrator.cluster.offers import Resources, offered
from orchestrator.cluster.story import Message
from orchestrator.cluster.tls import CA, CERT, KEY, Address, check_folder
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import using
from orchestrator.model.errors import EXIT_HOST, EXIT_OK, HostError, Interrupted, LabError
from orchestrator.runner.context import cache_folder

if TYPE_CHECKING:
    from distributed.security import Security

log = logging.getLogger("lab.cluster")

#: A worker that says nothing for so long is given up, and its tasks are another's (s).
SILENCE = 60.0
#: How often a task may be lost with its worker until it is given up: it may be what kills them.
LOSSES = 4
#: How long a client and a worker wait for a scheduler (s).
PATIENCE = 300.0
_CONNECT = 10.0
_SETTINGS = {
    # A port that shows the run to whoever asks is not opened; the loopback's has no pages.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.worker-ttl": f"{SILENCE:.0f}s",
    "distributed.scheduler.allowed-failures": LOSSES - 1,
    "distributed.comm.timeouts.connect": f"{_CONNECT:.0f}s",
    # Guests' memory is not the worker's own, and what it keeps of answers is small.
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.tick.limit": "30s",
}
_NO_PAGES = "127.0.0.1:0"


def _dask() -> Any:
    """The library, set up.

    :raises HostError: where it is not installed.
    """
    try:
        import dask

        dask.config.set({"logging": {"distributed": "warning"}})  # read when it is imported
        import distributed
    except ImportError as error:
        raise HostError(f"a cluster needs Dask: {error}",
                        "pip install 'mm-lab[cluster]'") from error  # fmt: skip
    dask.config.set(_SETTINGS)
    return distributed


def security(tls: Path | None) -> Security | None:
    """Dask's settings for TLS on all connections, from the folder with a node's certificates."""
    distributed = _dask()
    if tls is None:
        return None
    check_folder(tls)
    names = {"tls_ca_file": str(tls / CA)}
    for role in ("client", "scheduler", "worker"):
        names |= {f"tls_{role}_cert": str(tls / CERT), f"tls_{role}_key": str(tls / KEY)}
    made: Security = distributed.Security(require_encryption=True, tls_min_version=0x0303, **names)
    return made


# ---------------------------------------------------------------- scheduler and worker


def serve_scheduler(address: Address, tls: Path | None, say: Callable[[str], None]) -> int:
    """Be a scheduler until SIGINT or SIGTERM; gives the exit status.

    :raises HostError: when the address cannot be listened on.
    """
    distributed = _dask()

    async def serve() -> None:
        scheduler = distributed.Scheduler(
            host=address.host, port=address.port, protocol=address.scheme,
            security=security(tls if address.scheme == "tls" else None),
            dashboard=False, dashboard_address=_NO_PAGES,
        )  # fmt: skip
        async with scheduler:
            say(f"scheduler: {scheduler.address}")
            await _until_signalled(scheduler.finished())

    try:
        asyncio.run(serve())
    except OSError as error:
        told = f"cannot listen on {address.url}: {error.strerror or error}"
        raise HostError(told, "is another scheduler there?") from error
    return EXIT_OK


async def _until_signalled(other: Any) -> bool:
    """Wait for SIGINT or SIGTERM, or for ``other``; whether it was a signal."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    tasks = [asyncio.ensure_future(asked.wait()), asyncio.ensure_future(other)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return asked.is_set()


@dataclass(frozen=True)
class WorkerOptions:
    """A worker's own: its name (default: the host's and its process'), cores, way to the store.

    ``patience`` is how long it waits for a scheduler (s), each time anew.
    """

    name: str = ""
    cores: int | None = None
    store: str = ""
    patience: float = PATIENCE


def serve_worker(
    address: Address, tls: Path | None, cache: Cache, options: WorkerOptions,
    say: Callable[[str], None],
) -> int:  # fmt: skip
    """Be a worker until SIGINT or SIGTERM; gives the exit status.

    When the scheduler is lost, or has given this worker up, whatever it is at is nobody's any more:
    it begins anew as another process, and with the old one end all its guests.

    :raises HostError: when it can run nothing, or no scheduler answers in time.
    """
    distributed = _dask()
    offers = offered(cache, options.cores)
    name = options.name or f"{os.uname().nodename}-{os.getpid()}"

    async def serve() -> bool:
        worker = distributed.Worker(
            address.url, name=name, nthreads=int(offers["cpus"]) + 1, resources=offers,
            host="127.0.0.1" if address.scheme == "tcp" else None, memory_limit=0,
            dashboard=False, dashboard_address=_NO_PAGES, death_timeout=options.patience,
            security=security(tls if address.scheme == "tls" else None),
            local_directory=str(process.temp_folder()),
        )  # fmt: skip
        worker.lab_desk = Desk(name, cache, options.store)
        async with worker:
            say(f"worker {name}: " + ", ".join(f"{k} {v:.0f}" for k, v in offers.items()))
            signalled = await _until_signalled(worker.finished())
            if signalled:
                process.cancel()  # what is under way is rescheduled, and its guests end
                with contextlib.suppress(Exception):
                    await worker.close(timeout=5, reason="signalled")
            return signalled

    with using(cache):
        try:
            signalled = asyncio.run(serve())
        except (OSError, TimeoutError, RuntimeError) as error:
            raise HostError(f"no scheduler at {address.url}: {error}",
                            "start it with `lab cluster scheduler`") from error  # fmt: skip
    if signalled:
        # Threads of tasks may wait for what was ended: nothing is left to be done for them.
        sys.stdout.flush()
        os._exit(EXIT_OK)
    say(f"worker {name}: the scheduler is gone, or gave it up; it begins anew")
    sys.stdout.flush()
    sys.stderr.flush()
    process.cancel()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return EXIT_HOST


# ---------------------------------------------------------------- on a worker

_ended_jobs: set[str] = set()


def _end_job(job: str) -> None:
    """Nothing more of a run is begun here, and what is under way ends."""
    _ended_jobs.add(job)


def _work(order: Order, built: Answer | None, topic: str) -> Answer:
    """What Dask has a worker do."""
    from distributed import Reschedule, get_worker

    worker = get_worker()
    key = worker.get_current_task()
    desk = getattr(worker, "lab_desk", None) or Desk(str(worker.name), cache_folder())

    def send(message: Message) -> None:
        worker.log_event(topic, list(message))

    def gone() -> bool:
        task = worker.state.tasks.get(key)
        wanted = task is not None and task.state in ("executing", "long-running")
        return not wanted or (order.job in _ended_jobs and not order.trial)

    try:
        return duty.carry_out(order, built, desk, send, gone)
    except Interrupted as error:
        raise Reschedule from error


# ---------------------------------------------------------------- the client's link


class Lost(LabError):
    """The scheduler is gone, and with it all that it was asked for."""


@dataclass
class Link:
    """A client's connection to a scheduler; use :func:`linked`."""

    client: Any
    address: Address
    topic: str
    futures: dict[str, Any] = field(default_factory=dict)

    def submit(
        self, order: Order, built: Answer | None, wanted: Resources, priority: int,
        done: Callable[[str], None], but: Collection[str] = (),
    ) -> None:  # fmt: skip
        """Ask for a task; ``done`` is told, in any thread, when there is an answer or never one.

        :param built: what came of the build that it is for.
        :param priority: the larger is done first.
        :param but: workers that are not to do it; more of them than when it was asked for before.
        """
        task = order.task
        # Dask learns from the name's beginning how long such tasks take.
        kind = "trial" if order.trial else "build" if built is None else "cell"
        again = f"+{len(but)}" if but else ""  # what was answered under a name is not done again
        future = self.client.submit(
            _work, order, built, self.topic, key=f"{kind}-{order.job[:8]}/{task}{again}",
            resources=dict(wanted), priority=priority, pure=False,
            workers=[at for name, at in self._places().items() if name not in but] if but else None,
        )  # fmt: skip
        self.futures[task] = future
        future.add_done_callback(lambda _: done(task))

    def answer(self, task: str) -> Answer | None:
        """What came of a task that is done; None where nobody wants to know any more.

        :raises Lost: when the scheduler was.
        :raises HostError: when the task was lost with one worker after another.
        """
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        future = self.futures.get(task)
        if future is None:
            return None
        try:
            answer: Answer = future.result(timeout=SILENCE)
            return answer
        except KilledWorker as error:
            raise HostError(
                f"{LOSSES} workers were lost with it, one after another, the last "
                f"{error.last_worker.name}", "see their logs: memory? disk?",
            ) from error  # fmt: skip
        except (FutureCancelledError, asyncio.CancelledError, OSError, TimeoutError) as error:
            if task not in self.futures:
                return None
            raise Lost("the scheduler was lost") from error

    def release(self, task: str) -> None:
        """The answer was read."""
        future = self.futures.pop(task, None)
        if future is not None:
            future.release()

    def forget(self, task: str) -> None:
        """Nobody wants a task any more; one that is under way ends."""
        future = self.futures.pop(task, None)
        if future is not None:
            with contextlib.suppress(Exception):
                future.cancel(reason="not wanted any more")

    def offers(self, but: Collection[str] = ()) -> Mapping[str, Resources]:
        """The workers that there are, and what each offers when nothing is under way.

        :param but: names of those that do not count.
        :raises Lost: when the scheduler was.
        """
        if self.client.status != "running":
            raise Lost("the scheduler was lost")
        try:
            found = self.client.scheduler_info(n_workers=-1)["workers"]
        except Exception as error:
            raise Lost(f"the scheduler was lost: {error}") from error
        offers = {str(one["name"]): one["resources"] for one in found.values()}
        return {name: one for name, one in offers.items() if one and name not in but}

    def _places(self) -> Mapping[str, str]:
        """The workers' addresses by their names."""
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        return {str(one["name"]): address for address, one in found.items()}

    def end(self, job: str) -> None:
        """Nothing more of a run is begun anywhere."""
        with contextlib.suppress(Exception):
            self.client.run(_end_job, job)


@contextlib.contextmanager
def linked(
    address: Address, tls: Path | None, topic: str, hear: Callable[[Message], None],
    patience: float = PATIENCE,
) -> Iterator[Link]:  # fmt: skip
    """Be a client for a with block; whatever it asked for and still runs ends with it.

    :param hear: told, in a thread of its own, what workers send under ``topic``.
    :raises HostError: when no scheduler answers within ``patience`` s.
    """
    distributed = _dask()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the run tells what it means
    secured = security(tls if address.scheme == "tls" else None)
    until = time.monotonic() + patience
    while True:
        try:
            client = distributed.Client(
                address.url, security=secured, set_as_default=False, timeout=_CONNECT,
                direct_to_workers=False,
            )  # fmt: skip
            break
        except (OSError, TimeoutError) as error:
            if time.monotonic() > until:
                raise HostError(f"no scheduler answers at {address.url}: {error}",
                                "start it with `lab cluster scheduler`") from error  # fmt: skip
            process.sleep(1.0)
    try:
        client.subscribe_topic(topic, lambda event: hear(tuple(event[1])))
        yield Link(client, address, topic)
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=_CONNECT)
