# SPDX-License-Identifier: GPL-2.0-only
"""What a worker tells while it is at work: events, and the logs of a guest as they grow.

A task may be begun more than once, on other workers, since one may be lost: what is told carries
the attempt, and only the last one counts.  What got lost on the way comes with the answer.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.runner.context import Event, Listener

log = logging.getLogger("lab.cluster")

#: How often a worker looks whether logs have grown, and its task is still wanted (s).
PERIOD = 1.0
#: The most of one log that is sent at a time (bytes): a console that floods must not fill the
#: scheduler; all of it comes with the answer.
CHUNK = 1 << 16
_LOGS = ("console*.log", "*.ktap", "*.samples")

#: What is sent: its kind, the task, the attempt, and three values that the kind says.
Message = tuple[str, str, str, Any, Any, Any]
BEGAN, EVENT, FILE = "began", "event", "file"


class Story:
    """One attempt of a task, told while it goes on; ``events`` is all that was told of it.

    :param send: sends a message to whoever asked for the task; may lose it.
    :param gone: whether nobody wants the task any more.
    """

    def __init__(
        self, task: str, attempt: str, worker: str, folder: Path,
        send: Callable[[Message], None], gone: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.task = task
        self.attempt = attempt
        self.folder = folder
        self.ending = threading.Event()  # set once nobody wants it
        self.events: list[Event] = []
        self._send = send
        self._gone = gone
        self._sent: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._beside = threading.Thread(target=self._watch, name=f"story {task}", daemon=True)
        self._say(BEGAN, worker)

    def __enter__(self) -> Story:
        self._beside.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beside.join(10 * PERIOD)

    def tell(self, event: Event) -> None:
        """Tell an event; the stages' listener."""
        with self._lock:
            self.events.append(event)
            self._say(EVENT, len(self.events), pickle.dumps(event))

    def _say(self, kind: str, *values: Any) -> None:
        one, two, three = (*values, None, None, None)[:3]
        with contextlib.suppress(Exception):  # told again with the answer
            self._send((kind, self.task, self.attempt, one, two, three))

    def _watch(self) -> None:
        while not self._over.wait(PERIOD):
            with contextlib.suppress(Exception):
                if self._gone():
                    self.ending.set()
            with contextlib.suppress(OSError):
                self._grown()

    def _grown(self) -> None:
        for path in (path for pattern in _LOGS for path in self.folder.rglob(pattern)):
            at = self._sent.get(path, 0)
            with path.open("rb") as file:
                file.seek(at)
                data = file.read(CHUNK)
            if data:
                self._sent[path] = at + len(data)
                self._say(FILE, path.relative_to(self.folder).as_posix(), at, data)


@dataclass
class _Heard:
    """What was heard of a task: its attempt and who is at it, its events by number, its cases."""

    attempt: str = ""
    worker: str = ""
    told: set[int] = field(default_factory=set)
    over: bool = False
    cases: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)


class Ear:
    """The other end: events go to a listener, logs into a run's folder; for any threads.

    :param kinds: of each task, what an event tells of it as (:class:`.Event`).
    """

    def __init__(self, listener: Listener, folder: Path, kinds: dict[str, str]) -> None:
        self._listener = listener
        self._folder = folder
        self._kinds = kinds
        self._heard: dict[str, _Heard] = {}
        self._lock = threading.RLock()

    def hear(self, message: Message) -> None:
        """Take a message, unless it is of an attempt that is over or was lost."""
        kind, task, attempt, *values = message
        with self._lock:
            heard = self._heard.setdefault(task, _Heard())
            if heard.over or task not in self._kinds:
                return
            if kind == BEGAN:
                self._begin(task, heard, attempt, str(values[0]))
            elif attempt != heard.attempt:
                return
            elif kind == EVENT:
                self._told(heard, values[0], pickle.loads(values[1]))
            elif kind == FILE:
                self._grow(str(values[0]), int(values[1]), bytes(values[2]))

    def over(self, task: str, attempt: str, events: tuple[Event, ...]) -> tuple[str, ...]:
        """A task is over: tell what was not heard of it; gives the workers that were lost with it.

        Nothing is heard of it any more.
        """
        with self._lock:
            heard = self._heard.setdefault(task, _Heard())
            if heard.attempt != attempt:  # it began, and nothing was heard of that
                heard.told = set()
            for number, event in enumerate(events, 1):
                self._told(heard, number, event)
            heard.over = True
            return tuple(heard.lost)

    def scheduler_lost(self) -> None:
        """All that was under way will be begun again."""
        with self._lock:
            for heard in self._heard.values():
                if not heard.over:
                    heard.attempt = ""

    def _begin(self, task: str, heard: _Heard, attempt: str, worker: str) -> None:
        if heard.attempt:
            heard.lost.append(heard.worker)
            text = f"worker {heard.worker} was lost with it: begun again on {worker}"
            self._listener(Event(self._kinds[task], task, "again", text))
        heard.attempt, heard.worker, heard.told = attempt, worker, set()

    def _told(self, heard: _Heard, number: int, event: Event) -> None:
        if number in heard.told:
            return
        heard.told.add(number)
        if event.case is not None:
            if event.id in heard.cases:  # an attempt that was lost had told it
                return
            heard.cases.add(event.id)
        self._listener(event)

    def _grow(self, name: str, at: int, data: bytes) -> None:
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            log.error("a worker sent %r, which is not in the run's folder", name)
            return
        with contextlib.suppress(OSError):  # a full disk costs the view, and is told at the end
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if at and path.exists() else "wb") as file:
                file.seek(at)
                file.write(data)


def forget(folder: Path) -> None:
    """Remove what was shown of an attempt, since all of it is there now."""
    shutil.rmtree(folder, ignore_errors=True)
