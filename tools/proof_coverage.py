#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Show which lines of the move code the profile quick runs: `make proof-coverage`.

Runs the workloads of quick on a kernel that counts, in each of its guest shapes, on both
architectures; an interrupted run goes on where it was cut.  docs/coverage.md gets a table of the
functions, and one of every line that never ran with why (tools/coverage_reasons.py).  Nothing in
the tables is written by hand but the reasons; one that is no longer needed is an error too.

Exit status: 0 all was counted and is explained, 1 it is not, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coverage_reasons import REASONS, Reason
from marks import HOME, put_between, run_lab, source_text, work_folder

from orchestrator.model.coverage import Coverage, Function, Lines, as_text
from orchestrator.runner.coverage import loaded

PAGE = HOME / "docs" / "coverage.md"
START, END = "<!-- coverage -->\n", "<!-- end of coverage -->"
KERNEL, PROFILE, CONFIG = "v6.12", "quick", "coverage"
ARCHES = ("x86_64", "arm64")
SHAPES = ("small", "zram", "thp-always", "thp-never")
#: What UFFDIO_MOVE runs in 6.12, by file, in the order of the sources.
FUNCTIONS = {
    "fs/userfaultfd.c": ("userfaultfd_move",),
    "mm/userfaultfd.c": (
        "double_pt_lock", "double_pt_unlock", "move_present_pte", "move_swap_pte",
        "move_zeropage_pte", "move_pages_pte", "move_splits_huge_pmd", "vma_move_compatible",
        "validate_move_areas", "find_vmas_mm_locked", "uffd_move_lock", "uffd_move_unlock",
        "move_pages",
    ),
    "mm/huge_memory.c": ("move_pages_huge_pmd",),
}  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """What was counted on one architecture: every cell's file, and the tree that they are of."""

    arch: str
    cells: tuple[Coverage, ...]

    def function(self, file: str, name: str, text: Sequence[str]) -> Function | None:
        """Where a function stands; None where it has no code here.

        One that is inlined everywhere is none of gcov's: its sources tell.

        :param text: the lines of the file.
        """
        found = (f for c in self.cells if file in c.files for f in c.files[file].functions)
        function = next((one for one in found if one.name == name), None) or by_text(name, text)
        return function if function is not None and self.code(file, function) else None

    def code(self, file: str, function: Function) -> Lines:
        """The lines of a function that have code."""
        lines = Lines().union(*(c.files[file].lines for c in self.cells if file in c.files))
        return Lines(n for n in lines if function.first <= n <= function.last)

    def ran(self, file: str) -> Lines:
        """The lines of a file that any workload ran, in any cell."""
        return Lines().union(*(c.all_of(file) for c in self.cells))


def by_text(name: str, text: Sequence[str]) -> Function | None:
    """Where a function stands by the kernel's way to write one; None where it does not."""
    begin = re.compile(rf"(?:[A-Za-z_][\w \t*]*[ \t*])?{name}\([^;]*$")
    for first, line in enumerate(text, 1):
        if begin.match(line):
            last = next((n for n, end in enumerate(text[first:], first + 1) if end == "}"), first)
            return Function(name, first, last)
    return None


@dataclass(frozen=True)
class Gap:
    """Lines of code one below the other that never ran, on these architectures.

    ``behind`` is the line of code above them that did, empty at a function's start.
    """

    file: str
    function: str
    lines: Lines
    behind: str
    arches: tuple[str, ...]


def gaps(counted: Iterable[Counted], file: str, name: str, text: Sequence[str]) -> tuple[Gap, ...]:
    """The gaps of a function, in the order of their lines.

    :param text: the lines of the file.
    """
    found: dict[tuple[Lines, str], list[str]] = {}
    for one in counted:
        function = one.function(file, name, text)
        if function is None:
            continue
        for lines, behind in _gaps(one.code(file, function), one.ran(file), text):
            found.setdefault((lines, behind), []).append(one.arch)
    order = sorted(found.items(), key=lambda item: min(item[0][0]))
    return tuple(Gap(file, name, lines, behind, tuple(a)) for (lines, behind), a in order)


def _gaps(code: Lines, ran: Lines, text: Sequence[str]) -> Iterator[tuple[Lines, str]]:
    behind = ""
    open_: list[int] = []
    for number in sorted(code):
        if number not in ran:
            open_.append(number)
            continue
        if open_:
            yield Lines(open_), behind
        behind, open_ = _as_one(text[number - 1]), []
    if open_:
        yield Lines(open_), behind


def reason(gap: Gap, reasons: Iterable[Reason]) -> str:
    """Why it never ran; empty where nobody says."""
    fits = (r.why for r in reasons if (r.function, r.behind) == (gap.function, gap.behind))
    return next(fits, "")


