# SPDX-License-Identifier: GPL-2.0-only
"""Show a run while it goes on: a live view on a terminal, dated lines in CI, JSON for scripts.

Whether lab.yaml foresees a failure is decided when it is told and not only at the run's end.  That
is a help to who watches; what counts is settled at the end of the run, on all of its records: an
expectation that nothing met, or what followed from a known panic, shows only there.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TextIO

from orchestrator.judge.expectations import apply_expectations
from orchestrator.judge.known_issues import excused, mark
from orchestrator.model.names import BUILD, CaseId, CellId, Verdict
from orchestrator.model.results import CaseResult
from orchestrator.model.spec import Plan
from orchestrator.runner.context import Event, Listener

# A compile reports thousands of files: plain lines come at most this often (s) for each build.
PLAIN_INTERVAL = 30.0
_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "yellow",
    Verdict.ERROR: "bold magenta",
}


EXPECTED = "expected"
KNOWN = "known issue"


@contextlib.contextmanager
def listener(plan: Plan, how: str, stream: TextIO) -> Iterator[Listener]:
    """Give a listener for events.

    :param how: ``live``, ``plain`` or ``json``; see :func:`choose`.
    """
    if how == "json":
        yield Foreseeing(plan, _Json(stream))
    elif how == "live":
        with _live(plan, stream) as live:
            yield Foreseeing(plan, live)
    else:
        yield Foreseeing(plan, _Plain(stream))


def choose(plain: bool, as_json: bool, stream: TextIO) -> str:
    """How to show progress: as asked, else live where there is a terminal."""
    if as_json:
        return "json"
    return "live" if stream.isatty() and not plain else "plain"


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
            verdict = f" {event.verdict.value.upper()}" if event.verdict else ""
            verdict += f" ({event.foreseen})" if event.foreseen else ""
            took = f" ({event.seconds:.1f} s)" if event.seconds and event.verdict else ""
            text = f": {_first_line(event.text)}" if event.text else ""
            stage = "" if event.verdict else f" {event.stage}"
            line = f"{_now()} {event.kind} {event.id}{stage}{percent}{verdict}{text}{took}"
            _write(self._stream, _printable(line))

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


@contextlib.contextmanager
def _live(plan: Plan, stream: TextIO) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream, highlight=False)
    width = max((len(cell.id) for cell in plan.cells), default=20)
    bars = Progress(
        SpinnerColumn(),
        TextColumn(f"{{task.fields[name]:<{width}}}", markup=False),
        BarColumn(bar_width=18),
        TimeElapsedColumn(),
        # A guest's words are no markup: rich would stumble over "[/dev/vdb]".
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
    )
    lock = threading.Lock()
    tasks: dict[str, Any] = {}

    def tell(event: Event) -> None:
        with lock:
            if event.kind == "case":
                if event.verdict in (Verdict.FAIL, Verdict.ERROR):
                    _print(console, event)
                return
            if event.stage == "done":
                task = tasks.pop(event.id, None)
                if task is not None:
                    bars.remove_task(task)
                _print(console, event)
                return
            if event.stage in ("start", "config"):  # stays in sight while the compile goes on
                _print(console, event)
                return
            if event.id not in tasks:
                # Without a total the bar shows that something goes on, and not how much.
                tasks[event.id] = bars.add_task("", name=event.id, total=None)
            share = event.share if event.stage == "compile" else None
            text = _printable(f"{event.stage}: {event.text}"[:100])
            total = None if share is None else 1.0
            bars.update(tasks[event.id], description=text, total=total, completed=share or 0.0)

    with bars:
        yield tell


def _print(console: Any, event: Event) -> None:
    from rich.text import Text

    word = event.verdict.value if event.verdict else "ready" if event.stage == "done" else "note"
    style = _STYLE.get(event.verdict, "cyan") if event.verdict else "cyan"
    if event.foreseen:
        word, style = f"{word} ({event.foreseen})", "cyan"
    took = f"  {event.seconds:.1f} s" if event.seconds else ""
    line = Text.assemble(
        (f"{word:>5}", style), f"  {event.kind} {_printable(event.id)}", (took, "dim"),
        (f"  {_printable(_first_line(event.text))}" if event.text else ""),
    )  # fmt: skip
    with contextlib.suppress(OSError):
        console.print(line, soft_wrap=True)


def _first_line(text: str) -> str:
    """A reason's first line, and how many there are more."""
    first, *more = text.strip().splitlines() or [""]
    return f"{first} [{len(more)} more]" if more else first


def _printable(text: str) -> str:
    """What a guest says must not move the cursor or end the line."""
    return "".join(c if c.isprintable() else " " for c in text)


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


class Foreseeing:
    """A listener that marks what ``plan`` foresees, and hands each event on."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.plan = plan
        self.listener = listener
        self.versions: dict[str, str] = {}
        self.parts: dict[str, str] = {}  # series and builds that fail as foreseen
        self.cells: dict[str, list[str]] = {}  # what was said of each cell's failing cases

    def __call__(self, event: Event) -> None:
        """Mark and hand on one event."""
        if event.kind == "kernel" and event.version:
            self.versions[event.id] = event.version
        if event.verdict is Verdict.FAIL:
            said = self._of_cell(event.id) if event.kind == "cell" else self._of_case(event)
            if event.kind == "case":
                self.cells.setdefault(str(CaseId.parse(event.id).cell), []).append(said)
            elif said:
                self.parts[event.id] = said
            event = replace(event, foreseen=said)
        self.listener(event)

    def _of_case(self, event: Event) -> str:
        case = event.case or _as_case(event)
        kernel = CaseId.parse(case.id).cell.kernel
        case = mark(case, self.versions.get(kernel, ""), self.plan.known_issues)
        if apply_expectations([case], self.plan.expectations)[0].expected:
            return EXPECTED
        return KNOWN if excused(case).known else ""

    def _of_cell(self, cell: str) -> str:
        """A cell fails as foreseen where its build does, or each of its failing cases."""
        said = self.cells.get(cell, [])
        if not said:
            return self.parts.get(CellId.parse(cell).build, "")
        return "" if "" in said else EXPECTED if EXPECTED in said else KNOWN


def _as_case(event: Event) -> CaseResult:
    """The case that an event tells of; its hits are not known, their titles are in its text."""
    case_id = CaseId.parse(event.id)
    if event.kind == "kernel":
        case_id = CaseId.of_series(event.id)
    elif event.kind == "build":
        case_id = CaseId(CellId.parse(event.id), BUILD, BUILD)
    return CaseResult(str(case_id), case_id.workload, case_id.case, Verdict.FAIL, event.text)
