# SPDX-License-Identifier: GPL-2.0-only
"""What regressed tried again on workers: each trial is a task of its own, with a guest of its own.

On one machine a guest stands ready for all trials of a cell; a task that keeps one would have to be
made again with its worker's loss, and the trials after it be sent to that worker.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from orchestrator.cluster.duty import Answer, Order
from orchestrator.cluster.goods import Good
from orchestrator.cluster.materials import Materials
from orchestrator.cluster.offers import CPUS, asked
from orchestrator.cluster.parcel import pack, unpack
from orchestrator.cluster.remote import Link
from orchestrator.host import process
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Cell, WorkloadSpec
from orchestrator.plan.graph import needs_of
from orchestrator.runner.context import Context
from orchestrator.runner.standing import Once

Offers = Mapping[str, Mapping[str, float]]


@contextlib.contextmanager
def trials(
    cell: Cell, answer: Answer, job: str, kvm: bool, materials: Materials, link: Link,
    workers: Callable[[Link], Offers],
) -> Iterator[Once]:  # fmt: skip
    """Trials of a cell's workloads, for the length of a with block.

    :param answer: what its build came to.
    :param workers: gives the workers, and waits for the first.
    """

    def once(spec: WorkloadSpec, at: Context) -> tuple[CaseResult, ...]:
        name = f"{cell.id}:{spec.name}:{secrets.token_hex(4)}"
        packed = pack(replace(cell, workloads=(spec,)), materials.paths)
        wanted = asked(needs_of(cell, kvm=kvm), workers(link).values())
        cpus = int(wanted.get(CPUS, 1))
        order = Order(materials.store.url, job, name, cpus, trial=packed)
        done = threading.Event()
        link.submit(order, answer, wanted, 0, lambda _: done.set())
        while not done.wait(1.0):
            process.sleep(0.0)  # Ctrl-C
            workers(link)
        found = link.answer(name)
        link.release(name)
        assert found is not None  # nobody else knows of it
        if found.failure is not None:
            raise found.failure.error()
        materials.store.fetch(Good(".", found.evidence), at.folder)
        cases: tuple[CaseResult, ...] = unpack(found.parcel, materials.paths)
        return cases

    yield once
