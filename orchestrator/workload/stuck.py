# SPDX-License-Identifier: GPL-2.0-only
"""Look at a guest that is suspected to be stuck in its kernel, several times, and have it judged.

Where CPUs stand is asked of QEMU, which tasks sleep of the kernel itself over its console: both
work in a guest that answers nobody, and neither harms one that only has a long call to do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.evidence import stuck
from orchestrator.evidence.blocked import blocked_tasks
from orchestrator.guest.boot import Guest
from orchestrator.guest.dump import Symbols
from orchestrator.guest.looks import look
from orchestrator.host import process
from orchestrator.model.errors import HostError
from orchestrator.model.evidence import GuestEnd, Hit, Look
from orchestrator.workload.suspicion import Suspicion

#: Between two looks, in seconds of the guest's own time; and how many there are at most, since a
#: task that is stuck may not be on a CPU at each.
SPACING = 1.0
MOST = 8
#: For one look, and for the kernel to list its blocked tasks on a serial console.
LOOK = 10.0
LISTING = 2.0
_BLOCKED = "w"


@dataclass(frozen=True)
class Prover:
    """What can prove that a guest is stuck; ``symbols`` are its kernel's, read when needed.

    ``limit`` is for how many seconds a call may last in this guest (:func:`.suspicion.limit`).
    """

    guest: Guest
    symbols: Callable[[], Symbols]
    limit: float

    def prove(self, suspicion: Suspicion) -> Hit | None:
        """Look, and give what is proved, or None; takes five seconds or little more.

        Does not raise for a guest or a QEMU in whatever state.
        """
        try:
            return self._prove(suspicion)
        except HostError:
            return None

    def prove_silent(self, heard: float) -> Hit | None:
        """The same of a guest that answers nobody, and was heard last at that time: not if that
        is no longer ago than a call may last."""
        silent = time.monotonic() - heard
        return self.prove(Suspicion(0, "", silent)) if silent >= self.limit else None

    def _prove(self, suspicion: Suspicion) -> Hit | None:
        guest = self.guest
        symbols = self.symbols()
        if not symbols.addresses:
            return None
        start, began = guest.console_size(), time.monotonic()
        looks: list[Look] = []
        answers = self._list_blocked()
        while len(looks) < MOST and guest.state() is GuestEnd.ALIVE:
            if looks:
                self._wait()
            now = time.monotonic()
            folder = guest.request.folder
            looks.append(
                look(guest.qemu, guest.request.arch, symbols, folder, now + LOOK, now - began)
            )
            if len(looks) >= stuck.SIGHTINGS:
                found = stuck.judge(looks, (), suspicion.told)
                if found or not stuck.somebody_runs(looks):
                    break
        if answers:
            self._list_blocked()
        if guest.state() is not GuestEnd.ALIVE:
            return None  # it has gone down meanwhile, and says itself why
        console = guest.console_bytes(start).decode(errors="replace")
        return stuck.judge(looks, blocked_tasks(console), suspicion.told)

    def _list_blocked(self) -> bool:
        """Have the kernel list them; a kernel that takes no interrupts does not: whether it did."""
        guest = self.guest
        start = size = guest.console_size()
        with contextlib.suppress(HostError):
            guest.qemu.sysrq(_BLOCKED)
            since = time.monotonic()
            until = since + LISTING * min(guest.slowness, 2.0)
            while time.monotonic() < until and (size == start or time.monotonic() - since < 0.5):
                if guest.console_size() != size:
                    size, since = guest.console_size(), time.monotonic()
                process.sleep(0.02)
        return size != start

    def _wait(self) -> None:
        """Until the guest has had so much time, or cannot get it."""
        began, before = time.monotonic(), self.guest.qemu.host_time()
        own = 0.0
        while own < SPACING:
            process.sleep(0.1)
            own = self.guest.qemu.host_time().own(time.monotonic() - began, before)
