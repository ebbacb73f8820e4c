#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long the first failing case of a defect takes, from the command to the case, each time anew.

    tools/first_answer.py [--plant NAME]... [--history WHICH]... [--budget SECONDS] [--write]

Each plant of tests/plants/ that the profile smoke can find is put on 6.12 and run with `lab run
--fail-fast`, in a lab of its own: without a history (`none`: what the cache knows of coverage, and
the plan's own order), after a run of a harmless change (`clean`: what is quick comes first), and
after a run of the same defect (`failed`), built anew with another line.  What a run has to wait for
is its build and its boot, whose seconds stand beside it.  What is measured is kept in --work, and
not measured again; --write puts the table into docs/tested.md.
Exit status: 0 all is measured, 1 a defect was not found, 3 not all is measured yet.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from marks import HOME, LAB, git, keep, put_between, work_folder
from plants import PLANTS, Plant

PAGE = HOME / "docs" / "tested.md"
START, END = "<!-- first answer -->\n", "<!-- end of first answer -->"
KERNEL, PROFILE = "v6.12", "smoke"
HISTORIES = ("none", "clean", "failed")
CONTROL = "control-comment"
#: A run that takes longer has no answer (s).
DEADLINE = 1800.0
SEED = 612
HEAD = "| plant | history | first failing case | build | boot | over build + boot | case |"
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


def measure(plant: Plant, history: str, work: Path, arch: str) -> Answer:
    """One run in a lab with that history."""
    own = work / plant.name
    if history == "clean":
        lab = new_lab(work / f"{plant.name}-clean", clean_lab(work, arch))
    else:
        lab = new_lab(own)
        if history == "failed":  # what a run before it found
            run(lab, series_of(plant, lab / "series", 0), arch)
    return run(lab, series_of(plant, lab / "series", 1), arch)


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


def table(answers: Mapping[tuple[str, str], Answer], missing: int, arch: str) -> list[str]:
    """The measured ones, a row each, below what they come to."""
    rows = [f"`first_answer.py`, commit {git('rev-parse', 'HEAD')[:12]}, {arch}.", ""]
    rows += sums(answers)
    rows += [f"Not measured yet: {missing}."] * bool(missing)
    rows += ["", HEAD, "|---|---|---|---|---|---|---|"]
    return rows + [row(plant, history, one) for (plant, history), one in answers.items()]


def sums(answers: Mapping[tuple[str, str], Answer]) -> list[str]:
    """Median and worst of each history, a line each."""
    found: dict[str, list[Answer]] = {}
    for (_, history), answer in answers.items():
        found.setdefault(history, []).append(answer)
    lines = []
    for history, mine in found.items():
        first = [one.first for one in mine if one.first is not None]
        ratios = [one.ratio for one in mine if one.ratio is not None]
        if ratios:
            lines.append(
                f"- {history}: median {statistics.median(first):.0f} s, worst {max(first):.0f} s; "
                f"over build and boot {statistics.median(ratios):.1f}, worst {max(ratios):.1f}; "
                f"{len(ratios)} of {len(mine)} found"
            )
    return lines


def asked(names: Iterable[str] | None, arch: str) -> list[Plant]:
    """The plants of these names, or all that a case of the profile is to find.

    All of them come in a random order, which is the same each time: those that a time budget
    allows are a sample of them.

    :raises KeyError: for a name of none.
    """
    if names:
        known = {plant.name: plant for plant in PLANTS}
        return [known[name] for name in names]
    found = [
        plant for plant in PLANTS
        if plant.cases and not plant.control and plant.config == "default" and arch in plant.arches
    ]  # fmt: skip
    random.Random(SEED).shuffle(found)
    return found


def main() -> int:
    """Measure what is asked for and not known yet, and tell it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plant", action="append", metavar="NAME", help="(default: all)")
    parser.add_argument("--history", action="append", choices=HISTORIES)
    parser.add_argument("--arch", default="x86_64")
    parser.add_argument("--work", type=Path, default=work_folder("lab-first-answer"))
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--write", action="store_true", help="write docs/tested.md")
    options = parser.parse_args()
    try:
        plants = asked(options.plant, options.arch)
    except KeyError as error:
        parser.error(f"no plant {error.args[0]!r}")
    until = None if options.budget is None else time.monotonic() + options.budget
    answers: dict[tuple[str, str], Answer] = {}
    missing = 0
    for plant in plants:
        for history in options.history or HISTORIES:
            kept = options.work / "answers" / f"{plant.name}-{history}-{options.arch}.json"
            if kept.exists():
                answer = Answer(**json.loads(kept.read_text()))
            elif until is not None and time.monotonic() > until:
                missing += 1
                continue
            else:
                answer = measure(plant, history, options.work, options.arch)
                keep(kept, asdict(answer))
            answers[plant.name, history] = answer
            print(row(plant.name, history, answer), flush=True)
    print("\n".join(sums(answers)))
    if options.write:
        put_between(PAGE, START, END, "\n".join(table(answers, missing, options.arch)))
    if missing:
        return 3
    return 0 if all(one.first is not None for one in answers.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
