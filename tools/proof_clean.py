#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Show that a healthy kernel raises no alarm: `make proof-clean`.

Runs the workloads on the unmodified 6.12: the deterministic ones once in each of 24 cells, and 20
times in a row on the default config of each architecture, the racing ones three times there.  What
counts is kept per workload, by the binary that ran: one that was changed is run again, the others
are not.  The table is written to docs/detection.md; that of one family beside it.  A row of the
page that is done and clean, and of workloads that are what they were, counts on another machine
too: a campaign may go on anywhere.

Exit status: 0 all of it is done and clean, 1 an alarm, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from marks import HOME, LAB, OF_THE_TREE, git, put_between, work_folder

from orchestrator.workload import programs

PAGE = HOME / "docs" / "detection.md"
START, END = "<!-- clean -->\n", "<!-- end of clean -->"
FAMILY_START, FAMILY_END = "<!-- clean {} -->\n", "<!-- end of clean {} -->"

KERNEL = "v6.12"
ARCHES = ("x86_64", "arm64")
THP = ("small", "thp-always", "thp-never")  # madvise, always, never
CONFIGS = {
    "default": THP, "debug-vm": THP, "lockdep": THP,
    "no-thp": ("small",), "debug-vm-no-thp": ("small",), "lockdep-no-thp": ("small",),
}  # fmt: skip
REPEATS, RACES = 20, 3
DEADLINE = 3600.0
COLUMNS = 10
NEVER = ("guest", "hang", "host", "unfinished", "exit-status")
# What decides whether a run is clean, besides the programs and the fragments of CONFIGS.
JUDGE, FRAGMENTS = "orchestrator/evidence/counters.py", "kernel-configs"


@dataclass(frozen=True)
class Step:
    """``times`` clean runs in a row of the deterministic or the racing workloads in one cell."""

    config: str
    arch: str
    shape: str
    times: int
    races: bool = False

    @property
    def cell(self) -> str:
        """``CONFIG/ARCH/SHAPE``."""
        return f"{self.config}/{self.arch}/{self.shape}"


def steps() -> Iterator[Step]:
    """Everything that is to be shown, the widest first."""
    for config, shapes in CONFIGS.items():
        for arch in ARCHES:
            for shape in shapes:
                yield Step(config, arch, shape, 1)
    for arch in ARCHES:
        yield Step("default", arch, "small", RACES, races=True)
    for arch in ARCHES:
        yield Step("default", arch, "small", REPEATS)


@dataclass(frozen=True)
class Workload:
    """A workload as it is now: its name, whether it races, what of it runs on an architecture."""

    name: str
    races: bool
    digests: dict[str, str]


