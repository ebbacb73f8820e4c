# SPDX-License-Identifier: GPL-2.0-only
"""The page over many runs: what each came to, and the nights of a profile beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from orchestrator.judge.nights import (
    MENDED,
    NEW,
    NONE,
    Rate,
    Row,
    SpellGroup,
    Square,
    Timeline,
    by_cause,
    rates,
    spells,
    timelines,
)
from orchestrator.model.digest import RunDigest
from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_KERNEL, EXIT_OK
from orchestrator.model.formats import counted
from orchestrator.report import pages
from orchestrator.report.text import EXIT_MEANING, SEARCH_MEANING, excerpt
from orchestrator.report.view import anchor

#: The pages beside each other below reports/.
PAGE, TRENDS = "index.html", "trends.html"
#: How many earlier runs of its profile a run's duration is drawn beside.
_SPARK = 20
_SPARK_WIDTH, _SPARK_HEIGHT = 80, 18
_WORDS = {
    NEW: "new failures", MENDED: "mended", "fail": "fails as before", "pass": "pass",
    "met": "pass, known issues", "error": "host error", "skip": "skipped", NONE: "not run",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How much of what is endless goes into the page."""

    regressions: int = 10
    spells: int = 60
    cases: int = 60
    rates: int = 60
    places: int = 12


@dataclass(frozen=True)
class Spark:
    """A run's duration beside those before it: a polyline, and where it ends."""

    points: str
    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Nights:
    """A timeline with what is told below it."""

    timeline: Timeline
    spells: tuple[SpellGroup, ...]
    rates: tuple[Rate, ...]


def render(
    runs: Sequence[RunDigest], notes: Sequence[str] = (), left: int = 0, trends: bool = False
) -> str:
    """The page about ``runs``, newest first.

    :param notes: what was passed over, and why; ``left`` is how many runs it is not about.
    :param trends: whether there is a page of measurements beside it.
    """
    nights = [Nights(one, by_cause(spells(one)), rates(one)) for one in timelines(runs)]
    lengths = sorted({len(one.timeline.runs) for one in nights})
    return pages.render(
        "runs.html.j2",
        ("report.css", "runs.css"),
        "runs.js",
        "".join(f"table.runs-{n} {{ --runs: {n}; }}\n" for n in lengths),
        runs=runs,
        notes=notes,
        left=left,
        trends=TRENDS if trends else "",
        sparks=_sparks(runs),
        nights=nights,
        limits=Limits(),
        folders={run.id: run.folder for run in runs},
        state=state,
        meaning=meaning,
        took=took,
        day=day,
        link=link,
        about=about,
        anchor=anchor,
        counted=counted,
        first_line=lambda text: excerpt(text, 1),
        size=(_SPARK_WIDTH, _SPARK_HEIGHT),
        words=_WORDS,
    )


def state(run: RunDigest) -> str:
    """What a run came to, as its badge has it."""
    if not run.finished:
        return "unfinished"
    if run.exit_status == EXIT_INTERRUPTED:
        return "interrupted"
    if run.searched and run.exit_status in SEARCH_MEANING:
        return "searched"
    return {EXIT_OK: "pass", EXIT_KERNEL: "fail"}.get(run.exit_status, "error")


def meaning(run: RunDigest) -> str:
    """Its exit status in words."""
    told = EXIT_MEANING.get(run.exit_status, "unknown")
    if state(run) == "searched":
        told = SEARCH_MEANING[run.exit_status]
    return "not finished" if not run.finished else f"exit status {run.exit_status}: {told}"


def took(seconds: float) -> str:
    """``74 s``, ``12 min``, ``3.4 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def day(run: RunDigest) -> str:
    """When it began, to the minute."""
    return run.started[:16].replace("T", " ")


def link(run: RunDigest | str, file: str = PAGE) -> str:
    """The address of a run's file, from the page."""
    folder = run if isinstance(run, str) else run.folder
    return f"{quote(folder.encode('utf-8', 'surrogateescape'))}/{file}"


def about(square: Square, row: Row, run: RunDigest) -> str:
    """A square of the matrix in words."""
    parts = [f"{day(run)} {row.place}: {_WORDS[square.state]}"]
    if square.cell is not None and square.cell.failed:
        parts.append(f"{len(square.cell.failed)} of {counted(square.cell.cases, 'case')} fail")
    if square.new:
        more = f" and {len(square.new) - 3} more" if len(square.new) > 3 else ""
        parts.append(f"new: {', '.join(square.new[:3])}{more}")
    if square.cell is not None and square.cell.known:
        parts.append(f"{square.cell.known} known")
    return "; ".join(parts)


def _sparks(runs: Sequence[RunDigest]) -> dict[str, Spark]:
    """By run: its duration, and those of the runs of its profile before it."""
    before: dict[tuple[str, bool], list[float]] = {}
    found = {}
    for run in reversed(runs):
        if not run.finished:
            continue
        own = before.setdefault((run.profile, bool(run.searched)), [])
        own.append(run.seconds)
        shown = own[-_SPARK:]
        top = max(*shown, 1.0)
        wide, high = _SPARK_WIDTH - 6, _SPARK_HEIGHT - 6
        step = wide / max(1, len(shown) - 1)
        places = [
            (round(3 + at * step, 1), round(3 + high - value / top * high, 1))
            for at, value in enumerate(shown)
        ]
        words = f"{took(run.seconds)}; the {len(shown) - 1} before: up to {took(top)}"
        found[run.folder] = Spark(
            " ".join(f"{x},{y}" for x, y in places), *places[-1],
            words if len(shown) > 1 else took(run.seconds),
        )  # fmt: skip
    return found
