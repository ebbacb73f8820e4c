#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run what mm's own CI runs and set it beside what theirs covers: `make proof-mm-ci`.

Runs the profile mm-ci on the unmodified kernel, an interrupted run going on where it was cut, and
puts the table into docs/mm-ci.md: a row for each host test, for KUnit, and for each group of the
tree's own run_vmtests.sh, with what the lab made of it on both architectures and how long it took.
Nothing in the table is written by hand: the groups are read from the script of the tested sources.

Exit status: 0 all cells ran and nothing failed unforeseen, 1 something did, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from makespan import makespan
from marks import HOME, put_between, run_lab, source_text, work_folder

from orchestrator.model.arch import ARCHES as KNOWN_ARCHES
from orchestrator.model.spec import HOST_CONFIG
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.matrix import Selection, make_plan

PAGE = HOME / "docs" / "mm-ci.md"
SCRIPT = "tools/testing/selftests/mm/run_vmtests.sh"
START, END = "<!-- mm-ci -->\n", "<!-- end of mm-ci -->"
ARCHES = ("x86_64", "arm64")
PROFILE = "mm-ci"
#: What mm's CI runs besides the selftests, and the workloads that are that here.
BESIDES = (
    ("tools/testing/memblock", ("host/memblock/*",)),
    ("tools/testing/vma", ("host/vma/*",)),
    ("tools/testing/radix-tree: main", ("host/radix-tree/main/*",)),
    ("tools/testing/radix-tree: idr-test", ("host/radix-tree/idr-test/*",)),
    ("tools/testing/radix-tree: multiorder", ("host/radix-tree/multiorder/*",)),
    ("tools/testing/radix-tree: xarray", ("host/radix-tree/xarray/*",)),
    ("tools/testing/radix-tree: maple", ("host/radix-tree/maple/*",)),
    ("KUnit: slub_test", ("kunit/slub_test",)),
)
# `CATEGORY="hugetlb" run_test ./hugepage-mmap`, also behind an interpreter or `sudo -u nobody`.
_CALL = re.compile(r'CATEGORY="(\w+)" run_test (.+?)(?:\s*\\)?$')
_VARIABLE = re.compile(r"^(\w+)=(\./\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Sum:
    """What workloads came to: numbers of cases, and seconds that they ran in all."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    known: int = 0
    errors: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """A cell of the table; empty where nothing ran."""
        counts = [(self.passed, "pass"), (self.failed, "FAIL"), (self.errors, "ERROR"),
                  (self.known, "known"), (self.skipped, "skip")]  # fmt: skip
        told = ", ".join(f"{count} {word}" for count, word in counts if count)
        return f"{told}; {self.seconds:.0f} s" if told else ""


def groups(script: str) -> dict[str, tuple[str, ...]]:
    """The groups of a run_vmtests.sh, each with the programs that it starts, in its order."""
    names = dict(_VARIABLE.findall(script))
    found: dict[str, dict[str, None]] = {}
    for line in script.splitlines():
        call = _CALL.search(line.strip())
        if not call:
            continue
        words = shlex.split(call[2], comments=True)
        words = [names.get(word.strip("${}"), word) for word in words]
        program = next((word for word in words if word.startswith("./")), "")
        if program:
            found.setdefault(call[1], {})[program.removeprefix("./")] = None
    return {group: tuple(programs) for group, programs in found.items()}


def added(cases: Iterable[Mapping[str, Any]], patterns: Sequence[str]) -> Sum:
    """What the cases of the workloads that fit came to."""
    counts = dict.fromkeys(("pass", "fail", "skip", "error", "known"), 0)
    seconds = 0.0
    for case in cases:
        if any(fnmatchcase(case["workload"], pattern) for pattern in patterns):
            known = case["verdict"] == "skip" and case.get("known")
            counts["known" if known else case["verdict"]] += 1
            seconds += case["seconds"]
    return Sum(counts["pass"], counts["fail"], counts["skip"], counts["known"], counts["error"],
               seconds)  # fmt: skip


def table(results: Mapping[str, Any], script: str) -> list[str]:
    """The table of docs/mm-ci.md, as lines: theirs, ours, and both architectures."""
    by_arch = {
        arch: [
            case
            for cell in results["cells"]
            if cell["arch"] == arch and not _on_host(cell)
            for case in cell["cases"]
        ]
        for arch in ARCHES
    }
    host = [case for cell in results["cells"] if _on_host(cell) for case in cell["cases"]]
    lines = ["| theirs | ours | x86_64 | arm64 |", "|---|---|---|---|"]
    for theirs, patterns in BESIDES:
        ours = ", ".join(f"`{pattern}`" for pattern in patterns)
        if patterns[0].startswith("host/"):
            lines.append(f"| {theirs} | {ours} | {added(host, patterns).text} | the same run |")
        else:
            lines.append(_row(theirs, ours, by_arch, patterns))
    for group, programs in groups(script).items():
        patterns = [p for name in programs for p in
                    (f"kselftest/mm/{name}", f"kselftest/mm/{name}/*")]  # fmt: skip
        lines.append(_row(f"`-t {group}`", ", ".join(f"`{name}`" for name in programs), by_arch,
                          patterns))  # fmt: skip
    return lines


def _on_host(cell: Mapping[str, Any]) -> bool:
    return bool(cell["config"] == HOST_CONFIG.name)


def _row(
    theirs: str, ours: str, by_arch: Mapping[str, list[dict[str, Any]]], patterns: Sequence[str]
) -> str:
    cells = " | ".join(added(by_arch[arch], patterns).text for arch in ARCHES)
    return f"| {theirs} | {ours} | {cells} |"


def main() -> int:
    """Go on with the run, or begin one; tell and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-mm-ci"))
    parser.add_argument("--arch", action="append", default=[], choices=ARCHES)
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="stop then, to go on later")
    parser.add_argument("--write", action="store_true", help="write docs/mm-ci.md")
    options = parser.parse_args()
    folder = options.work / "run"
    there = (folder / "results.json").exists()
    if not there or not json.loads((folder / "results.json").read_text())["run"]["complete"]:
        arches = [word for arch in options.arch for word in ("--arch", arch)]
        begin = ["-p", PROFILE, "--kernel", "v6.12", *arches, "--out", str(folder)]
        words = ["--resume", str(folder)] if there else begin
        run_lab(["run", "--plain", *words], options.budget, grace=120)
    results = json.loads((folder / "results.json").read_text())
    kernel = next(k for k in results["kernels"] if k["tree"])
    script = source_text(results, kernel, SCRIPT)
    lines = table(results, script)
    print("\n".join(lines))
    if options.write:
        told = [*lines, "", _footing(results, kernel), "", _times(results)]
        put_between(PAGE, START, END, "\n".join(told))
    total = results["summary"]
    if not results["run"]["complete"]:
        return 3
    return 1 if total["fail"] or total["error"] else 0