def functions_table(
    counted: Sequence[Counted], texts: Mapping[str, Sequence[str]]
) -> list[str]:  # fmt: skip
    """A row a function: how many of its lines ran on each architecture."""
    lines = [f"| function | {' | '.join(one.arch for one in counted)} |",
             f"|---|{'--:|' * len(counted)}"]  # fmt: skip
    totals = [(0, 0)] * len(counted)
    for file, names in FUNCTIONS.items():
        for name in names:
            row = []
            for n, one in enumerate(counted):
                function = one.function(file, name, texts[file])
                code = one.code(file, function) if function else ()
                ran = len(one.ran(file) & Lines(code))
                totals[n] = (totals[n][0] + ran, totals[n][1] + len(code))
                row.append(f"{ran} of {len(code)}" if code else "no code")
            lines.append(f"| `{name}` | {' | '.join(row)} |")
    shares = [f"{ran} of {all_} ({100 * ran // max(1, all_)} %)" for ran, all_ in totals]
    return [*lines, f"| in all | {' | '.join(shares)} |"]


def gaps_table(found: Iterable[Gap], reasons: Sequence[Reason]) -> list[str]:
    """A row a gap: where, behind which line, on what, and why."""
    lines = ["| function | lines | behind | never ran on | why |", "|---|---|---|---|---|"]
    for gap in found:
        behind = f"`{gap.behind}`".replace("|", "\\|") if gap.behind else "its start"
        lines.append(
            f"| `{gap.function}` | {as_text(gap.lines)} | {behind} | {', '.join(gap.arches)} | "
            f"{reason(gap, reasons) or '**not explained**'} |"
        )
    return lines


def unneeded(
    found: Iterable[Gap], reasons: Iterable[Reason], texts: Iterable[Sequence[str]]
) -> tuple[Reason, ...]:
    """The reasons of what did run, but for what runs now and then, or is no longer there.

    :param texts: the lines of each file.
    """
    keys = {(gap.function, gap.behind) for gap in found}
    there = {_as_one(line) for text in texts for line in text}
    return tuple(
        one for one in reasons
        if (one.function, one.behind) not in keys
        and not (one.by_chance and one.behind in there)
    )  # fmt: skip


def _as_one(line: str) -> str:
    """A line with its blanks as one each, as reasons have it."""
    return " ".join(line.split())


def read(folder: Path, results: Mapping[str, Any]) -> tuple[Counted, ...]:
    """What the cells of a run counted, by architecture."""
    cells = [cell for cell in results["cells"] if cell["coverage"]]
    by_arch = {a: [c["coverage"] for c in cells if c["arch"] == a] for a in ARCHES}
    return tuple(
        Counted(arch, tuple(loaded(folder / name) for name in names))
        for arch, names in by_arch.items()
        if names
    )


def _sources(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """The lines of the files that have the functions, of the kernel that counted."""
    names = {cell["kernel"] for cell in results["cells"] if cell["coverage"]}
    kernel = next(k for k in results["kernels"] if k["name"] in names)
    return {file: source_text(results, kernel, file).split("\n") for file in FUNCTIONS}


def _footing(results: Mapping[str, Any]) -> str:
    run = results["run"]
    version = next(k["version"] for k in results["kernels"])
    until = f"to {run['finished']}" if run["complete"] else "and not finished"
    return (
        f"`{run['command']}` on {version}, from {run['started']} {until}, lab {run['lab_version']}."
    )


def main() -> int:
    """Go on with the run, or begin one; tell and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-coverage"))
    parser.add_argument("--arch", action="append", default=[], choices=ARCHES)
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="stop then, to go on later")
    parser.add_argument(
        "--read", type=Path, metavar="RUN", help="the tables of a run that is there"
    )
    parser.add_argument("--write", action="store_true", help="write docs/coverage.md")
    options = parser.parse_args()
    folder = options.read or options.work / "run"
    there = (folder / "results.json").exists()
    if options.read is None and not (there and _results(folder)["run"]["complete"]):
        chosen = [f"--arch={arch}" for arch in options.arch]
        chosen += [f"--shape={shape}" for shape in SHAPES]
        begin = ["-p", PROFILE, "--config", CONFIG, "--kernel", KERNEL, *chosen,
                 "--out", str(folder)]  # fmt: skip
        words = ["--resume", str(folder)] if there else begin
        run_lab(["run", "--plain", *words], options.budget, grace=300)
    results = _results(folder)
    counted = read(folder, results)
    if not counted:
        print("nothing is counted yet")
        return 3
    texts = _sources(results)
    found = [gap for file, names in FUNCTIONS.items() for name in names
             for gap in gaps(counted, file, name, texts[file])]  # fmt: skip
    told = [
        *functions_table(counted, texts),
        "",
        *gaps_table(found, REASONS),
        "",
        _footing(results),
    ]
    print("\n".join(told))
    if options.write:
        put_between(PAGE, START, END, "\n".join(told))
    stale = unneeded(found, REASONS, texts.values())
    for one in stale:
        print(f"no longer needed: {one.function}, behind {one.behind}")
    if not results["run"]["complete"] or len(counted) < len(ARCHES):
        return 3
    return 1 if stale or not all(reason(gap, REASONS) for gap in found) else 0


def _results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


if __name__ == "__main__":
    sys.exit(main())
