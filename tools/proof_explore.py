#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Show what `lab explore` finds, and that it raises no alarm: `make proof-explore`.

Clean: the unmodified 6.12, both architectures, huge pages on request and always, in each mode; and
x86_64 with debug-vm and with lockdep.  Plants: each one of tools/plants.py on x86_64, one process
acting at a time first, then, where nothing was found, with allocations that fail and with steps at
the same time; the first find ends it.  Controls are explored in all modes, and must have no find.
What is done is kept in --work until the explorer, the plant or the kernel's configuration
changes; --write puts the tables into docs/exploration.md.

Exit status: 0 all is done, and neither a clean kernel nor a control has a find; 1 one has; 3 not
all is done yet.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from findings import key_of
from marks import HOME, LAB, git, put_between, work_folder
from plants import PLANTS, Plant

PAGE = HOME / "docs" / "exploration.md"
#: Where it stands what the suite found.
SUITE = HOME / "docs" / "detection.md"
START, END = "<!-- explored -->\n", "<!-- end of explored -->"
NOT_RUN = "Not run yet: `make proof-explore` writes the tables."
KERNEL = "v6.12"
STEADY, FAILING, RACING = MODES = ("steady", "failing", "racing")
#: Seconds that a clean kernel is explored in each mode, and a planted one.
CLEAN = {STEADY: 1800.0, FAILING: 600.0, RACING: 600.0}
PLANTED = 300.0
ARCHES = ("x86_64", "arm64")
SHAPES = ("small", "thp-always")  # huge pages on request, and always
CONFIG, FAILS = "default", "fault-injection"
DEBUG = ("debug-vm", "lockdep")
ARCH = ARCHES[0]
#: What a kernel's build and boot and the ends of finds may take besides (s).
BESIDES = 3600.0
_BAD = ("fail", "error")


@dataclass(frozen=True)
class Step:
    """One exploration: of the plain kernel, or of one with a plant."""

    mode: str
    config: str
    arch: str
    shape: str
    seconds: float
    plant: str = ""

    @property
    def name(self) -> str:
        """``clean/CONFIG/ARCH/SHAPE/MODE`` or ``PLANT/MODE``; on the command line and in files."""
        if self.plant:
            return f"{self.plant}/{self.mode}"
        return f"clean/{self.config}/{self.arch}/{self.shape}/{self.mode}"

    @property
    def seed(self) -> int:
        """What its programs are drawn from: the same each time, and none of another step's."""
        return zlib.crc32(self.name.encode())


@dataclass(frozen=True)
class Came:
    """What a step came to.

    ``found`` is the first case that failed unforeseen, a find before anything else, ``said`` its
    reason, ``others`` how many more; ``program`` how many steps the find's program has.
    ``seconds`` is what the step took.
    """

    step: str
    key: str
    date: str
    programs: int
    steps: int
    rate: float
    seconds: float
    found: str = ""
    said: str = ""
    others: int = 0
    program: int = 0
    version: str = ""


def clean() -> Iterator[Step]:
    """The explorations of the unmodified kernel."""
    for arch in ARCHES:
        for shape in SHAPES:
            for mode in MODES:
                config = FAILS if mode == FAILING else CONFIG
                yield Step(mode, config, arch, shape, CLEAN[mode])
    for config in DEBUG:
        for mode in (STEADY, RACING):
            yield Step(mode, config, ARCH, SHAPES[0], CLEAN[mode])


def planted(plant: Plant) -> tuple[Step, ...]:
    """Those of a plant, in their order: the next one where the one before has found nothing."""
    shape = "numa2" if plant.config == "numa" else SHAPES[0]
    return tuple(Step(mode, FAILS if mode == FAILING else plant.config, ARCH,
                      SHAPES[0] if mode == FAILING else shape, PLANTED, plant.name)
                 for mode in MODES)  # fmt: skip


