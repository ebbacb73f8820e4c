# SPDX-License-Identifier: GPL-2.0-only
"""What the runs on a planted kernel say: which case found the defect, how often, after how long."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from marks import keep, put_between
from plants import ABI_V2, PLANTS, Plant

START, END = "<!-- plants -->\n", "<!-- end of plants -->"
#: Those of general mm have a table of their own.
GENERAL = "mm-"
GENERAL_START, GENERAL_END = "<!-- plants of mm -->\n", "<!-- end of plants of mm -->"
#: The interface of 2023 has no feature bit, and the suite says so.
LACKED_BY_V2 = ("uffd-move/probe:feature-matches-ioctl",)
#: Runs of the races of a plant that nothing found so far.
RACES = 5
BY_NAME = {plant.name: plant for plant in PLANTS}


@dataclass(frozen=True)
class Failure:
    """A case that failed, and how long its workload had run in the guest."""

    workload: str
    case: str
    message: str
    seconds: float


@dataclass(frozen=True)
class Run:
    """One run: ``named``, of what is to find the plant; ``races``; or ``suite``, of everything."""

    kind: str
    workloads: tuple[str, ...]
    failures: tuple[Failure, ...]
    ran: int
    seconds: float
    wall: float
    #: Cases without a verdict: no finding, and no control is clean with one.
    errors: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: str, workloads: tuple[str, ...], results: dict[str, Any], wall: float) -> Run:
        """What results.json of a run with one cell holds; a workload without a case is an error."""
        cases = [case for cell in results["cells"] for case in cell["cases"]]
        took: dict[str, float] = {}
        for case in cases:
            took[case["workload"]] = took.get(case["workload"], 0.0) + case["seconds"]
        failed = tuple(
            Failure(c["workload"], c["case"], _message(c), round(took[c["workload"]], 1))
            for c in cases
            if c["verdict"] == "fail"
        )
        errors = [f"{c['workload']}:{c['case']}" for c in cases if c["verdict"] == "error"]
        errors += [name for name in workloads if name not in took]
        ran = len(cases)
        seconds = sum(spent for name, spent in took.items() if "/" in name)
        return cls(
            kind, workloads, failed, ran, round(seconds, 1), round(wall, 1), tuple(errors)
        )  # fmt: skip


def _message(case: dict[str, Any]) -> str:
    text = case["hits"][0]["title"] if case["hits"] else case["reason"]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # What a program checked has its file and line; beside it stand figures.
    said = [line for line in lines if re.match(r"\w+\.[ch]:\d+: ", line)] or lines
    return said[0][:200] if said else ""


def rank(plant: Plant, failure: Failure) -> int:
    """Which of the patterns that are to find the plant names this case; -1 for none."""
    name = f"{failure.workload}:{failure.case}"
    patterns = (*plant.cases, *(f"{race}:*" for race in plant.races))
    return next((n for n, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), -1)


def expected(plant: Plant, failure: Failure) -> bool:
    """Whether this is one of the cases that are to find the plant."""
    return rank(plant, failure) >= 0


def is_named(plant: Plant, workload: str) -> bool:
    """Whether one of its cases is to find the plant."""
    return any(fnmatchcase(workload, pattern.partition(":")[0]) for pattern in plant.cases)


def lacks(plant: Plant, failure: Failure) -> bool:
    """Whether this is what the kernel below the plant lacks by design."""
    name = f"{failure.workload}:{failure.case}"
    return ABI_V2 in (plant.on, plant.name) and name in LACKED_BY_V2


def failures(
    runs: Sequence[Run], plant: Plant, noise: Collection[str] = frozenset()
) -> list[Failure]:
    """What failed in any run, the cases that were to find the plant first, each once.

    ``noise`` are workloads that fail without a plant too.
    """
    found: dict[tuple[str, str], Failure] = {}
    for run in runs:
        for failure in run.failures:
            if failure.workload not in noise and not lacks(plant, failure):
                found.setdefault((failure.workload, failure.case), failure)
    return sorted(found.values(), key=lambda failure: rank(plant, failure) % 1000)


@dataclass(frozen=True)
class Record:
    """All runs of one plant on one architecture."""

    plant: str
    arch: str
    key: str
    suite: str
    date: str
    runs: tuple[Run, ...]
    noise: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read what ``save`` wrote.

        :raises OSError, ValueError, KeyError, TypeError: if there is no record, or another kind.
        """
        raw = json.loads(path.read_text())
        runs = tuple(
            Run(**{
                **run,
                "workloads": tuple(run["workloads"]),
                "failures": tuple(Failure(**failure) for failure in run["failures"]),
                "errors": tuple(run.get("errors", ())),
            })
            for run in raw["runs"]
        )  # fmt: skip
        return cls(**{**raw, "runs": runs, "noise": tuple(raw["noise"])})

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        keep(path, asdict(self))

    @property
    def first(self) -> Failure | None:
        """The finding: a case that was to find the plant if one did, else any other."""
        found = failures(self.runs, BY_NAME[self.plant], self.noise)
        return found[0] if found else None

    @property
    def good(self) -> bool:
        """A plant that was found, a control on which every case has a verdict and none failed.

        A case that was not named for the plant finds it when it fails twice.
        """
        plant, first = BY_NAME[self.plant], self.first
        if plant.control:
            return first is None and bool(self.runs) and not self.errors()
        return first is not None and (expected(plant, first) or self.counted()[0] > 1)

    def errors(self) -> list[str]:
        """Cases that have no verdict in some run."""
        return list(dict.fromkeys(error for run in self.runs for error in run.errors))

    def counted(self) -> tuple[int, int]:
        """Runs in which the finding workload failed, and in which it took part."""
        first = self.first
        if first is None:
            return 0, len(self.runs)
        took = [run for run in self.runs if first.workload in run.workloads]
        return sum(any(f.workload == first.workload for f in r.failures) for r in took), len(took)

    def seconds(self) -> float:
        """Seconds of the finding workload in the guest, with the racing runs before in vain."""
        first = self.first
        if first is None:
            return sum(run.seconds for run in self.runs)
        vain = [
            run
            for run in self.runs
            if run.kind == "races" and first.workload not in {f.workload for f in run.failures}
        ]
        return first.seconds + sum(run.seconds for run in vain)

    def others(self) -> list[Failure]:
        """What else failed."""
        return failures(self.runs, BY_NAME[self.plant], self.noise)[1:]

    def told(self) -> str:
        """In a sentence."""
        first = self.first
        if first is None:
            lacking = f", {len(self.errors())} cases without a verdict" if self.errors() else ""
            return f"no failure in {len(self.runs)} runs{lacking}"
        times, of = self.counted()
        return (
            f"{first.workload}:{first.case} in {times} of {of} runs, {self.seconds():.1f} s, "
            f"and {len(self.others())} other cases: {first.message}"
        )


