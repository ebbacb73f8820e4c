#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Disturb real runs of the lab at every stage, and see that it ends well each time: `make chaos`.

Each entry of tools/chaos_table.py is one injection: a run that is harmed, and the next one, which
must come to what an undisturbed one comes to.  Outcomes are kept in --work, each with the commit it
is of, until --fresh; --write puts the table into docs/chaos.md.  Needs root, for mounts and control
groups of its own; the real cache is only read.  Exit status: 0 all held, 1 something did not, 3
something was not run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import chaos_check as check
import chaos_ground as grounds
import chaos_harm as harm
from chaos_ground import Ground
from chaos_table import HEAVY, LIGHT, MOMENTS, Injection
from first_answer import EDIT
from judged import commit, today
from marks import HOME, LAB, keep, put_between, work_folder

from orchestrator.host.cache.files import Cache

PAGE = HOME / "docs" / "chaos.md"
START, END = "<!-- injections -->\n", "<!-- end of injections -->"
#: How long one run of the lab may take (s); a machine that does other work beside is slow.
DEADLINE = 420.0
#: Profiles of tests/e2e/chaos of which guests harm themselves; else a workload of that name.
_PROFILES = ("brief", "host", "guest", "no-init", "resets", "silent")


@dataclass(frozen=True)
class Ended:
    """How a run of the lab ended, and what it said."""

    status: int
    out: str
    seconds: float


#: Moments of a build.
_COMPILES = ("compile", "making", "link")


