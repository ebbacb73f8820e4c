#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long the first failing case of a defect takes: from the command to the case, each time anew.

    tools/first_answer.py [--plant NAME]... [--history WHICH]... [--arch ARCH] [--work DIR]

Each plant of tests/plants/ is put on 6.12 and run with `lab run --fail-fast`, in a lab of its own:
without a history (`none`: the plan's own order), after a run of a harmless change (`clean`: what is
quick comes first), and after a run of the same defect (`failed`), built anew with another line.
What a run has to wait for is its build and its boot, whose seconds stand beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from marks import work_folder
from plants import PLANTS, Plant

HOME = Path(__file__).resolve().parent.parent
LAB = HOME / ".venv" / "bin" / "lab"
KERNEL, PROFILE = "v6.12", "smoke"
HISTORIES = ("none", "clean", "failed")
CONTROL = "control-comment"
#: A run that takes longer has no answer (s).
DEADLINE = 1800.0
# A line more at the head of a file that the move ioctl's objects are made of: nothing changes, and
# it is built anew.
EDIT = """\
From: Lab Authors <lab@example.org>
Subject: [PATCH] mm/userfaultfd: line {n}

Nothing changes.
---
diff --git a/mm/userfaultfd.c b/mm/userfaultfd.c
--- a/mm/userfaultfd.c
+++ b/mm/userfaultfd.c
@@ -1,3 +1,4 @@
 // SPDX-License-Identifier: GPL-2.0-only
+/* {n} */
 /*
  *  mm/userfaultfd.c
"""


@dataclass(frozen=True)
class Answer:
    """What a run waited for (s): its first failing case, or None, and its build and boot."""

    case: str
    first: float | None
    build: float
    boot: float
    whole: float

    @property
    def ratio(self) -> float | None:
        """The first failing case's time over that of build and boot."""
        waits = self.build + self.boot
        return self.first / waits if self.first is not None and waits else None


def read(events: Iterable[tuple[float, str]]) -> Answer:
    """What the lines of ``lab run --json`` tell, each with when it came (s since the start)."""
    case, first, build, boot, last = "", None, 0.0, 0.0, 0.0
    for when, line in events:
        last = when
        try:
            event = json.loads(line)
        except ValueError:
            continue
        kind, found = event.get("event"), event.get("verdict")
        if kind == "build" and found:
            build += event.get("seconds", 0.0)
        elif kind == "case" and str(event["id"]).endswith(":boot:boot"):
            boot = boot or event.get("seconds", 0.0)
        bad = kind in ("case", "build") and found == "fail" and not event.get("foreseen")
        if bad and first is None:
            case, first = str(event["id"]).partition(":")[2] or kind, when
    return Answer(case, first, build, boot, last)


def run(lab: Path, series: Path, arch: str, *, fail_fast: bool = True) -> Answer:
    """One run in a lab's folder; its history is there."""
    argv = [str(LAB), "run", "-p", PROFILE, "--kernel", KERNEL, "--series", str(series),
            "--arch", arch, "--json", *(["--fail-fast"] if fail_fast else [])]  # fmt: skip
    began = time.monotonic()
    events = []
    with (
        (lab / "lab.err").open("ab") as errors,
        subprocess.Popen(argv, cwd=lab, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            events.append((time.monotonic() - began, line))
            if time.monotonic() - began > DEADLINE:
                child.terminate()
    return read(events)


def new_lab(folder: Path, like: Path | None = None) -> Path:
    """A folder with the shipped lab.yaml, without a history or with another lab's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(HOME / "lab.yaml", folder / "lab.yaml")
    if like is not None:
        (folder / "reports").mkdir()
        shutil.copyfile(like / "reports" / "history.sqlite", folder / "reports" / "history.sqlite")
    return folder


def series_of(plant: Plant, folder: Path, number: int) -> Path:
    """A plant's series with a line of its own, so that it is built whatever was built before."""
    plant.put(folder)
    edit = EDIT.replace("{n}", f"{plant.name} {number} {time.time_ns()}")
    (folder / "9999-edit.patch").write_text(edit)
    return folder


def measure(plant: Plant, histories: Iterable[str], work: Path, arch: str) -> dict[str, Answer]:
    """One run for each history."""
    found = {}
    own = work / plant.name
    for number, history in enumerate(histories):
        if history == "failed" and own.exists():
            lab = own
        elif history == "clean":
            lab = new_lab(work / f"{plant.name}-clean", clean_lab(work, arch))
        else:
            lab = new_lab(own)
            if history == "failed":  # what the run before it would have found
                run(lab, series_of(plant, lab / "series", number), arch)
        found[history] = run(lab, series_of(plant, lab / "series", number + 1), arch)
    return found


def clean_lab(work: Path, arch: str) -> Path:
    """A lab with a whole run of a change that breaks nothing, made once."""
    lab = work / CONTROL
    if not (lab / "reports" / "history.sqlite").exists():
        control = next(plant for plant in PLANTS if plant.name == CONTROL)
        run(new_lab(lab), series_of(control, lab / "series", 0), arch, fail_fast=False)
    return lab


def row(plant: str, history: str, answer: Answer) -> str:
    """A line of the table."""
    first = "no failure" if answer.first is None else f"{answer.first:.0f} s"
    ratio = f"{answer.ratio:.1f}" if answer.ratio is not None else ""
    return (f"| {plant} | {history} | {first} | {answer.build:.0f} s | {answer.boot:.0f} s | "
            f"{ratio} | {answer.case} |")  # fmt: skip


def main() -> int:
    """Measure what was asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plant", action="append", metavar="NAME", required=True)
    parser.add_argument("--history", action="append", choices=HISTORIES)
    parser.add_argument("--arch", default="x86_64")
    parser.add_argument("--work", type=Path, default=work_folder("lab-first-answer"))
    options = parser.parse_args()
    plants = {plant.name: plant for plant in PLANTS}
    if unknown := [name for name in options.plant if name not in plants]:
        parser.error(f"no plant {unknown[0]!r}")
    histories = options.history or list(HISTORIES)
    print("| plant | history | first failing case | build | boot | over build + boot | case |")
    print("|---|---|---|---|---|---|---|")
    ratios: dict[str, list[float]] = {}
    for name in options.plant:
        for history, answer in measure(plants[name], histories, options.work, options.arch).items():
            print(row(name, history, answer), flush=True)
            if answer.ratio is not None:
                ratios.setdefault(history, []).append(answer.ratio)
    for history, found in ratios.items():
        print(f"{history}: median {statistics.median(found):.1f}, worst {max(found):.1f}")
    return 0 if len(ratios) == len(set(histories)) else 1


if __name__ == "__main__":
    sys.exit(main())
