#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the lab 200 times in a row and see that nothing grows: `make soak`.

Each run is one short workload in a real guest, started as a user starts it, in a lab of its own
whose sources, builds and roots are the user's.  After each it is counted what the lab took and what
it left.  The second part has the same done by a worker of a cluster that lives as long.  Rounds are
kept in --work as they come, with the commit that they are of; those of a worker end with it.

Exit status: 0 all is done and flat, 1 something grows, failed, or was left, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import soak_watch as watch
from curve import curves
from marks import HOME, git, keep, put_between, work_folder
from slope import FLAT, UNSURE, Slope, slope
from soak_watch import Place

from orchestrator.host.cache.files import Cache
from orchestrator.runner.context import cache_folder

PAGE = HOME / "docs" / "soak.md"
PICTURE = "img/soak-{}.svg"
START, END = "<!-- soak -->\n", "<!-- end of soak -->"
MEASURED = ("orchestrator", "guest-tests", "kernel-configs", "lab.yaml", "tools/soak_watch.py")
RUNS = 200
#: The first runs fill what is empty: they are left out.
WARM = 2
DEADLINE = 1800.0
#: How long a worker has until it has found out what it offers (s).
_UP = 120.0
WORDS = ("run", "-p", "smoke", "--arch", "x86_64", "--config", "default", "--shape", "small",
         "--workload", "uffd-move/probe", "--plain", "--no-notify")  # fmt: skip
#: What runs in a row and what a worker does, by the names of the parts.
ALONE, WORKER = "alone", "worker"
PARTS = (ALONE, WORKER)

Round = dict[str, float]


@dataclass(frozen=True)
class Quantity:
    """Something that is counted after each run.

    ``tolerance`` is how much it may grow in 100 runs; None where it must be nothing at all.
    """

    key: str
    title: str
    unit: str
    tolerance: float | None
    parts: tuple[str, ...] = PARTS


QUANTITIES = (
    Quantity("memory", "memory of `lab run`, at most", "MB", 1.0),
    Quantity("processes", "processes and guests left", "", None),
    Quantity("temporary", "temporary files left", "", None),
    Quantity("cache", "cache", "MB", 1.0),
    Quantity("run", "a stored run", "MB", 0.02),
    # The history and the pages over all runs: an entry a run, which is what they are for.
    Quantity("beside", "reports beside the runs", "MB", 3.0),
    Quantity("worker_memory", "memory of the worker", "MB", 5.0, (WORKER,)),
    Quantity("worker_descriptors", "open descriptors of the worker", "", 0.5, (WORKER,)),
    Quantity("worker_threads", "threads of the worker", "", 0.5, (WORKER,)),
    Quantity("worker_cache", "cache of the worker", "MB", 1.0, (WORKER,)),
    Quantity("worker_temporary", "temporary files of the worker", "", 0.5, (WORKER,)),
)


