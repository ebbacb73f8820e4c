#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Show that a series is judged rightly, and how sure that is: `make proof-judging`.

Six parts: a clean series and a broken one on 6.12 patch by patch, simulated histories of trials, a
flake, a race that shows in fewer than half of its runs, and the pages in a browser.  What each came
to is kept in --work until the code that it depends on is another; a run that was cut goes on.
--write puts the tables into docs/judging.md.
Exit status: 0 all is as promised, 1 something is not, 3 not all is done yet.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from judged import HOME, Part, Row, Table, commit, today
from judged_series import broken, clean, flake, race
from marks import put_between, work_folder

from orchestrator.model.judging import Decision

PAGE = HOME / "docs" / "judging.md"
#: What a run of the lab depends on.
LAB = ("orchestrator", "lab.yaml", "kernel-configs", "guest-tests")
SUPPORT = "tests/support"
#: How often a case fails with the series and without, for each kind of noise.
HISTORIES = {
    "independent": (
        (0.2, 0.2), (0.5, 0.5), (0.05, 0.05), (0.5, 0.2), (0.3, 0.0), (0.9, 0.6), (1.0, 0.0),
    ),
    "drifting": ((0.2, 0.2), (0.5, 0.5), (0.5, 0.2), (0.9, 0.6)),
    "in bursts": ((0.2, 0.2), (0.05, 0.05), (0.5, 0.2)),
}  # fmt: skip
#: As lab.yaml has them where it says nothing: of false regressions, of missed ones, and the trials.
FALSE, MISSED, USUAL = 0.01, 0.05, 100


def simulated(part: Part) -> Table | None:
    """Simulated histories: how many are called a regression, how many trials that takes."""
    return part.table("histories", histories)


def histories() -> Table:
    """A row for each kind of noise and pair of rates."""
    sys.path.append(str(HOME / SUPPORT))
    from measure_sequential import MOST, simulated

    rows = []
    for noise, rates in HISTORIES.items():
        for rate, base in rates:
            found = simulated(rate, base, noise)
            called = found.share(Decision.REGRESSION)
            soon = [found.share(one, USUAL) for one in (Decision.REGRESSION, Decision.UNDECIDED)]
            held = called <= FALSE if rate == base else called >= 1 - MISSED
            rows.append(Row((
                noise, f"{rate:.0%}", f"{base:.0%}", f"{called:.1%}",
                *(f"{share:.1%}" for share in soon), f"{found.mean_trials:.0f}",
            ), held))  # fmt: skip
    head = ("noise", "fails with the series", "without", f"called a regression in {MOST} pairs",
            f"in {USUAL}", f"undecided in {USUAL}", "mean trials")  # fmt: skip
    return Table(head, tuple(rows), today(), commit())


def browsed(part: Part) -> Table | None:
    """The pages in a browser."""
    from judged_pages import pages

    return pages(part)


@dataclass(frozen=True)
class Kind:
    """A part: what it does, what its results depend on, and what a first run of it takes."""

    name: str
    make: Callable[[Part], Table | None]
    paths: tuple[str, ...]
    takes: str


KINDS = (
    Kind("clean", clean, (*LAB, "tests/series"), "about 20 minutes"),
    Kind("broken", broken, (*LAB, "tests/series"), "about 30 minutes"),
    Kind("simulated", simulated,
         ("orchestrator/judge", f"{SUPPORT}/measure_sequential.py"), "two minutes"),
    Kind("flake", flake, (*LAB, "tests/series", "tests/e2e/flaky"), "five minutes"),
    Kind("race", race, (*LAB, "tests/series", "tests/plants"), "up to an hour"),
    Kind("pages", browsed,
         ("orchestrator/report", SUPPORT, "tools/judged_pages.py"), "five minutes"),
)  # fmt: skip


def main() -> int:
    """Run what is not done yet, tell what it came to, write the page."""
    # A lab that is at work is asked to end, whichever way this is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=work_folder("lab-judging"))
    names = [kind.name for kind in KINDS]
    parser.add_argument("--only", action="append", choices=names, metavar="PART",
                        help=f"{', '.join(names)}; repeatable")  # fmt: skip
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--write", action="store_true", help="write docs/judging.md")
    options = parser.parse_args()
    until = time.monotonic() + options.budget if options.budget is not None else None
    tables: dict[str, Table | None] = {}
    for kind in KINDS:
        chosen = not options.only or kind.name in options.only

        def may_begin(chosen: bool = chosen) -> bool:
            return chosen and (until is None or time.monotonic() < until)

        tables[kind.name] = kind.make(Part(options.work / kind.name, kind.paths, may_begin))
        print(told(kind, tables[kind.name]), flush=True)
    if options.write:
        write(PAGE, tables)
    return status(tables.values())


def told(kind: Kind, table: Table | None) -> str:
    """What a part came to, in lines for a terminal."""
    if table is None:
        return f"{kind.name}: not run"
    words = {True: "as promised", False: "NOT AS PROMISED", None: "not run"}
    rows = [f"  {words[row.held]:16}{'; '.join(row.cells)}" for row in table.rows]
    return "\n".join([f"{kind.name}: {words[table.held]}", *rows])


def status(tables: Iterable[Table | None]) -> int:
    """The exit status for what all parts came to."""
    states = [table.held if table is not None else None for table in tables]
    return 1 if False in states else 3 if None in states else 0


def write(page: Path, tables: dict[str, Table | None]) -> None:
    """Put each part's table between its marks."""
    for kind in KINDS:
        start, end = marks(kind.name)
        put_between(page, start, end, "\n".join(body(kind, tables[kind.name])))


def marks(name: str) -> tuple[str, str]:
    """What stands in the page before and behind a part's table."""
    return f"<!-- judging: {name} -->\n", f"<!-- end of judging: {name} -->"


def body(kind: Kind, table: Table | None) -> list[str]:
    """A part's table with its origin, or that it was not run."""
    if table is None:
        return [f"Not run yet: `make proof-judging` writes the table, in {kind.takes}."]
    return [f"`proof_judging.py --only {kind.name}`, {table.date}, commit {table.commit}.", "",
            *table.lines()]  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