def suite_digest(home: Path) -> str:
    """Of everything that runs in the guests."""
    return _digest(
        path
        for path in sorted((home / "guest-tests").rglob("*"))
        if "__pycache__" not in path.parts
    )


def key_of(plant: Plant, home: Path) -> str:
    """Of the plant and of the kernel's configuration: a record of another key is of no use."""
    return _digest([*plant.patches(), *sorted((home / "kernel-configs").glob("*.config"))],
                   plant.config)  # fmt: skip


def _digest(paths: Any, *words: str) -> str:
    total = hashlib.sha256("\0".join(words).encode())
    for path in paths:
        if path.is_file():
            total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def summary(records: Sequence[Record], suite: str) -> list[str]:
    """Lines that tell how many plants were found, and name those that were not."""
    lines = []
    for arch in dict.fromkeys(record.arch for record in records):
        mine = [record for record in records if record.arch == arch]
        planted = [r for r in mine if not BY_NAME[r.plant].control]
        controls = [r for r in mine if BY_NAME[r.plant].control]
        lost = [r.plant for r in planted if not r.good]
        noisy = [r.plant for r in controls if not r.good]
        lines.append(
            f"{arch}: {sum(r.good for r in planted)} of {len(planted)} plants found, "
            f"{sum(r.good for r in controls)} of {len(controls)} controls clean; "
            f"not found: {', '.join(lost) or 'none'}"
            + (f"; controls with failures: {', '.join(noisy)}" if noisy else "")
        )
    old = sum(record.suite != suite for record in records)
    if old:
        lines.append(f"{old} of {len(records)} rows are of an earlier state of the suite")
    return lines


def page(path: Path, records: Sequence[Record], missing: Sequence[str], suite: str) -> None:
    """Put the tables between the marks of ``path``; one without a record stays as it is."""
    for general, marks in ((False, (START, END)), (True, (GENERAL_START, GENERAL_END))):
        mine = [r for r in records if r.plant.startswith(GENERAL) == general]
        lacking = [name for name in missing if name.startswith(GENERAL) == general]
        if mine:
            put_between(path, *marks, _table(mine, lacking, suite))


def _table(records: Sequence[Record], missing: Sequence[str], suite: str) -> str:
    rows = [
        "| plant | like | architecture | found by | message | runs | s | other cases |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = {plant.name: number for number, plant in enumerate(PLANTS)}
    for record in sorted(records, key=lambda r: (order[r.plant], r.arch != "x86_64")):
        rows.append(_row(record))
    dates = sorted({record.date for record in records})
    head = [f"- {line}." for line in summary(records, suite)]
    for arch in dict.fromkeys(record.arch for record in records):
        noise = sorted({name for r in records if r.arch == arch for name in r.noise})
        if noise:
            head.append(
                f"- {arch}: these fail without a plant too, and count for nothing here: "
                + ", ".join(f"`{name}`" for name in noise)
                + "."
            )
    head.append(f"- Run on {dates[0]}{' to ' + dates[-1] if len(dates) > 1 else ''}.")
    for arch in ("x86_64", "arm64"):
        names = [name.rpartition("/")[0] for name in missing if name.endswith(f"/{arch}")]
        if names:
            head.append(f"- Not run on {arch} ({len(names)}): {', '.join(names)}.")
    return "\n".join([*head, "", *rows])


def _row(record: Record) -> str:
    plant, first = BY_NAME[record.plant], record.first
    config = "" if plant.config == "default" else f", {plant.config}"
    times, of = record.counted()
    if first is None:
        found, message = ("clean" if plant.control else "**not found**"), ""
        if plant.control and not record.good:
            found = "**not judged**"
        if plant.races and sum(run.kind == "races" for run in record.runs) < RACES:
            found += " so far"
    else:
        found = f"`{first.workload}:{first.case}`"
        message = first.message
        if not expected(plant, first):
            found += " (unforeseen)" if record.good else " (unforeseen, **not confirmed**)"
    others = record.others()
    by = len({failure.workload for failure in others})
    told = f"{len(others)} in {by} workloads" if others else "none"
    if record.errors():
        told += f", {len(record.errors())} without a verdict"
    if not any(run.kind == "suite" for run in record.runs):
        told += " so far"
    cells = [
        f"`{plant.name}`", plant.like, record.arch + config, found, message, f"{times} of {of}",
        f"{record.seconds():.0f}", told,
    ]  # fmt: skip
    return "| " + " | ".join(_cell(text) for text in cells) + " |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")[:170]