class Rounds:
    """The rounds of one part that are done, on disk."""

    def __init__(self, work: Path, part: str, fresh: bool) -> None:
        self.part = part
        self.file = work / f"{part}.json"
        self.commit = git("log", "-1", "--format=%h", "--abbrev=12", "--", *MEASURED)
        self.told: dict[str, Any] = {"commit": self.commit, "rounds": []}
        if not fresh:
            with contextlib.suppress(OSError, ValueError):
                self.told = json.loads(self.file.read_text())

    @property
    def done(self) -> list[Round]:
        """All of them, in their order."""
        found: list[Round] = self.told["rounds"]
        return found

    def begin(self) -> None:
        """Go on with what is kept; it is dropped where it is of another commit, or of a worker."""
        if self.told["commit"] != self.commit or self.part == WORKER:
            self.told = {"commit": self.commit, "rounds": []}

    def add(self, one: Round) -> None:
        """Keep one more."""
        self.done.append(one)
        self.told["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
        keep(self.file, self.told)


@dataclass(frozen=True)
class Finding:
    """What came of one quantity."""

    quantity: Quantity
    values: tuple[float, ...]
    slope: Slope | None

    @property
    def verdict(self) -> str:
        """``flat``, ``grows`` or ``not sure``; ``none`` or ``left`` of what must be nothing."""
        if self.quantity.tolerance is None:
            return "left" if any(self.values) else "none"
        return self.slope.against(self.quantity.tolerance / 100) if self.slope else UNSURE

    @property
    def well(self) -> bool:
        """Whether it is as it should be."""
        return self.verdict in (FLAT, "none")


def judge(part: str, rounds: list[Round]) -> list[Finding]:
    """What the rounds of a part show, quantity by quantity."""
    found = []
    for quantity in QUANTITIES:
        if part in quantity.parts:
            kept = rounds if quantity.tolerance is None else rounds[WARM:]
            values = tuple(one[quantity.key] for one in kept)
            found.append(Finding(quantity, values, slope(values)))
    return found


def status_of(parts: dict[str, list[Round]], wanted: int) -> int:
    """The exit status: what is wrong already is told although not all is done."""
    short = any(len(rounds) < wanted for rounds in parts.values())
    for part, rounds in parts.items():
        if any(one["status"] for one in rounds):
            return 1
        for one in judge(part, rounds):
            if not one.well and not (short and one.verdict == UNSURE):
                return 1
    return 3 if short else 0


# ---------------------------------------------------------------- the page


def table(part: str, rounds: list[Round], told: str, wanted: int) -> str:
    """What is on the page of one part."""
    title = {ALONE: "Runs in a row", WORKER: "A worker that lives as long"}[part]
    if not rounds:
        return f"### {title}\n\nTo be measured: none of {wanted} runs is done."
    failed = sum(bool(one["status"]) for one in rounds)
    took = statistics.median(one["seconds"] for one in rounds)
    lines = [
        f"### {title}",
        "",
        f"{len(rounds)} of {wanted} runs, {failed} of them failed; {took:.0f} s a run "
        f"(median). {told}.",
        "",
        "| | first | last | a 100 runs | may be | |",
        "|---|---|---|---|---|---|",
    ]
    for one in judge(part, rounds):
        what, unit = one.quantity, f" {one.quantity.unit}".rstrip()
        ends = [f"{value:.1f}{unit}" for value in (one.values[:1] + one.values[-1:])] or ["", ""]
        grows = allowed = ""
        if what.tolerance is not None:
            allowed = f"{what.tolerance:g}{unit}"
            if one.slope is not None:
                by = one.slope
                grows = f"{100 * by.middle:+.2f} ({100 * by.least:+.2f} to {100 * by.most:+.2f})"
        else:
            allowed = "0"
        cells = (
            what.title,
            *ends,
            grows,
            allowed,
            one.verdict if one.well else f"**{one.verdict}**",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"![{title}]({PICTURE.format(part)})"])


def picture(part: str, rounds: list[Round]) -> str:
    """The SVG of what the page's table sums up."""
    charts = {
        f"{one.title}{f', {one.unit}' if one.unit else ''}".replace("`", ""): [
            (float(n), value[one.key]) for n, value in enumerate(rounds, 1)
        ]
        for one in QUANTITIES
        if part in one.parts and one.tolerance is not None
    }
    return curves(charts, "runs")


def write(page: Path, kept: dict[str, Rounds], wanted: int) -> None:
    """Fill the page, and draw its pictures."""
    texts = []
    for part, rounds in kept.items():
        told = f"{rounds.told.get('date', '')}, commit {rounds.told['commit']}"
        texts.append(table(part, rounds.done, told, wanted))
        if rounds.done:
            (page.parent / PICTURE.format(part)).write_text(picture(part, rounds.done))
    put_between(page, START, END, "\n\n".join(texts))


# ---------------------------------------------------------------- the runs