def of_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a run came to, as :class:`Came` has it.

    :raises ValueError: when it shows nothing: no kernel, no guest, no program.
    """
    bad = [build for build in results["builds"] if build["verdict"] != "pass"]
    if bad or not results["builds"]:
        raise ValueError("no kernel was built")
    cases = [case for cell in results["cells"] for case in cell["cases"]]
    wrong = [case for case in cases if case["verdict"] in _BAD and not case.get("known")]
    wrong.sort(key=lambda case: case.get("find") is None)
    figures = [(one["name"], one["value"]) for case in cases
               for one in case.get("measurements") or ()]  # fmt: skip
    programs, steps = (int(sum(value for name, value in figures if name == wanted))
                       for wanted in ("programs", "steps"))  # fmt: skip
    if not wrong and not programs:
        reasons = [case.get("reason", "") for case in cases if case.get("reason")]
        raise ValueError(f"no program was carried out: {'; '.join(reasons) or 'no cases'}")
    # Steps a second of a swarm by what it carried out: the sum of all in the sum of their times.
    spent = sum(_of(case, "steps") / _of(case, "rate") for case in cases if _of(case, "rate"))
    first = wrong[0] if wrong else None
    find = (first or {}).get("find")
    return {
        "programs": programs,
        "steps": steps,
        "rate": round(steps / spent, 1) if spent else 0.0,
        "found": f"{first['workload']}:{first['case']}" if first else "",
        "said": str(first.get("reason", "")) if first else "",
        "others": max(0, len(wrong) - 1),
        "program": len(find["program"]) if find else 0,
        "version": next((str(kernel["version"]) for kernel in results["kernels"]), ""),
    }


def _of(case: Mapping[str, Any], name: str) -> float:
    return next((float(one["value"]) for one in case.get("measurements") or ()
                 if one["name"] == name), 0.0)  # fmt: skip


def suite_found(page: str) -> dict[str, str]:
    """By plant, what the tables of docs/detection.md say that found it on x86_64."""
    found = {}
    for line in page.splitlines():
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        if len(parts) >= 4 and parts[0].startswith("`") and parts[2].startswith(ARCH):
            found.setdefault(parts[0].strip("`"), parts[3])
    return found


@dataclass
class Campaign:
    """What is kept where: ``came.jsonl`` in ``work``, the newest line of a step counts."""

    work: Path
    time: float | None = None
    explorer: str = ""
    kept: dict[str, Came] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.explorer = self.explorer or explorer_digest()
        if self.file.exists():
            for line in self.file.read_text().splitlines():
                came = Came(**json.loads(line))
                self.kept[came.step] = came

    @property
    def file(self) -> Path:
        """The record."""
        return self.work / "came.jsonl"

    def key(self, step: Step) -> str:
        """What a record must have been made of: explorer, kernel, time."""
        kernel = key_of(_plant(step.plant), HOME) if step.plant else key_of(Plant("", ""), HOME)
        return f"{self.explorer} {kernel} {step.seconds if self.time is None else self.time:g}"

    def of(self, step: Step) -> Came | None:
        """What a step came to, if that still holds."""
        came = self.kept.get(step.name)
        return came if came is not None and came.key == self.key(step) else None

    def keep(self, came: Came) -> None:
        """Keep what a step came to."""
        self.kept[came.step] = came
        self.work.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(came)) + "\n")

    def run(self, step: Step, jobs: int | None) -> Came | None:
        """Carry a step out and keep what it came to; None where it came to nothing."""
        folder = self.work / step.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        seconds = step.seconds if self.time is None else self.time
        argv = command(step, folder, seconds, jobs)
        began = time.monotonic()
        print(f"{datetime.now(UTC):%H:%M:%S} {step.name}", flush=True)
        try:
            with (folder / "log").open("wb") as log:
                done = subprocess.run(argv, cwd=HOME, stdout=log, stderr=log, check=False,
                                      timeout=seconds + BESIDES)  # fmt: skip
            results = json.loads((folder / "run" / "results.json").read_text())
            if not results["run"]["complete"]:
                raise ValueError(f"lab explore ended with {done.returncode} before its time")
            told = of_results(results)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            print(f"    nothing: {error}, see {folder / 'log'}", flush=True)
            return None
        took = round(time.monotonic() - began, 1)
        came = Came(
            step.name, self.key(step), f"{datetime.now(UTC):%Y-%m-%d}", seconds=took, **told
        )
        self.keep(came)
        print(f"    {came.found or 'nothing found'} after {came.steps} steps", flush=True)
        return came


def command(step: Step, folder: Path, seconds: float, jobs: int | None) -> list[str]:
    """The command of a step; its corpus is empty, and its own."""
    argv = [str(LAB), "explore", "--plain", "--no-notify", "-p", "smoke", "--kernel", KERNEL,
            "--config", step.config, "--arch", step.arch, "--shape", step.shape,
            "--mode", step.mode, "--time", f"{seconds:g}s", "--seed", str(step.seed),
            "--corpus", str(folder / "corpus"), "--out", str(folder / "run")]  # fmt: skip
    argv += ["--jobs", str(jobs)] if jobs is not None else []
    if step.plant:
        plant = _plant(step.plant)
        argv += ["--series", str(plant.put(folder / "series"))]
        argv += [] if plant.control else ["--finds", "1"]
    return argv


def _plant(name: str) -> Plant:
    return next(plant for plant in PLANTS if plant.name == name)


def explorer_digest() -> str:
    """Of what runs in the guests: the explorer's own files and the library."""
    total = hashlib.sha256()
    for part in ("explore", "lib"):
        for path in sorted((HOME / "guest-tests" / part).glob("*.[ch]")):
            total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def next_of(plant: Plant, came: Mapping[str, Came]) -> Step | None:
    """The exploration of a plant that is due; None once it is found, or all modes are done.

    :param came: what is done, by the mode.
    """
    for step in planted(plant):
        one = came.get(step.mode)
        if one is None:
            return step
        if one.found and not plant.control:
            return None
    return None