class Campaign:
    """The injections at work: what is kept of them, and the undisturbed runs they are held to."""

    def __init__(self, work: Path, cache: Path) -> None:
        self.work = work
        self.cache = cache
        self.pristine = work / "pristine"

    # ------------------------------------------------------------ what is kept

    def kept(self, entry: Injection) -> dict[str, Any] | None:
        """The outcome of an injection, where there is one of this very entry."""
        try:
            outcome: dict[str, Any] = json.loads(self._file(entry.name).read_text())
        except (OSError, ValueError):
            return None
        return outcome if outcome.get("entry") == repr(entry) else None

    def _keep(self, entry: Injection, outcome: dict[str, Any]) -> dict[str, Any]:
        outcome = {"entry": repr(entry), "date": today(), "commit": commit(), **outcome}
        keep(self._file(entry.name), outcome)
        return outcome

    def _file(self, name: str) -> Path:
        return self.work / "outcomes" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"

    # ------------------------------------------------------------ one injection

    def inject(self, entry: Injection) -> dict[str, Any]:
        """Do one injection, judge it, and keep the outcome; ``wrong`` is empty where all held."""
        right = self.undisturbed(entry.run)
        disks: dict[str, str] = {}
        if entry.what.startswith("disk="):
            disks[entry.victim] = entry.what.partition("=")[2]
        if entry.what.startswith("fill="):
            name = "layers" if entry.victim == "cache" else entry.victim
            disks[name] = "1500m" if name == "layers" else "16m"
        folder = self.work / f"at-work-{os.getpid()}"
        began = time.monotonic()
        with grounds.ground(folder, self.pristine, self.cache, disks) as place:
            try:
                wrong, told = self._judged(entry, place, right)
            finally:
                for pid, _ in harm.members(place.group):
                    harm.strike([pid], "kill")
        seconds = round(time.monotonic() - began, 1)
        return self._keep(entry, {"wrong": wrong, "told": told, "seconds": seconds})

    def _judged(self, entry: Injection, place: Ground, right: dict[str, Any]) -> tuple[str, str]:
        since = time.time()
        words = self._words(entry.run)
        if entry.when == "again":  # there is a run already
            first = self._start(place, [*words, "--out", str(place.reports / "first")])
            if first.wait(DEADLINE) != right["run"]["exit_status"]:
                return f"the run before it ended with {first.returncode}", ""
        ended = self._harmed(entry, place, words)
        told = f"exit status {ended.status}"
        if ended.status < 0 and ended.status != -9:
            told += " (signal)"
        wrong = check.wrong_end(entry, ended.status, ended.out)
        if left := check.orphans(place.group):
            wrong = wrong or f"left processes: {', '.join(left)[:120]}"
        if locks := list(check.held_locks(self.cache, since)):
            wrong = wrong or f"left locks that are held: {locks[0]}"
        for run in {run.resolve() for run in place.reports.glob("*/")}:
            if entry.when == "again" and run.name == "first":  # what was harmed, not written
                continue
            wrong = wrong or check.half_written(run)
        if entry.then == "-" or wrong:
            return wrong, told
        return self._next(entry, place, right, words, told)

    def _next(
        self, entry: Injection, place: Ground, right: dict[str, Any], words: list[str], told: str
    ) -> tuple[str, str]:
        """The run after the harm: it must come to what an undisturbed one comes to."""
        if entry.what.startswith("disk="):
            subprocess.run(["umount", "--lazy", place.place(entry.victim)], check=True, timeout=20)
            if entry.victim == "cache":
                grounds.bind(self.pristine, self.cache)
            else:
                grounds.small_disk(place.place(entry.victim), "1g")
        for name in ("reports", "tmp", "cache"):  # room again
            (place.place(name) / "filled-by-another").unlink(missing_ok=True)
        run = place.reports / "harmed"
        resumed = entry.then == "resume" and (run / "results.json").is_file()
        again = place.reports / "next"
        words = ["run", "--resume", str(run)] if resumed else [*words, "--out", str(again)]
        lab = self._start(place, words, "next")
        status = lab.wait(DEADLINE)
        told += ", resumed" if resumed else ", run again"
        out = (place.folder / "next.log").read_text(errors="replace")
        wrong = check.wrong_end(_RIGHT, status, out)
        if wrong:
            return f"the next run: {wrong}", told
        found = json.loads((run if resumed else again).joinpath("results.json").read_text())
        if difference := check.same_results(found, right):
            return f"the next run differs in {difference}", told
        if left := check.leftovers(self.cache, place.tmp):
            return f"left {left[0]} behind", told
        return "", told

    def _harmed(self, entry: Injection, place: Ground, words: list[str]) -> Ended:
        """The run that is disturbed, to its end."""
        began = time.monotonic()
        around: Sequence[str] = ()
        name, _, value = entry.what.partition("=")
        where, _, pattern = entry.victim.partition(":")
        if pattern and entry.when in ("before", "again"):
            found = harm.damage(place.place(where), pattern, entry.what)
            if not found:
                return Ended(check.NOTHING_THERE, f"nothing to damage: {pattern}", 0.0)
        if name in ("as", "nofile"):
            around = harm.limits(value if name == "as" else "", value if name == "nofile" else "")
        elif name == "clock":
            around = harm.clock(value)
        elif name == "fill" and entry.when == "before":
            harm.fill(place.place(where), int(value))
        if entry.run == "host" and entry.when in _COMPILES:  # what is kept is not compiled
            shutil.rmtree(Cache(place.cache).selftests, ignore_errors=True)
        if entry.when == "unpacking":  # nor is a root that is kept unpacked
            shutil.rmtree(Cache(place.cache).roots)
        if pattern.startswith("ccache/"):  # nor an object that is kept looked for
            shutil.rmtree(Cache(place.cache).objects)
        many = int(value) if name == "labs" else 1
        out = ["--out", str(place.reports / "harmed")]
        labs = [self._start(place, [*words, *out], "harmed", around)]
        labs += [
            self._start(place, [*words, "--out", str(place.reports / f"beside-{number}")], "beside")
            for number in range(1, many)
        ]
        came = entry.when in ("before", "again", "-") or self._strike(entry, place, labs[0])
        statuses = []
        for lab in labs:
            try:
                statuses.append(lab.wait(DEADLINE))
            except subprocess.TimeoutExpired:
                harm.strike([lab.pid], "kill")
                lab.wait(20)
                statuses.append(check.NO_END)
        text = (place.folder / "harmed.log").read_text(errors="replace")
        worst = next((one for one in statuses if one not in entry.status), statuses[0])
        if not came:
            worst = check.NEVER_CAME
        return Ended(worst, text, time.monotonic() - began)

    def _strike(self, entry: Injection, place: Ground, lab: subprocess.Popen[bytes]) -> bool:
        """Wait for the moment, and do it; gives whether it came."""
        until = time.monotonic() + DEADLINE
        while lab.poll() is None and time.monotonic() < until:
            if self._come(entry, place, lab.pid):
                where = entry.victim
                if entry.what.startswith("fill="):
                    harm.fill(place.place(where), int(entry.what.partition("=")[2]))
                    return True
                if found := harm.victims(place.group, lab.pid, where):
                    harm.strike(found, entry.what)
                    return True
            time.sleep(0.01)
        return False

    def _come(self, entry: Injection, place: Ground, lab: int) -> bool:
        if entry.when not in MOMENTS:
            time.sleep(float(entry.when))
            return True
        kind, _, sign = MOMENTS[entry.when].partition(":")
        if kind == "caught":
            return harm.catches_sigterm(lab)
        if kind == "file":
            return (place.reports / "harmed" / sign).exists()
        if kind == "said":
            return sign in (place.folder / "harmed.log").read_text(errors="replace")
        return bool(harm.victims(place.group, lab, sign))

    # ------------------------------------------------------------ the lab

    def _words(self, run: str) -> list[str]:
        if run == "build":
            series = self.work / "one-line.patch"
            series.write_text(EDIT.format(n="chaos"))
            return ["build", "-p", "guest", "--kernel", "v6.12", "--series", str(series)]
        if run in _PROFILES:
            return ["run", "-p", run]
        return [
            "run",
            "-p",
            "guest-harm",
            *(f"--workload=chaos/{x}" for x in ("first", run, "last")),
        ]

    def _start(
        self, place: Ground, words: list[str], log: str = "before", around: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ, "LAB_CACHE": str(self.cache), "TMPDIR": str(place.tmp),
            "HOME": str(place.folder),
        }  # fmt: skip

        def join() -> None:
            (place.group / "cgroup.procs").write_text("0")

        with (place.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                [*around, str(LAB), *words, "--plain", "--no-notify"], cwd=place.home, stdout=out,
                stderr=out, env=environment, preexec_fn=join, start_new_session=True,
            )  # fmt: skip

    def undisturbed(self, run: str) -> dict[str, Any]:
        """The results of a run that nobody disturbs, made once; it also warms the copied cache.

        But for a build: it must be there to be made when it is disturbed.
        """
        if run not in ("brief", "host", "guest", "build"):
            return {}
        entry = Injection("-", run, "-", "-", "undisturbed")
        outcome = self.kept(entry)
        if outcome is not None:
            results: dict[str, Any] = outcome["results"]
            return results
        grounds.copy_cache(self.cache, self.pristine)
        with grounds.ground(
            self.work / f"at-work-{os.getpid()}", self.pristine, self.cache, {}
        ) as place:
            warming = grounds.bound(self.pristine, self.cache) if run != "build" else nullcontext()
            out = place.reports / "harmed"
            with warming:
                lab = self._start(place, [*self._words(run), "--out", str(out)], "undisturbed")
                status = lab.wait(1500)
            text = (place.folder / "undisturbed.log").read_text(errors="replace")
            if status != 0:
                raise SystemExit(f"chaos: an undisturbed run ends with {status}:\n{text[-3000:]}")
            results = json.loads((out / "results.json").read_text())
        self._keep(entry, {"results": results, "wrong": ""})
        return results


