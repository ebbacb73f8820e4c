#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""``make bench``: the lab's figures, each beside the bare commands measured in the same run.

    tools/bench.py [--only NAME]... [--times N] [--write FILE] [--fresh] [--list]

Samples are kept as they come, with the commit they were taken of: an interrupted run goes on where
it stopped.  ``--write docs/figures.md`` fills that file's table after each sample.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

HOME = Path(__file__).resolve().parent.parent
try:
    from bench_figures import FIGURES, Figure
    from bench_growth import CELLS, growth_curve
    from bench_measure import Bench, BenchError, Sample
    from marks import keep

    from orchestrator.model.errors import LabError
except ImportError:
    sys.exit("bench: run it as .venv/bin/python tools/bench.py, after `make setup`")

# What a change of makes samples taken before worthless.
MEASURED = ("orchestrator", "guest-tests", "kernel-configs", "patches", "lab.yaml", "tools")
#: The picture beside the page that the table is written into.
CURVE = "img/growth.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


# ---------------------------------------------------------------- samples that were taken


class Samples:
    """The samples of one machine and commit, on disk."""

    def __init__(self, file: Path, fresh: bool) -> None:
        self.file = file
        self.commit = _commit()
        self.taken: dict[str, dict[str, object]] = {}
        if file.exists() and not fresh:
            self.taken = json.loads(file.read_text())

    def of(self, figure: Figure) -> list[Sample]:
        """What was sampled of a figure, whatever the commit."""
        samples: list[Sample] = self.taken.get(figure.name, {}).get("samples", [])  # type: ignore[assignment]
        return samples

    def missing(self, figure: Figure, times: int) -> int:
        """How many samples of this commit are still to be taken; older ones are dropped."""
        entry = self.taken.get(figure.name)
        if entry is None or entry["commit"] != self.commit or "+" in self.commit:
            self.taken[figure.name] = {"commit": self.commit, "samples": [], "load": 0.0}
        return max(0, times - len(self.of(figure)))

    def add(self, figure: Figure, sample: Sample, load: float) -> None:
        """Keep a sample with the machine's load before it."""
        entry = self.taken[figure.name]
        self.of(figure).append(sample)
        entry["load"] = max(load, float(str(entry["load"])))
        entry["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
        keep(self.file, self.taken)

    def told(self, figure: Figure, key: str) -> str:
        """The date or the commit of a figure's samples."""
        return str(self.taken.get(figure.name, {}).get(key, ""))


def _commit() -> str:
    """The commit that last changed what is measured; with a ``+`` where the tree differs."""
    told = []
    for words in (["log", "-1", "--format=%h", "--abbrev=12"], ["status", "--porcelain"]):
        try:
            done = subprocess.run(
                ["git", *words, "--", *MEASURED],
                cwd=HOME, capture_output=True, text=True, timeout=30, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return "unknown+"
        told.append(done.stdout.strip())
    return told[0] + ("+" if told[1] else "")


# ---------------------------------------------------------------- table


def table(samples: Samples) -> str:
    """The table of all figures, with what was measured so far."""
    lines = [
        "| figure | limit | measured | reached | `--only` | samples, date, commit |",
        "|---|---|---|---|---|---|",
    ]
    for figure in FIGURES:
        taken = samples.of(figure)
        where = "to be measured"
        if taken:
            date, commit = samples.told(figure, "date"), samples.told(figure, "commit")
            where = f"{len(taken)}, {date}, {commit}"
            load = float(samples.told(figure, "load"))
            if load > 0.7:
                where += f", machine busy (load {load:.1f})"
        for row in figure.rows:
            measured = row.measured(taken) if taken else ""
            cells = (row.title, row.limit_text, measured, row.reached(taken), figure.name, where)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """The machine and its tools in one sentence."""
    cpu = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    name = cpu[1] if cpu else platform.machine()
    parts = [f"{os.cpu_count()} x {name}", f"{memory:.0f} GiB", f"Linux {platform.release()}"]
    for argv in (["gcc", "--version"], ["qemu-system-x86_64", "--version"], ["ccache", "-V"]):
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            continue
        found = re.search(r"\d+\.\d+[.\d]*", done.stdout)
        parts += [f"{argv[0]} {found[0]}"] if found else []
    return "Machine: " + ", ".join(parts) + "."


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def write(file: Path, samples: Samples) -> None:
    """Fill a Markdown file's table, between its two marks."""
    text = file.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"bench: {file} has no {BEGIN} and {END}")
    head, _, rest = text.partition(BEGIN)
    new = f"{head}{BEGIN}\n{table(samples)}\n\n{machine()}\n{END}{rest.partition(END)[2]}"
    file.write_text(new)
    known = {figure.name: samples.of(figure) for figure in FIGURES}
    taken = {n: found[0] for n in CELLS if (found := known[f"cells-{n}"])}
    if len(taken) > 1:
        (file.parent / CURVE).write_text(growth_curve(taken))


# ---------------------------------------------------------------- main


def arguments() -> argparse.Namespace:
    """The command line."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=[f.name for f in FIGURES], default=[])
    parser.add_argument("--times", type=int, help="samples of each figure (default: see --list)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill FILE's table")
    parser.add_argument("--fresh", action="store_true", help="drop the samples taken before")
    parser.add_argument("--list", action="store_true", help="name the figures and end")
    parser.add_argument(
        "--work", type=Path, default=Path(cache) / "lab-bench", help="folder (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> int:
    """Measure what is asked for; 0 when all limits are reached, 1 when not, 3 on trouble."""
    options = arguments()
    if options.list:
        for figure in FIGURES:
            print(f"{figure.name:14} {figure.times:3} x  {figure.about}")
        return 0
    signal.signal(signal.SIGTERM, _terminate)
    options.work.mkdir(parents=True, exist_ok=True)
    samples = Samples(options.work.resolve() / "samples.json", options.fresh)
    bench = Bench(options.work.resolve(), os.cpu_count() or 1, tell)
    chosen = [f for f in FIGURES if not options.only or f.name in options.only]
    status = 0
    for figure in chosen:
        try:
            measure(figure, options.times or figure.times, bench, samples, options.write)
        except (BenchError, LabError) as error:
            tell(f"{figure.name}: {error}")
            status = 3
    print(table(samples))
    print(machine())
    if options.write:
        write(options.write, samples)
    missed = [row.title for f in chosen for row in f.rows if row.reached(samples.of(f)) == "**no**"]
    for title in missed:
        tell(f"not reached: {title}")
    return status or int(bool(missed))


def measure(figure: Figure, times: int, bench: Bench, samples: Samples, file: Path | None) -> None:
    """Take the samples of one figure that are still missing.

    :raises BenchError: when a measured command fails.
    """
    missing = samples.missing(figure, times)
    if not missing:
        tell(f"{figure.name}: taken before ({len(samples.of(figure))} samples)")
        return
    load = os.getloadavg()[0]
    if load > 0.7:
        tell(f"{figure.name}: the machine is busy (load {load:.1f}), figures will be too high")
    with figure.prepare(bench) as sample:
        for _ in range(missing):
            taken = sample()
            samples.add(figure, taken, load)
            told = ", ".join(f"{name} {value:.2f}" for name, value in taken.items())
            tell(f"{figure.name} {len(samples.of(figure))}/{times}: {told}")
            if file:
                write(file, samples)


def tell(text: str) -> None:
    """A dated line on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        tell("interrupted; what was sampled is kept")
        sys.exit(130)
