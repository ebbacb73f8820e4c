# SPDX-License-Identifier: GPL-2.0-only
"""When a guest is worth a look because a call in its kernel does not come to its end.

The sampler in the guest tells of calls that last (guest-tests/agent/stuckwatch.h); where it says
nothing any more, no task gets to run.  What the guest had no CPU for does not count.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.host.starved import HostTime

#: No call is suspected that has lasted for less, in seconds of the guest's own time.
LEAST = 10.0
#: After looks that proved nothing the next ones come so many times later.
LATER = 2.0
_LINE = b'{"stuck":'
# A line that is older is no news: the sampler repeats it each second, on a busy guest less often.
_FRESH = 5.0
_EACH = 0.5


@dataclass(frozen=True)
class Suspicion:
    """What does not get on: ``tid`` for so many ``seconds`` of the guest's; 0: no task at all."""

    tid: int
    state: str
    seconds: float
    wchan: str = ""

    @property
    def told(self) -> str:
        """In words."""
        if not self.tid:
            return f"nothing was heard of the guest for {self.seconds:.0f} s"
        if self.state == "D":
            where = f" in {self.wchan}" if self.wchan.strip("0") else ""
            return f"task {self.tid} slept{where} for {self.seconds:.0f} s"
        return f"one call of task {self.tid} burnt {self.seconds:.0f} s"


def limit(longest_call: float, slowness: float) -> float:
    """Seconds of a guest's own time for which one call may last there."""
    return max(LEAST, longest_call * slowness)


class Suspicions:
    """What speaks for a stuck kernel; times are of :func:`time.monotonic`.

    :param most: seconds that a call may last, see :func:`limit`.
    """

    def __init__(self, now: float, most: float) -> None:
        self.limit = most
        self._heard = now
        self._had: deque[tuple[float, HostTime]] = deque(maxlen=2048)
        self._told: dict[str, tuple[float, Suspicion]] = {}
        self._patience = 1.0

    def hear(self, stderr: bytes | bytearray, now: float) -> None:
        """Take in what came from the guest, of which ``stderr`` is all that the sampler said."""
        self._heard = now
        last: dict[str, Suspicion] = {}
        for line in bytes(stderr[-4096:]).split(b"\n")[:-1]:
            if line.startswith(_LINE) and (found := _parsed(line)) and found.tid:
                last[found.state] = found
        for state, found in last.items():
            if state not in self._told or self._told[state][1] != found:
                self._told[state] = (now, found)

    def due(self, now: float, host_time: Callable[[], HostTime]) -> Suspicion | None:
        """What is worth a look by now, the longest first; asked often, it answers twice a second.

        :param host_time: gives what the guest has had of the host's CPUs so far.
        """
        if self._had and now - self._had[-1][0] < _EACH:
            return None
        had = host_time()
        self._had.append((now, had))
        suspects = [s for when, s in self._told.values() if now - when < _FRESH + s.seconds / 4]
        suspects.append(Suspicion(0, "", now - self._heard))
        for one in sorted(suspects, key=lambda s: -s.seconds):
            own = had.own(one.seconds, self._had_at(now - one.seconds))
            if own >= self.limit * self._patience:
                return one
        return None

    def unproven(self) -> None:
        """Looks proved nothing: it may be a long call."""
        self._patience *= LATER

    def _had_at(self, when: float) -> HostTime:
        """What it had had by a time; the next that is known."""
        return next((had for at, had in self._had if at >= when), self._had[-1][1])


def _parsed(line: bytes) -> Suspicion | None:
    try:
        record = {"state": "", "seconds": 0.0, **json.loads(line)}
        return Suspicion(
            int(record["stuck"]), str(record["state"]), float(record["seconds"]),
            str(record.get("wchan", "")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
