# SPDX-License-Identifier: GPL-2.0-only
"""The machine's cores as tokens, and its memory: what builds and guests may take of them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.model.errors import Interrupted

Ticket = tuple[int, int]
# Builds queue behind every cell that can already run.
BUILD_RANK = 1_000_000
# MiB that stay free when a further guest is started.
SPARE_MIB = 1024


class Cores:
    """The machine's cores as tokens.  Cells go before builds: an early answer counts."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._tickets = 0
        self._stopped = False

    def queue(self, rank: int) -> Ticket:
        """Take a place in the queue; lower ranks go first, equal ones as they came."""
        with self._changed:
            self._tickets += 1
            ticket = (rank, self._tickets)
            self._waiting.append(ticket)
            return ticket

    @contextlib.contextmanager
    def hold(self, wanted: int, ticket: Ticket) -> Iterator[int]:
        """Hold ``wanted`` cores (at most all) for a with block, when the ticket's turn has come.

        :raises Interrupted: when :meth:`stop` was called.
        """
        number = max(1, min(wanted, self.count))
        with self._changed:
            try:
                while not self._stopped and (min(self._waiting) != ticket or self._free < number):
                    self._changed.wait()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            if self._stopped:
                raise Interrupted("interrupted")
            self._free -= number
        try:
            yield number
        finally:
            with self._changed:
                self._free += number
                self._changed.notify_all()

    @contextlib.contextmanager
    def spare(self, wanted: int) -> Iterator[bool]:
        """Hold ``wanted`` cores for a with block if they are free and nobody waits for any."""
        with self._changed:
            got = not self._stopped and not self._waiting and self._free >= wanted
            if got:
                self._free -= wanted
        try:
            yield got
        finally:
            if got:
                with self._changed:
                    self._free += wanted
                    self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody in any more and wake all who wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def memory_for(mib: int) -> bool:
    """Whether the host has memory for another guest of so many MiB, and some to spare."""
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return found is not None and int(found[1]) >> 10 > mib + SPARE_MIB
