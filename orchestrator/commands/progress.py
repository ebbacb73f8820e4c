# SPDX-License-Identifier: GPL-2.0-only
"""Show a run while it goes on: a live view on a terminal, dated lines in CI, JSON for scripts."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from orchestrator.commands.tally import Durations, Tally
from orchestrator.model.errors import LabError
from orchestrator.model.spec import Plan
from orchestrator.report.text import first_line, printable
from orchestrator.runner.context import Event, Listener, nobody
from orchestrator.runner.foreseeing import Foreseeing, said

log = logging.getLogger("lab.progress")

# A compile reports thousands of files: plain lines come at most this often (s) for each build.
PLAIN_INTERVAL = 30.0


@contextlib.contextmanager
def listener(
    plan: Plan, how: str, stream: TextIO, history: Path | None = None
) -> Iterator[Listener]:
    """Give a listener for events.

    :param how: ``live``, ``plain``, ``json`` or ``quiet``; see :func:`choose`.
    :param history: the history of earlier runs, for the time left in a live view.
    """
    if how == "json":
        yield Foreseeing(plan, _Json(stream))
    elif how == "live":
        from orchestrator.commands.live import view

        with view(Tally(plan, _durations(history)), stream) as live:
            yield Foreseeing(plan, live)
    elif how == "quiet":
        yield nobody
    else:
        yield Foreseeing(plan, _Plain(stream))


def choose(plain: bool, as_json: bool, stream: TextIO, quiet: bool = False) -> str:
    """How to show progress: as asked, else live where there is a terminal."""
    if as_json:
        return "json"
    if quiet:
        return "quiet"
    return "live" if stream.isatty() and not plain else "plain"


def _durations(history: Path | None) -> Durations:
    """What workloads took in earlier runs; a history that cannot be read is no reason to stop."""
    if history is None:
        return {}
    from orchestrator.results.history import workload_seconds

    try:
        return workload_seconds(history)
    except LabError as error:
        log.warning("no time left is told: %s", error.message)
        return {}


class _Json:
    """One event a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        event = replace(event, case=None)  # results.json has it
        filled = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        if event.verdict:
            filled["verdict"] = event.verdict.value
        line = json.dumps({"event": filled.pop("kind"), "time": _now(), **filled})
        with self._lock:
            _write(self._stream, line)


class _Plain:
    """Dated lines for a log file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._texts: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            if self._dull(event):
                return
            percent = f" {event.share:4.0%}" if event.share and event.stage == "compile" else ""
            word, _, more = said(event).partition(" ")
            verdict = f" {word.upper()}" + (f" {more}" if more else "") if word else ""
            took = f" ({event.seconds:.1f} s)" if event.seconds and event.verdict else ""
            text = f": {first_line(event.text)}" if event.text else ""
            stage = "" if event.verdict else f" {event.stage}"
            line = f"{_now()} {event.kind} {event.id}{stage}{percent}{verdict}{text}{took}"
            _write(self._stream, printable(line))

    def _dull(self, event: Event) -> bool:
        if event.verdict or event.stage in ("done", "wait", "apply"):
            return False
        key = f"{event.kind} {event.id} {event.stage}"
        if event.stage == "compile":
            now = time.monotonic()
            if now - self._last.get(key, -PLAIN_INTERVAL) < PLAIN_INTERVAL:
                return True
            self._last[key] = now
            return False
        if event.kind == "cell" and event.stage == "run":
            # The workload's name once; its cases come as events of their own.
            text = event.text.partition(":")[0]
            if self._texts.get(key) == text:
                return True
            self._texts[key] = text
            return False
        if self._texts.get(key) == event.text:
            return True
        self._texts[key] = event.text
        return False


def _write(stream: TextIO, line: str) -> None:
    """Write a line; a reader who went away, or an old terminal's character set, ends no run."""
    with contextlib.suppress(OSError, ValueError):
        try:
            stream.write(line + "\n")
        except UnicodeEncodeError:
            stream.write(line.encode("ascii", "backslashreplace").decode() + "\n")
        stream.flush()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