class Record:
    """What was run: a JSON line for each workload's run, in the order in which they ran."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "runs.jsonl"
        self.runs: list[dict[str, Any]] = []
        if self.file.exists():
            self.runs = [json.loads(line) for line in self.file.read_text().splitlines()]

    def add(self, runs: Iterable[dict[str, Any]]) -> None:
        """Keep some runs."""
        with self.file.open("a") as file:
            for run in runs:
                self.runs.append(run)
                file.write(json.dumps(run) + "\n")

    def of(self, cell: str, workload: Workload) -> list[dict[str, Any]]:
        """The runs of a workload, as it is now, in a cell."""
        digest = workload.digests[cell.split("/")[1]]
        return [
            run
            for run in self.runs
            if (run["cell"], run["workload"], run["digest"]) == (cell, workload.name, digest)
        ]

    def in_a_row(self, cell: str, workload: Workload) -> int:
        """How many of the latest runs were clean."""
        count = 0
        for run in reversed(self.of(cell, workload)):
            if run["alarms"]:
                break
            count += 1
        return count


def main() -> int:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-clean"))
    parser.add_argument("--only", action="append", metavar="CONFIG/ARCH/SHAPE")
    parser.add_argument("--family", help="only workloads of it, as mm; with a table of its own")
    parser.add_argument("--minutes", type=float, default=1e9, help="start nothing after so long")
    parser.add_argument("--write", action="store_true", help="write docs/detection.md")
    parser.add_argument("--no-run", action="store_true", help="only look at what was run")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    workloads = of_family(find_workloads(), options.family)
    if not workloads:
        parser.error(f"no workload is of the family {options.family}")
    record = Record(options.work)
    told = told_rows(PAGE, options.family)
    for step in steps():
        if options.no_run or (options.only and step.cell not in options.only):
            continue
        if done_before(step, workloads, told):
            continue
        while time.monotonic() < until:
            missing = missing_in(step, workloads, record)
            if not missing or not _run(step, missing, record, options.work):
                break
    alarms = _alarms(workloads, record)
    undone = [
        step
        for step in steps()
        if missing_in(step, workloads, record) and not done_before(step, workloads, told)
    ]
    for run in alarms:
        print(f"ALARM {run['cell']} {run['workload']}: {run['alarms'][0]}")
    print(f"{len(alarms)} alarms; not done: {len(undone)} of {len(list(steps()))} steps")
    if options.write:
        _write(workloads, record, options.family)
    return 1 if alarms else 3 if undone else 0


def missing_in(step: Step, workloads: list[Workload], record: Record) -> list[Workload]:
    """The workloads that lack clean runs in a row there."""
    return [
        workload
        for workload in workloads
        if workload.races == step.races and record.in_a_row(step.cell, workload) < step.times
    ]


def state_of(step: Step, workloads: list[Workload]) -> str:
    """What a step runs, in eight hexadecimal digits: the names and digests of its workloads."""
    mine = sorted((w.name, w.digests[step.arch]) for w in workloads if w.races == step.races)
    return hashlib.sha256(repr(mine).encode()).hexdigest()[:8]


def told_rows(page: Path, family: str | None) -> dict[tuple[str, str, str], str]:
    """The rows that a page has, by cell, kind of workloads (``racing``) and times."""
    start, end = _marks(family)
    rows = page.read_text().partition(start)[2].partition(end)[0].splitlines()
    cut = ((row, _fields(row)) for row in rows)
    return {
        (f[0], f[1].rpartition(" ")[2], f[2].rpartition(" ")[2]): row
        for row, f in cut
        if len(f) == COLUMNS and " of " in f[2]
    }


def done_before(
    step: Step, workloads: list[Workload], told: dict[tuple[str, str, str], str]
) -> bool:
    """Whether the page has this step as done and clean, of the workloads as they are now."""
    row = told.get(_key(step))
    if row is None:
        return False
    fields = _fields(row)
    clean, alarms, state = int(fields[2].partition(" ")[0]), fields[6], fields[-1].strip("`")
    return clean >= step.times and alarms == "0" and state == state_of(step, workloads)


def _fields(row: str) -> list[str]:
    return [field.strip() for field in row.strip("|").split("|")]


def _key(step: Step) -> tuple[str, str, str]:
    return step.cell, "racing" if step.races else "deterministic", str(step.times)


def _marks(family: str | None) -> tuple[str, str]:
    return (FAMILY_START.format(family), FAMILY_END.format(family)) if family else (START, END)


def of_family(workloads: list[Workload], family: str | None) -> list[Workload]:
    """Those of a family; all of them where none is named."""
    return [w for w in workloads if family is None or w.name.startswith(f"{family}/")]


def find_workloads() -> list[Workload]:
    """All workloads with the digests of what runs in the guest."""
    from orchestrator.commands.workspace import find_places, load
    from orchestrator.model.arch import ARCHES as TABLE

    os.chdir(HOME)
    places = find_places()
    config = load(places)
    specs = [s for s in config.workloads if not s.name.startswith(OF_THE_TREE)]
    library = programs.library_folder(specs)
    files = {
        arch: programs.compile_all(specs, library, TABLE[arch], places.cache) for arch in ARCHES
    }

    ran = {HOME / FRAGMENTS / f"{arch}.config" for arch in ARCHES}
    ran |= {path for one in config.configs if one.name in CONFIGS for path in one.fragments}
    judges = [
        git("rev-parse", f"HEAD:{path}")
        for path in (JUDGE, *sorted(str(one.resolve().relative_to(HOME)) for one in ran))
    ]

    def digest(spec: Any, arch: str) -> str:
        if spec.program.endswith(".c"):
            names = [f"{spec.family}/{Path(spec.program).stem}"]
        else:
            names = sorted(n for n in files[arch] if n.startswith(f"{spec.family}/") and "." in n)
        rules = (spec.args, spec.budget, spec.needs, spec.invariants, spec.counters, spec.messages)
        made = hashlib.sha256(repr((rules, judges)).encode())
        for name in names:
            made.update(files[arch][name].read_bytes())
        return made.hexdigest()[:16]

    return [
        Workload(s.name, not s.deterministic, {arch: digest(s, arch) for arch in ARCHES})
        for s in specs
    ]


def _run(step: Step, missing: list[Workload], record: Record, work: Path) -> bool:
    """One `lab run` of what is missing; False where it gave no results, or an alarm."""
    started = datetime.now(UTC)
    name = f"{step.cell.replace('/', '-')}-{started:%Y%m%d-%H%M%S}"
    out = work / "runs" / name
    # One run of a cell with a guest for each workload; the repeats as someone at work runs it.
    profile = "quick" if step.times == REPEATS else "full"
    argv = [
        str(LAB), "run", "-p", profile, "--plain", "--kernel", KERNEL, "--config", step.config,
        "--arch", step.arch, "--shape", step.shape, "--out", str(out),
    ]  # fmt: skip
    for workload in missing:
        argv += ["--workload", workload.name]
    print(f"{started:%H:%M:%S} {step.cell}: {len(missing)} workloads", flush=True)
    began = time.monotonic()
    log = work / f"{name}.log"
    with log.open("wb") as file:
        try:
            status = subprocess.run(
                argv, cwd=HOME, stdout=file, stderr=file, timeout=DEADLINE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
    results = out / "results.json"
    cells = json.loads(results.read_text())["cells"] if results.exists() else []
    if status not in (0, 1) or not cells:
        print(f"lab run ended with {status}, see {log}")
        return False
    seconds = time.monotonic() - began
    cell = cells[0]
    commit = git("rev-parse", "HEAD")[:12]
    guest = (case for case in cell["cases"] if case["workload"] in ("boot", "config"))
    whole = [f"{c['case']}: {c['reason']}" for c in guest if c["verdict"] not in ("pass", "skip")]
    runs = [
        {
            "cell": step.cell, "workload": workload.name, "digest": workload.digests[step.arch],
            "date": f"{started:%Y-%m-%d}", "commit": commit, "out": str(out),
            "run_seconds": round(seconds, 1), **_outcome(cell, workload.name, whole),
        }
        for workload in missing
    ]  # fmt: skip
    record.add(runs)
    return not any(run["alarms"] for run in runs)


def _outcome(cell: dict[str, Any], workload: str, whole: list[str]) -> dict[str, Any]:
    cases = [case for case in cell["cases"] if case["workload"] == workload]
    # What only a broken run has is an alarm though it be known.
    wrong = [
        case
        for case in cases
        if case["verdict"] not in ("pass", "skip")
        or (case["case"] in NEVER and case["verdict"] != "pass")
    ]
    alarms = whole + [f"{case['case']}: {case['reason'][:300]}" for case in wrong]
    if not cases:
        alarms.append("it did not run")
    return {
        "passed": sum(case["verdict"] == "pass" for case in cases),
        "skipped": sum(case["verdict"] == "skip" for case in cases),
        "known": [case["case"] for case in cases if case.get("known")],
        "alarms": alarms,
    }


def _alarms(workloads: list[Workload], record: Record) -> list[dict[str, Any]]:
    cells = dict.fromkeys(step.cell for step in steps())
    found = [run for cell in cells for w in workloads for run in record.of(cell, w)]
    return [run for run in found if run["alarms"]]


def _write(workloads: list[Workload], record: Record, family: str | None = None) -> None:
    """The table: a row a step that has workloads."""
    told = told_rows(PAGE, family)
    rows = [
        "| cell | workloads | clean in a row | passed | skipped | known | alarms | to | commit "
        "| of |",
        "|---" * COLUMNS + "|",
    ]
    for step in steps():
        mine = [w for w in workloads if w.races == step.races]
        if not mine:
            continue
        if missing_in(step, workloads, record) and done_before(step, workloads, told):
            rows.append(told[_key(step)])
            continue
        runs = [run for w in mine for run in record.of(step.cell, w)]
        done = min((record.in_a_row(step.cell, w) for w in mine), default=0)
        latest = [record.of(step.cell, w)[-1] for w in mine if record.of(step.cell, w)]
        what = "racing" if step.races else "deterministic"
        alarming = sum(bool(run["alarms"]) for run in runs)
        date = max((run["date"] for run in runs), default="not run")
        commit = runs[-1]["commit"] if runs else ""
        passed, skipped = (sum(run[key] for run in latest) for key in ("passed", "skipped"))
        known = sum(len(run["known"]) for run in latest)
        # A known report in the log leaves its case a pass.
        skipped -= sum(case != "kernel-log" for run in latest for case in run["known"])
        rows.append(
            f"| {step.cell} | {len(latest)} of {len(mine)} {what} | {done} of {step.times} "
            f"| {passed} | {skipped} | {known} | {alarming} | {date} | {commit} "
            f"| `{state_of(step, workloads)}` |"
        )
    alarms = _alarms(workloads, record)
    alarming_runs = [f"- {r['cell']} {r['workload']}: {r['alarms'][0]}" for r in alarms]
    what = f"`tools/proof_clean.py --family {family}`" if family else "`make proof-clean`"
    head = f"{what}: {len(alarms)} alarms."
    body = "\n".join([head, "", *rows, *([""] if alarming_runs else []), *alarming_runs])
    put_between(PAGE, *_marks(family), body)


if __name__ == "__main__":
    sys.exit(main())
