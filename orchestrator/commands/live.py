# SPDX-License-Identifier: GPL-2.0-only
"""The live view of a run: a line for each thing that is under way, what is over above them.

Each line is laid out for the width that there is: what is left out is the bar and the words at its
end, then the long form of the figures, and never the time or the counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from orchestrator.commands.tally import Far, Tally
from orchestrator.model.names import Verdict
from orchestrator.report.text import first_line, printable
from orchestrator.runner.context import TESTED, Event, Listener
from orchestrator.runner.foreseeing import said

_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "yellow",
    Verdict.ERROR: "bold magenta",
}
_REFRESH = 4  # times a second
_BARS = (18, 10)
_LEAST_TEXT = 12
_GAP = "  "
_FRAMES = "\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"
_PLAIN_FRAMES = "|/-\\"


@dataclass
class Row:
    """One thing that is under way: what it is called, since when (s), at what stage."""

    name: str
    began: float
    stage: str = ""
    text: str = ""
    share: float | None = None
    far: Far | None = None


def line(row: Row, now: float, width: int, names: int, fancy: bool = True) -> Text:
    """A row as one line of at most ``width`` columns.

    :param names: how wide the names are in all rows; see :func:`name_width`.
    :param fancy: False for a terminal that shows ASCII alone.
    """
    elapsed = _clock(now - row.began)
    frames = _FRAMES if fancy else _PLAIN_FRAMES
    frame = frames[int(now * _REFRESH) % len(frames)]
    short = _short(row)
    room = width - _fixed(elapsed) - names
    figures = row.far.text() if row.far else short
    if len(figures) > room:
        figures = short
    room -= len(figures)
    found = Text(no_wrap=True)
    found.append(f"{frame} ", "cyan")
    found.append(f"{_cut(row.name, names, fancy):<{names}}{_GAP}")
    found.append(f"{elapsed:>5}{_GAP}", "yellow")
    share = row.far.done / row.far.total if row.far else row.share
    bar = next((b for b in _BARS if room >= b + 2 * len(_GAP) + _LEAST_TEXT), 0)
    if share is not None and bar:
        full = round(bar * min(1.0, max(0.0, share)))
        done, rest = ("\u2501", "\u2501") if fancy else ("#", "-")
        found.append(done * full, "green").append(rest * (bar - full), "dim").append(_GAP)
        room -= bar + len(_GAP)
    found.append(figures, "red" if row.far and row.far.failed else "")
    if row.text and room >= len(_GAP) + _LEAST_TEXT:
        found.append(f"{_GAP}{row.text}", "dim")
    found.truncate(width, overflow="ellipsis" if fancy else "crop")
    return found


def name_width(rows: Iterable[Row], now: float, width: int) -> int:
    """As wide as the widest name, unless the time and the counts of a row need the room."""
    rows = tuple(rows)
    widest = max((len(row.name) for row in rows), default=0)
    needed = (_fixed(_clock(now - row.began)) + len(_short(row)) for row in rows)
    return min(widest, max(_LEAST_TEXT, width - max(needed, default=0)))


def _fixed(elapsed: str) -> int:
    return 2 + len(_GAP) + max(5, len(elapsed)) + len(_GAP)


def _short(row: Row) -> str:
    return row.far.text(short=True) if row.far else _stage(row)


def _stage(row: Row) -> str:
    return row.stage if row.share is None else f"{row.stage} {row.share:4.0%}"


def _clock(seconds: float) -> str:
    """``0:07``, ``12:31``, ``1:02:03``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cut(name: str, width: int, fancy: bool) -> str:
    """A name without its middle where it is too long: both ends tell it from others."""
    if len(name) <= width:
        return name
    dots = "\u2026" if fancy else ".."
    end = (width - len(dots)) // 2
    return name[: width - len(dots) - end] + dots + name[len(name) - end :]


class _View:
    """What the terminal shows now; drawn again some times a second."""

    def __init__(self, tally: Tally, console: Console) -> None:
        self.tally = tally
        self.console = console
        self.lock = threading.Lock()
        self.rows: dict[str, Row] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        fancy = not options.ascii_only
        with self.lock:
            for key, row in self.rows.items():
                far = self.tally.far(key, now)
                row.far = far if far and (far.done or row.stage == "run") else None
            names = name_width(self.rows.values(), now, options.max_width)
            for row in self.rows.values():
                yield line(row, now, options.max_width, names, fancy)

    def hear(self, event: Event) -> None:
        now = time.monotonic()
        with self.lock:
            self.tally.hear(event, now)
            if event.stage not in ("done", "start", "config", "apply", TESTED):
                row = self.rows.setdefault(event.id, Row(printable(event.id), now))
                row.stage, row.share = event.stage, None
                row.text = printable(event.text[:200])
                if event.stage == "compile":
                    row.share = event.share
                return
            if event.kind != "case" and event.stage == "done":
                self.rows.pop(event.id, None)
        # Printed without the lock: to print draws the rows again.
        if event.kind != "case" or event.verdict in (Verdict.FAIL, Verdict.ERROR):
            self._print(event)

    def _print(self, event: Event) -> None:
        told = {"done": "ready", TESTED: TESTED}.get(event.stage, "note")
        word = said(event) or told
        style = "cyan" if event.verdict is None or event.foreseen else _STYLE[event.verdict]
        took = f"  {event.seconds:.1f} s" if event.seconds else ""
        text = Text.assemble(
            (f"{word:>6}", style), f"  {event.kind} {printable(event.id)}", (took, "dim"),
            (f"  {printable(first_line(event.text))}" if event.text else ""),
        )  # fmt: skip
        with contextlib.suppress(OSError):
            self.console.print(text, soft_wrap=True)


@contextlib.contextmanager
def view(tally: Tally, stream: TextIO) -> Iterator[Listener]:
    """Show what is told to the listener that this gives, for the length of a with block."""
    # A guest's words are no markup: rich would stumble over "[/dev/vdb]"; a Text has none.
    console = Console(file=stream, highlight=False)
    shown = _View(tally, console)
    with Live(shown, console=console, transient=True, refresh_per_second=_REFRESH):
        yield shown.hear
