#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Break real kernels in every way there is, and see whether the lab tells: `make proof-evidence`.

Runs the lab of tests/e2e/provoke, one cell after the other, and compares each fault's outcome with
tools/faults.py.  What is done is kept in --work and not done again for the same commit; the table
is written to docs/evidence.md.  Exit status: 0 all as expected, 1 something is not, 3 a run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults import Outcome, check
from marks import HOME, LAB, git, put_between, work_folder

PROVOKE = HOME / "tests" / "e2e" / "provoke"
PAGE = HOME / "docs" / "evidence.md"
START, END = "<!-- outcomes -->\n", "<!-- end of outcomes -->"
# config, architecture, shape
CELLS = (
    ("lkdtm", "x86_64", "small"), ("lkdtm", "arm64", "small"),
    ("lkdtm", "x86_64", "single"), ("lkdtm", "arm64", "single"),
    ("lkdtm", "x86_64", "lockup"), ("lkdtm", "arm64", "lockup"),
    ("lkdtm", "x86_64", "stall"), ("lkdtm", "arm64", "stall"),
    ("lkdtm-debug", "x86_64", "small"),
)  # fmt: skip
DEADLINE = 5400.0
KILLED = "provoke/slow-qemu-killed"


def main() -> int:
    """Run what is not done yet, check all of it, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-evidence"))
    parser.add_argument("--only", action="append", metavar="CONFIG/ARCH/SHAPE")
    parser.add_argument("--write", action="store_true", help="write docs/evidence.md")
    options = parser.parse_args()
    commit = git("rev-parse", "HEAD")
    outcomes: list[Outcome] = []
    missing: list[str] = []
    for config, arch, shape in CELLS:
        name = f"{config}/{arch}/{shape}"
        if options.only and name not in options.only:
            continue
        results = _results(options.work / name.replace("/", "-"), commit, config, arch, shape)
        if results is None:
            missing.append(name)
            continue
        outcomes += check(results)
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    for outcome in wrong:
        print(f"{outcome.cell} {outcome.workload}: {outcome.wrong}")
    print(f"{len(outcomes)} faults, {len(wrong)} not as expected; not run: {missing or 'none'}")
    if options.write and outcomes:
        _write(outcomes, missing, commit)
    return 3 if missing or not outcomes else 1 if wrong else 0


def _results(work: Path, commit: str, config: str, arch: str, shape: str) -> dict[str, Any] | None:
    """The results of a cell, run now if need be; None where the run did not come to its end."""
    done = work / "commit"
    file = work / "run" / "results.json"
    if not (done.exists() and done.read_text() == commit and file.exists()):
        work.mkdir(parents=True, exist_ok=True)
        done.unlink(missing_ok=True)
        shutil.rmtree(work / "run", ignore_errors=True)  # of another commit, or cut short
        argv = [
            str(LAB), "run", "-p", "all", "--plain", "--config", config, "--arch", arch,
            "--shape", shape, "--out", str(work / "run"),
        ]  # fmt: skip
        print(f"{datetime.now(UTC):%H:%M:%S} {config}/{arch}/{shape}", flush=True)
        with (work / "log").open("wb") as log, _killer(work / "run"):
            status = subprocess.run(
                argv, cwd=PROVOKE, stdout=log, stderr=log, timeout=DEADLINE, check=False
            ).returncode
        if status not in (1, 3) or not file.exists():
            print(f"lab run ended with {status}, see {work / 'log'}")
            return None
        done.write_text(commit)
    results: dict[str, Any] = json.loads(file.read_text())
    return results


@contextmanager
def _killer(run: Path) -> Iterator[None]:
    """Kill the QEMU of the workload that asks for it, each time it runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            for log in run.glob("cells/*/console-provoke__slow-qemu-killed*.log"):
                if f"begin {KILLED}" in log.read_text(errors="replace"):
                    for pid in _qemus(str(log)):
                        time.sleep(1.0)
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


def _qemus(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
            if "qemu-system" in line.partition("\0")[0] and word in line:
                found.append(int(entry.name))
    return found


def _write(outcomes: list[Outcome], missing: list[str], commit: str) -> None:
    rows = ["| cell | fault | what the report says | s | as expected |", "|---|---|---|---|---|"]
    rows += [
        f"| {o.cell.partition('/')[2]} | {o.workload} | {_cell(o.told)} | {o.seconds:.0f} "
        f"| {_cell(o.wrong) or 'yes'} |"
        for o in outcomes
    ]
    good = sum(not o.wrong for o in outcomes)
    when = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit[:12]}"
    head = f"{good} of {len(outcomes)} as expected; {when}."
    if missing:
        head += f" Not run: {', '.join(missing)}."
    put_between(PAGE, START, END, "\n".join([head, "", *rows]))


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")[:160]


if __name__ == "__main__":
    sys.exit(main())