def prepare(folder: Path) -> Place:
    """A lab of the campaign's own; what a run only reads of the user's cache is a link."""
    place, users = Place(folder), cache_folder()
    place.project.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place.tmp, ignore_errors=True)
    place.tmp.mkdir()
    shutil.copyfile(HOME / "lab.yaml", place.project / "lab.yaml")
    for name in ("guest-tests", "kernel-configs", "patches"):
        if not (place.project / name).exists():
            (place.project / name).symlink_to(HOME / name)
    own = place.cache
    own.folder.mkdir(exist_ok=True)
    for theirs, link in ((users.store, own.store), (users.builds, own.builds),
                         (users.roots, own.roots), (users.trees, own.trees),
                         (users.objects, own.objects)):  # fmt: skip
        if not link.is_symlink():
            link.symlink_to(theirs)
    if not own.records.exists():
        shutil.copytree(users.records, own.records)
    return place


def alone(place: Place) -> Iterator[Round]:
    """Runs in a row."""
    while True:
        yield watch.run(place, WORDS, DEADLINE, ())


def by_worker(place: Place) -> Iterator[Round]:
    """Runs in a row that one worker carries out."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    cache, tmp = Cache(place.folder / "cache-worker"), place.folder / "tmp-worker"
    for folder in (cache.folder, tmp, place.folder / "store"):
        shutil.rmtree(folder, ignore_errors=True)
    words = ("cluster", "scheduler", "--listen", url)
    offered = ("worker", "--scheduler", url, "--name", "soak")
    asked = (*WORDS, "--scheduler", url, "--store", str(place.folder / "store"))
    with (
        watch.started(place, "scheduler", words, place.folder / "cache-scheduler",
                      place.folder / "tmp-scheduler"),
        watch.started(place, "worker", offered, cache.folder, tmp) as worker,
    ):  # fmt: skip
        until = time.monotonic() + _UP
        while not watch.below(worker) and time.monotonic() < until:  # until it has its reaper
            time.sleep(0.2)
        time.sleep(2.0)
        while True:
            ran = watch.run(place, asked, DEADLINE, watch.below(os.getpid()))
            yield {**ran, **watch.of_worker(worker, cache, tmp)}


ROUNDS: dict[str, Callable[[Place], Iterator[Round]]] = {ALONE: alone, WORKER: by_worker}


def main() -> int:
    """Do what is not done yet, write the page, tell what grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-soak"))
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="of each part (default: %(default)s)"
    )
    parser.add_argument("--budget", type=float, help="begin nothing after so many seconds")
    parser.add_argument("--only", choices=PARTS, help="one of the two parts")
    parser.add_argument("--fresh", action="store_true", help="drop what is kept")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} and its pictures")
    options = parser.parse_args()
    kept = {part: Rounds(options.work, part, options.fresh) for part in PARTS}
    until = time.monotonic() + (float("inf") if options.budget is None else options.budget)
    watch.adopt_orphans()
    for part, rounds in kept.items():
        over = time.monotonic() > until or len(rounds.done) >= options.runs
        if over or options.only not in (None, part):
            continue
        rounds.begin()
        place = prepare(options.work.resolve() / f"{part}-lab")
        with contextlib.closing(ROUNDS[part](place)) as going:
            while len(rounds.done) < options.runs and time.monotonic() < until:
                rounds.add(next(going))
                one = rounds.done[-1]
                numbers = ", ".join(f"{key} {value:g}" for key, value in one.items())
                print(f"{part} {len(rounds.done)}/{options.runs}: {numbers}", flush=True)
    if options.write:
        write(PAGE, kept, options.runs)
    for part, rounds in kept.items():
        for found in judge(part, rounds.done):
            print(f"{part}: {found.quantity.title}: {found.verdict}")
    return status_of({part: rounds.done for part, rounds in kept.items()}, options.runs)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)  # what is started ends with it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