def took(cell: Mapping[str, Any]) -> float:
    """Seconds that a cell took: its boot, its cases, and a restored copy for each workload."""
    copies = len({case["workload"] for case in cell["cases"]}) * cell["restore_seconds"]
    return float(cell["boot_seconds"] + copies + sum(case["seconds"] for case in cell["cases"]))


def _times(results: Mapping[str, Any]) -> str:
    """How long the run is on 2 and on 16 cores, kernels there or not, from what was measured."""
    arches = tuple(a for a in ARCHES if any(cell["arch"] == a for cell in results["cells"]))
    config = load_config(HOME / "lab.yaml", tuple(KNOWN_ARCHES))
    chosen = Selection(profile=PROFILE, kernels=("v6.12",), arches=arches)
    plan = make_plan(config, chosen, tuple(KNOWN_ARCHES))
    cells = {cell["id"]: took(cell) for cell in results["cells"]}
    made = {build["id"]: build["cpu_seconds"] for build in results["builds"]
            if not build["cached"]}  # fmt: skip
    told = []
    for cores in (2, 16):
        there = makespan(plan, cells, {}, cores) / 60
        told.append(f"{there:.0f} minutes on {cores} cores")
        if all(build.id in made for build in plan.builds):
            first = makespan(plan, cells, made, cores) / 60
            told[-1] += f" ({first:.0f} with the kernels to build)"
    return (
        f"By the scheduler's rules and the times measured here that is {' and '.join(told)}: "
        "computed, for no such machine was at hand, with guests as quick there as here."
    )


def _footing(results: Mapping[str, Any], kernel: Mapping[str, Any]) -> str:
    total, run = results["summary"], results["run"]
    counts = ", ".join(f"{total[word]} {word}" for word in ("pass", "fail", "skip", "error"))
    until = f"to {run['finished']}" if run["complete"] else "and not finished"
    return (
        f"In all {counts}. `{run['command']}` on {kernel['version']}, {run['host']['cpus']} cores, "
        f"from {run['started']} {until}, lab {run['lab_version']}."
    )


if __name__ == "__main__":
    sys.exit(main())
