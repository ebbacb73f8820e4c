# SPDX-License-Identifier: GPL-2.0-only
"""Whether a workload still gets on: what it printed, and the pages that the sampler saw it have.

A program that is slow because its machine is, and one that hangs, are alike by the clock alone.
"""

from __future__ import annotations

#: So long (seconds, of a fast guest) after it last moved a workload is taken to stand still.
QUIET = 5.0
#: One that still moves has so many times its limit.
MOST = 3.0
_SAMPLE = b'{"t":'


class Pulse:
    """When something of a workload last moved; ``now`` is of :func:`time.monotonic`."""

    def __init__(self, now: float) -> None:
        self.moved = now
        self._said = 0
        self._pages = b""

    def look(self, stdout: bytes | bytearray, stderr: bytes | bytearray, now: float) -> None:
        """See what it has printed so far, and the sampler of it."""
        pages = _pages(stderr)
        if len(stdout) != self._said or (pages and pages != self._pages):
            self.moved = now
            self._said, self._pages = len(stdout), pages or self._pages

    def gets_on(self, now: float, slowness: float) -> bool:
        """Whether it moved of late.

        :param slowness: how many times slower than a fast guest this one is.
        """
        return now - self.moved <= QUIET * slowness


def _pages(stderr: bytes | bytearray) -> bytes:
    """The values of the last whole sample without its time; empty where there is none."""
    for line in reversed(bytes(stderr[-4096:]).split(b"\n")[:-1]):
        if line.startswith(_SAMPLE):
            return line.partition(b",")[2]
    return b""
