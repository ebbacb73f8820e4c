#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Show how well the code that moves pages is tested: `make proof-tested`.

`lab mutate` over the functions of UFFDIO_MOVE in 6.12: a random sample of their mutants, tried with
the deterministic workloads and then, what survives these, with the racing ones.  The campaign is
kept in --work and goes on where it was cut.  --write puts the tables into docs/tested.md, with the
sentence on each survivor that tools/survivors.json has.
Exit status: 0 all was caught or is explained, 1 a survivor is not, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from marks import HOME, LAB, git, put_between, work_folder

from orchestrator.judge.mutants import by_function, of_outcome, sentence
from orchestrator.model.mutants import Campaign, Outcome, Tried
from orchestrator.report.markdown import code
from orchestrator.report.mutants_text import HEAD, caught_by, cells, place
from orchestrator.results import mutants

PAGE = HOME / "docs" / "tested.md"
SENTENCES = HOME / "tools" / "survivors.json"
START, END = "<!-- tested -->\n", "<!-- end of tested -->"
NOT_RUN = "Not run yet: `make proof-tested` writes the tables."
NO_SENTENCE = "**not explained yet**"

#: What UFFDIO_MOVE is made of in 6.12: move_pages() and what it calls, from mm/userfaultfd.c on.
#: There is a system call move_pages too, in mm/migrate.c.
FUNCTIONS = (
    "mm/userfaultfd.c:move_pages", "move_pages_pte", "move_present_pte", "move_swap_pte",
    "move_zeropage_pte", "validate_move_areas", "vma_move_compatible", "move_splits_huge_pmd",
    "double_pt_lock", "double_pt_unlock", "uffd_move_lock",
    "uffd_move_unlock", "find_vmas_mm_locked", "move_pages_huge_pmd",
)  # fmt: skip
SAMPLE, SEED = 130, 612
#: Families of workloads; of the last one all race.
WORKLOADS = ("uffd-move", "ledger", "race")
PLACE = ("--kernel", "v6.12", "--config", "default", "--arch", "x86_64", "--shape", "small")


def main() -> int:
    """Go on with the campaign, tell what it came to, write the page."""
    # A lab that is at work is asked to end, whichever way this is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-tested"))
    parser.add_argument("--budget", type=int, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--jobs", type=int, help="cores to use")
    parser.add_argument("--write", action="store_true", help="write docs/tested.md")
    parser.add_argument("--no-run", action="store_true", help="only look at what was run")
    parser.add_argument("--survivors-again", action="store_true",
                        help="try what survived once more: a workload was added")  # fmt: skip
    parser.add_argument("--anew", action="store_true", help="forget what was run")
    options = parser.parse_args()
    folder = options.work / "campaign"
    if options.anew:
        shutil.rmtree(folder, ignore_errors=True)
    if options.survivors_again:
        forget_survivors(folder)
    if not options.no_run:
        subprocess.run(command(folder, options.budget, options.jobs), cwd=HOME, check=False)
    campaign = mutants.load(folder) if (folder / mutants.FILE).exists() else None
    told = sentences(SENTENCES)
    if options.write:
        put_between(PAGE, START, END, "\n".join(body(campaign, told)))
    print(sentence(campaign) if campaign else "not run", flush=True)
    return status(campaign, told)


def command(folder: Path, budget: int | None, jobs: int | None) -> list[str]:
    """The command that begins the campaign, or goes on with it."""
    argv = [str(LAB), "mutate", "--plain", "--no-notify"]
    argv += ["--budget", f"{budget}s"] if budget is not None else []
    argv += ["--jobs", str(jobs)] if jobs is not None else []
    if (folder / mutants.FILE).exists():
        return [*argv, "--resume", str(folder)]
    for family in WORKLOADS:
        argv += ["--workload", family]
    argv += ["--function", ",".join(FUNCTIONS), "--sample", str(SAMPLE), "--seed", str(SEED)]
    return [*argv, "-p", "full", *PLACE, "--out", str(folder)]


def forget_survivors(folder: Path) -> None:
    """Have what survived tried again when the campaign goes on."""
    found = mutants.load(folder)
    left = tuple(one for one in found.tried if one.outcome is not Outcome.SURVIVED)
    mutants.save(replace(found, tried=left, cut="survivors are tried again"), folder)


def sentences(path: Path) -> dict[str, str]:
    """What is known of survivors, by the mutant's name."""
    return {str(name): str(text) for name, text in json.loads(path.read_text()).items()}


def unexplained(campaign: Campaign, told: dict[str, str]) -> list[Tried]:
    """The survivors of which nobody has said why."""
    survivors = of_outcome(campaign, Outcome.SURVIVED)
    return [one for one in survivors if one.mutant.name not in told]


def status(campaign: Campaign | None, told: dict[str, str]) -> int:
    """The exit status for what there is."""
    if campaign is None or campaign.cut or campaign.problems:
        return 3
    if of_outcome(campaign, Outcome.NOT_JUDGED):
        return 3
    return 1 if unexplained(campaign, told) else 0


def body(campaign: Campaign | None, told: dict[str, str]) -> list[str]:
    """The tables with their origin, or that nothing was run."""
    if campaign is None:
        return [NOT_RUN]
    rows = [f"`proof_tested.py`, {campaign.finished[:10] or campaign.started[:10]}, "
            f"commit {git('rev-parse', 'HEAD')[:12]}, kernel {campaign.version}, seed "
            f"{campaign.seed}: {sentence(campaign)}.", ""]  # fmt: skip
    if campaign.cut:
        rows += [f"Not at its end: {campaign.cut}.", ""]
    rows += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for score in by_function(campaign):
        first, *rest = cells(score)
        rows.append(f"| {code(first)} | {' | '.join(rest)} |")
    survivors = of_outcome(campaign, Outcome.SURVIVED)
    if survivors:
        rows += ["", "| survived | fault | why |", "|---|---|---|"]
        for one in survivors:
            why = told.get(one.mutant.name, NO_SENTENCE)
            rows.append(f"| {_cell(place(one))} | {_cell(one.mutant.told)} | {why} |")
    caught = of_outcome(campaign, Outcome.CAUGHT)
    if caught:
        rows += ["", "| caught | fault | by |", "|---|---|---|"]
        rows += [f"| {_cell(place(one))} | {_cell(one.mutant.told)} | {_cell(caught_by(one))} |"
                 for one in caught]  # fmt: skip
    return rows


def _cell(text: str) -> str:
    """Source or a guest's words in a cell of a table: a bar would end it, in code too."""
    return code(text, 120).replace("|", "\\|")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
