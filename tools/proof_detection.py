#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Plant defects in 6.12 and see which case finds each: `make proof-detection`.

For each plant of tools/plants.py and each architecture: a kernel with tests/plants/NAME.patch,
three runs of the workloads that are to find it, one of every deterministic workload, and, where
nothing found it, up to five of the racing workloads named for it.  What is done is kept in --work
until the plant, the suite or the kernel's configuration changes; --write puts the table into
docs/detection.md.
Exit status: 0 every plant found and every control clean, 1 not so, 3 something could not be run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from findings import RACES, Record, Run, failures, is_named, key_of, page, suite_digest, summary
from marks import HOME, LAB, OF_THE_TREE, work_folder
from plants import ABI_V2, PLANTS, Plant

PAGE = HOME / "docs" / "detection.md"
KERNEL = "v6.12"
REPEAT = 3
#: Further runs of a case that failed and was not named for the plant.
AGAIN = 2
DEADLINE = 2400.0
#: These take their time and measure; they find nothing that the others do not.
FIGURES = ("compactor/throughput*", "compactor/latency*", "compactor/fault*")


def main() -> int:
    """Run what is not done yet, tell what was found, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-detection"))
    parser.add_argument("--only", action="append", metavar="PLANT[/ARCH]", help="glob; repeatable")
    parser.add_argument("--write", action="store_true", help="write docs/detection.md")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--runs", type=int, default=REPEAT, help="of what found a plant")
    parser.add_argument("--no-suite", action="store_true", help="only what is to find a plant")
    parser.add_argument("--older", action="store_true", help="take records of an older suite too")
    options = parser.parse_args()
    until = time.monotonic() + options.budget if options.budget is not None else None
    suite = suite_digest(HOME)
    records: list[Record] = []
    missing: list[str] = []
    whole = not options.no_suite
    campaign = Campaign(options.work, options.runs, suite, options.older, whole)
    plants = sorted(PLANTS, key=lambda plant: not plant.control)
    for arch, plant in ((a, p) for a in ("x86_64", "arm64") for p in plants if a in p.arches):
        name = f"{plant.name}/{arch}"
        if options.only and not any(fnmatchcase(name, f"{o}/*") or fnmatchcase(name, o)
                                    for o in options.only):  # fmt: skip
            continue
        record = campaign.kept(plant, arch)
        if until is None or time.monotonic() < until:
            record = campaign.go_on(plant, arch, record)
        if record is None:
            missing.append(name)
        else:
            records.append(record)
    print("\n".join(summary(records, suite)))
    print(f"not run: {' '.join(missing) or 'none'}")
    if options.write and records:
        page(PAGE, records, missing, suite)
    if missing or not records:
        return 3
    return 0 if all(record.good for record in records) else 1


@dataclass(frozen=True)
class Campaign:
    """What is kept where, and what is still to be run."""

    work: Path
    repeat: int
    suite: str
    older: bool
    whole: bool = True

    def kept(self, plant: Plant, arch: str) -> Record | None:
        """The record of a plant, if there is one that still holds."""
        try:
            record = Record.load(self.work / plant.name / arch / "record.json")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if record.key != key_of(plant, HOME) or not (self.older or record.suite == self.suite):
            return None
        return record

    def noise(self, arch: str) -> tuple[str, ...]:
        """The workloads that failed on a control on this architecture."""
        kept = [self.kept(p, arch) for p in PLANTS if p.control and p.name != ABI_V2]
        runs = [run for record in kept if record for run in record.runs]
        return tuple(sorted({failure.workload for run in runs for failure in run.failures}))

    def go_on(self, plant: Plant, arch: str, record: Record | None) -> Record | None:
        """The record after all the runs that are still to be made; None where one did not end."""
        work = self.work / plant.name / arch
        if record is None:
            shutil.rmtree(work, ignore_errors=True)
            noise = () if plant.control else self.noise(arch)
            now = f"{datetime.now(UTC):%Y-%m-%d}"
            record = Record(plant.name, arch, key_of(plant, HOME), self.suite, now, (), noise)
        told = record
        while (todo := self._next(plant, record)) is not None:
            kind, workloads = todo
            print(f"{datetime.now(UTC):%H:%M:%S} {plant.name}/{arch} {kind}", flush=True)
            began = time.monotonic()
            out = work / f"run{len(record.runs) + 1}"
            shutil.rmtree(out, ignore_errors=True)
            results = _run(plant, arch, plant.put(work / "series"), out, workloads)
            if results is None:
                return None
            run = Run.of(kind, tuple(workloads), results, time.monotonic() - began)
            record = replace(record, runs=(*record.runs, run))
            record.save(work / "record.json")
        if record is not told:
            print(f"    {record.told()}", flush=True)
        return record if record.runs else None

    def _next(self, plant: Plant, record: Record) -> tuple[str, list[str]] | None:
        """The next run: its kind and its workloads; None when all is done."""
        listed = _listed()
        kinds = [run.kind for run in record.runs]
        suite = [w["name"] for w in listed if w["deterministic"] and _wanted(w)]
        within = plant.control and self.whole  # the suite, which runs anyway
        named = [] if within else [name for name in suite if is_named(plant, name)]
        races = [w["name"] for w in listed if any(fnmatchcase(w["name"], p) for p in plant.races)]
        found = [
            f.workload for f in failures(record.runs, plant, record.noise) if "/" in f.workload
        ]
        if named and kinds.count("named") < (self.repeat if found else 1):
            return "named", list(dict.fromkeys(n for n in found if n in named))[:2] or named
        if self.whole and "suite" not in kinds:
            return "suite", suite
        if races and not found and kinds.count("races") < RACES:
            return "races", races
        first = record.first
        if first and "/" in first.workload and not plant.control and not record.good:
            # Nobody foresaw it: it has to fail again.
            return ("again", [first.workload]) if kinds.count("again") < AGAIN else None
        return None


def _run(
    plant: Plant, arch: str, series: Path, out: Path, workloads: Sequence[str]
) -> dict[str, Any] | None:
    argv = [
        str(LAB), "run", "-p", "smoke", "--kernel", KERNEL, "--series", str(series),
        "--config", plant.config, "--arch", arch, "--plain", "--out", str(out),
    ]  # fmt: skip
    for workload in workloads:
        argv += ["--workload", workload]
    if any(workload.startswith("race/") for workload in workloads):
        argv[3] = "full"
        argv += ["--shape", "numa2" if plant.config == "numa" else "small"]
    log = out.with_suffix(".log")
    try:
        with log.open("wb") as file:
            status = subprocess.run(
                argv, cwd=HOME, stdout=file, stderr=file, timeout=DEADLINE, check=False
            ).returncode
    except subprocess.TimeoutExpired:
        print(f"    not over after {DEADLINE:.0f} s, see {log}")
        return None
    results = out / "results.json"
    if not results.exists():
        print(f"    lab run ended with {status}, see {log}")
        return None
    found: dict[str, Any] = json.loads(results.read_text())
    if any(build["verdict"] != "pass" for build in found["builds"]) or not found["cells"]:
        print(f"    no kernel, see {log}")
        return None
    return found


def _listed() -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(LAB), "list", "workloads", "--json"],
        cwd=HOME, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def _wanted(workload: dict[str, Any]) -> bool:
    """Whether a workload belongs to the suite here: neither figures nor the tree's own tests."""
    if any(fnmatchcase(workload["name"], pattern) for pattern in FIGURES):
        return False
    if workload["name"].startswith(OF_THE_TREE):
        return False
    return not workload["not_ready"]


if __name__ == "__main__":
    sys.exit(main())
