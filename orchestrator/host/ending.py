# SPDX-License-Identifier: GPL-2.0-only
"""What a thread waits for, ended from another one while the lab itself goes on.

Interrupting the lab (:func:`.process.cancel`) is for good: nothing can be started afterwards.  A
run that ends early still has logs to read, traces to look up and reports to write.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from orchestrator.model.errors import Ended

_here = threading.local()


@contextlib.contextmanager
def ended_by(event: threading.Event | None) -> Iterator[None]:
    """Within a with block, what this thread waits for and runs ends once ``event`` is set.

    Other threads are not meant, also those that it starts.

    :param event: None where a part of such a block is to be done whatever comes.
    :raises Ended: by what waits there, and at the block's begin where it is set already.
    """
    before = getattr(_here, "event", None)
    _here.event = event
    try:
        refuse_ended()
        yield
    finally:
        _here.event = before


def is_ended() -> bool:
    """Whether what this thread does is to end."""
    event: threading.Event | None = getattr(_here, "event", None)
    return event is not None and event.is_set()


def refuse_ended() -> None:
    """Do nothing while this thread may go on.

    :raises Ended: when it may not.
    """
    if is_ended():
        raise Ended("ended early: the run has what it ran for")