_RIGHT = Injection("-", "-", "-", "-", "-")


def table(entries: list[Injection], outcomes: list[dict[str, Any] | None]) -> str:
    """The page's table."""
    done = [one for one in outcomes if one is not None]
    held = sum(not one["wrong"] for one in done)
    head = f"{held} of {len(done)} injections held, of {len(entries)} in the table."
    rows = ["| stage | run | when | victim | what | outcome | s | held |", "|---" * 8 + "|"]
    for entry, outcome in zip(entries, outcomes, strict=True):
        told, took, state = "", "", "not run"
        if outcome is not None:
            told, took = outcome["told"], f"{outcome['seconds']:.0f}"
            state = f"**no**: {outcome['wrong'][:160]}" if outcome["wrong"] else "yes"
        cells = (entry.stage, entry.run, entry.when, f"`{entry.victim}`", f"`{entry.what}`", told,
                 took, state)  # fmt: skip
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    dates = sorted({f"{one['date']}, commit {one['commit']}" for one in done})
    return "\n".join([f"{head} {'; '.join(dates)}.", "", *rows])


def main() -> int:
    """Do what is not done yet, tell what did not hold, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-chaos"))
    parser.add_argument("--budget", type=float, help="begin nothing after so many seconds")
    parser.add_argument("--only", action="append", metavar="WORD", help="entries with this word")
    parser.add_argument("--light", action="store_true", help="those without kernels and guests")
    parser.add_argument("--list", action="store_true", help="tell the entries alone")
    parser.add_argument("--again", action="store_true", help="also what did not hold before")
    parser.add_argument("--fresh", action="store_true", help="all of them, whatever is kept")
    parser.add_argument("--heavy", action="store_true", help="those with kernels and guests alone")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    entries = [
        one
        for one in (*(() if options.heavy else LIGHT), *(() if options.light else HEAVY))
        if not options.only or any(word in one.name for word in options.only)
    ]
    if options.list:
        print("\n".join(entry.name for entry in entries))
        return 0
    grounds.enter_namespace([sys.executable, *sys.argv])
    cache = Path(os.environ.get("LAB_CACHE", work_folder("lab"))).expanduser()
    campaign = Campaign(options.work, cache)
    until = time.monotonic() + (options.budget or float("inf"))
    outcomes = []
    for entry in entries:
        outcome = campaign.kept(entry)
        stale = outcome is None or options.fresh or (options.again and outcome["wrong"])
        if stale and time.monotonic() < until:
            outcome = campaign.inject(entry)
            print(f"{datetime.now(UTC):%H:%M:%S} {entry.name}: {outcome['told']} "
                  f"({outcome['seconds']} s) {outcome['wrong'] or 'held'}", flush=True)  # fmt: skip
        outcomes.append(outcome)
    if options.write:
        put_between(PAGE, START, END, table(entries, outcomes))
    done = [one for one in outcomes if one is not None]
    wrong = [one for one in done if one["wrong"]]
    print(f"{len(done)} of {len(entries)} run, {len(wrong)} did not hold")
    return 1 if wrong else 3 if len(done) < len(entries) else 0


if __name__ == "__main__":
    sys.exit(main())
