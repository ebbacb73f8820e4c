# SPDX-License-Identifier: GPL-2.0-only
"""Old runs: which may go, and have them go.

Never one that something else needs: what ``latest`` points to, a run that goes on, one that a run
which stays was compared with, and the clean ones with which a next run would be.  Nor one to which
its user gave a name of its own.  The history keeps what all of them came to.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.model.errors import UserError
from orchestrator.results import runs
from orchestrator.results.clean import Tried, tried
from orchestrator.results.store import load
from orchestrator.results.unfinished import going_on

#: As many runs are kept where nobody says how many.
KEEP = 30
# A folder as the lab names it: runs.run_folder().
_OURS = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9]+)?")
# What a run is renamed to before it is deleted: one that is half gone must be none.
_GOING = ".removed-"


@dataclass(frozen=True)
class Removed:
    """A run that was removed, or would be; ``size`` is what that frees (bytes on disk)."""

    folder: Path
    size: int


def prune(
    reports: Path, keep: int, protect: Iterable[Path] = (), *, dry_run: bool = False
) -> tuple[Removed, ...]:
    """Remove all runs but the newest and those that are needed; gives what went, newest first.

    What cannot be removed is left.

    :param keep: how many of the newest runs stay, those of its user's names among them.
    :param protect: folders of further runs that stay.
    """
    gone = tuple(Removed(run, freed_by(run)) for run in to_remove(reports, keep, protect))
    if not dry_run:
        for one in gone:
            with contextlib.suppress(OSError):
                one.folder.rename(one.folder.with_name(f"{_GOING}{one.folder.name}"))
        for left in reports.glob(f"{_GOING}*"):
            shutil.rmtree(left, ignore_errors=True)
    return gone


def to_remove(reports: Path, keep: int, protect: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The runs that nothing needs, newest first; see the module."""
    by_age = runs.by_age(reports)
    needed = {folder.resolve() for folder in protect}
    with contextlib.suppress(UserError):
        needed.add(runs.find_run(reports, runs.LATEST).resolve())
    stay = [
        run
        for rank, run in enumerate(by_age)
        if rank < keep or run.resolve() in needed or not _OURS.fullmatch(run.name) or going_on(run)
    ]
    baselines = {runs.baseline_of(run) for run in stay}
    stay += [run for run in by_age if run.name in baselines and run not in stay]
    stay += _clean_ones(by_age, stay)
    return tuple(run for run in by_age if run not in stay)


def _clean_ones(by_age: Sequence[Path], stay: Sequence[Path]) -> list[Path]:
    """Of the clean and complete runs those that no newer one which stays has tried all of.

    So ``last-clean`` finds the same one afterwards, whatever is to be run.
    """
    found: list[Path] = []
    known: dict[str, list[Tried]] = {}
    old = [run for run in by_age if run not in stay and runs.is_clean(run)]
    for folder in by_age if old else ():
        if folder not in old and not runs.is_clean(folder):
            continue
        with contextlib.suppress(UserError):
            run = load(folder, evidence=False)
            covered, covers = tried(run), known.setdefault(run.run.profile, [])
            if folder not in old or not any(covered <= other for other in covers):
                covers.append(covered)
                found += [folder] if folder in old else []
    return found


def freed_by(folder: Path) -> int:
    """Bytes on disk that go with a folder: not those of a file that has a link elsewhere."""
    size, links = 0, dict[tuple[int, int], tuple[int, int, int]]()
    for where, _, names in os.walk(folder):
        size += _blocks(Path(where))
        for name in names:
            with contextlib.suppress(OSError):
                info = (Path(where) / name).lstat()
                place = (info.st_dev, info.st_ino)
                seen = links.get(place, (0, 0, 0))[0] + 1
                links[place] = (seen, info.st_nlink, info.st_blocks * 512)
    return size + sum(blocks for seen, of, blocks in links.values() if seen == of)


def _blocks(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0