def clean_table(rows: Iterable[tuple[Step, Came | None]]) -> list[str]:
    """A row an exploration of the plain kernel."""
    lines = ["| config | architecture | shape | mode | programs | steps | steps/s | alarms |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for step, came in rows:
        where = f"| `{step.config}` | {step.arch} | `{step.shape}` | {step.mode} |"
        if came is None:
            lines.append(f"{where} | | | not run |")
            continue
        alarms = f"**{_cell(came.found)}**: {_cell(came.said)}" if came.found else "none"
        alarms += f", and {came.others} more" if came.others else ""
        lines.append(f"{where} {came.programs} | {came.steps} | {came.rate:.0f} | {alarms} |")
    return lines


def plant_row(plant: Plant, came: Mapping[str, Came], suite: str) -> str:
    """What the suite's table says of a plant, and what was found by exploring."""
    told, done = [], [came[mode] for mode in MODES if mode in came]
    caught = next((one for one in done if one.found), None)
    due = next_of(plant, came)
    if caught is not None:
        mode = caught.step.rpartition("/")[2]
        found = f"`{_cell(caught.found.partition(':')[2])}`, {mode}"
        found = f"**{found}**" if plant.control else found
        told = [found, _cell(caught.said), f"{caught.program or ''}", f"{caught.seconds:.0f}"]
    elif due is not None:
        modes = ", ".join(mode for mode in MODES if mode in came)
        told = [f"nothing yet: {modes}" if modes else "not run", "", "", ""]
    else:
        steps = sum(one.steps for one in done)
        nothing = "none" if plant.control else "not found"
        told = [f"{nothing} in {steps} steps", "", "", f"{sum(one.seconds for one in done):.0f}"]
    return f"| `{plant.name}` | {plant.like} | {suite or 'not run'} | {' | '.join(told)} |"


def body(campaign: Campaign, plants: Sequence[Plant]) -> list[str]:
    """The tables with their origin."""
    rows = [(step, campaign.of(step)) for step in clean()]
    by_plant = {plant.name: came_of(campaign, plant) for plant in plants}
    done = [came for _, came in rows if came]
    done += [came for each in by_plant.values() for came in each.values()]
    if not done:
        return [NOT_RUN]
    suite = suite_found(SUITE.read_text())
    real = [plant for plant in plants if not plant.control]
    found = [p for p in real if any(came.found for came in by_plant[p.name].values())]
    over = [p for p in real if next_of(p, by_plant[p.name]) is None]
    version = next((came.version for _, came in rows if came), done[0].version)
    dates = sorted(came.date for came in done)
    cut = "" if campaign.time is None else f", {campaign.time:g} s each in place of what is said"
    lines = [f"`proof_explore.py`, {dates[0]} to {dates[-1]}, commit "
             f"{git('rev-parse', 'HEAD')[:12]}, kernel {version}{cut}: of {len(over)} plants that "
             f"are through ({len(real)} in all) {len(found)} were found.", ""]  # fmt: skip
    lines += clean_table(rows)
    lines += ["", "| plant | like | the suite | exploring | message | steps of the program | s |",
              "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [plant_row(plant, by_plant[plant.name], suite.get(plant.name, "")) for plant in plants]
    return lines


def came_of(campaign: Campaign, plant: Plant) -> dict[str, Came]:
    """What the explorations of a plant came to, by their modes."""
    return {step.mode: came for step in planted(plant) if (came := campaign.of(step)) is not None}


def _cell(text: str) -> str:
    """A guest's words in a cell of a table."""
    return " ".join(text.split())[:160].replace("|", "\\|")


def status(campaign: Campaign, plants: Sequence[Plant]) -> int:
    """The exit status for what there is."""
    rows = [campaign.of(step) for step in clean()]
    controls = [came for plant in plants if plant.control
                for came in came_of(campaign, plant).values()]  # fmt: skip
    if any(came is not None and came.found for came in [*rows, *controls]):
        return 1
    open_ = any(next_of(plant, came_of(campaign, plant)) is not None for plant in plants)
    return 3 if open_ or None in rows else 0


def wanted(name: str, only: Sequence[str]) -> bool:
    """Whether a step's name fits what was asked for; all do where nothing was."""
    return not only or any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}/*") for one in only)


def main() -> int:
    """Go on with what is not done, tell what it came to, write the page."""
    # A lab that is at work is asked to end, whichever way this is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-explored"))
    parser.add_argument("--only", action="append", default=[], metavar="GLOB",
                        help="clean/CONFIG/ARCH/SHAPE/MODE or PLANT/MODE; repeatable")  # fmt: skip
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--time", type=float, metavar="SECONDS",
                        help="explore so long each time: to try this out")  # fmt: skip
    parser.add_argument("--jobs", type=int, help="cores to use")
    parser.add_argument("--write", action="store_true", help="write docs/exploration.md")
    parser.add_argument("--no-run", action="store_true", help="only look at what was run")
    options = parser.parse_args()
    until = time.monotonic() + options.budget if options.budget is not None else None
    campaign = Campaign(options.work, options.time)
    # Controls first: where they alarm, nothing else means much.
    plants = [plant for plant in PLANTS if ARCH in plant.arches]
    ordered = sorted(plants, key=lambda plant: not plant.control)

    def due() -> bool:
        return not options.no_run and (until is None or time.monotonic() < until)

    for step in clean():
        if wanted(step.name, options.only) and campaign.of(step) is None and due():
            campaign.run(step, options.jobs)
    for plant in ordered:
        while (step := next_of(plant, came_of(campaign, plant))) is not None and due():
            if not wanted(step.name, options.only) or campaign.run(step, options.jobs) is None:
                break
    lines = body(campaign, plants)
    print("\n".join(lines))
    if options.write:
        put_between(PAGE, START, END, "\n".join(lines))
    return status(campaign, plants)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
