# SPDX-License-Identifier: GPL-2.0-only
"""``lab bisect``: the patch of a series, or the commit of a range, that brought a failure."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands.chosen import failing
from orchestrator.commands.run import Options
from orchestrator.model.errors import UserError
from orchestrator.model.results import RunResult
from orchestrator.model.spec import KernelSpec

if TYPE_CHECKING:
    from orchestrator.judge.trials import Repeat
    from orchestrator.runner.bisect import Bisected, Line


@dataclass(frozen=True)
class BisectOptions:
    """``range`` is ``git:DIR#A..B``, None for the patches of the run's series.

    ``trials`` are the most that there may be in all.
    """

    range: str | None = None
    trials: int = 100


def bisect(words: tuple[str, ...], options: Options, how: BisectOptions) -> int:
    """Search, and say in a sentence which step it is and how sure that is.

    Gives 0 where it is sure, 1 where it is not or there is nothing to search.

    :param words: a run and a case, one of them or none (:mod:`orchestrator.commands.chosen`).
    :raises UserError: when the run, the case or the range is unknown, or there is no series.
    """
    from orchestrator.commands import progress
    from orchestrator.commands.summary import print_end
    from orchestrator.report.text import visible
    from orchestrator.runner import bisect as engine

    found = failing(words, options.resume, engine.NOTES)
    repeat, earlier = found.repeat(with_base=how.range is None), found.run
    line, merges = (_patches(repeat, earlier), {}) if how.range is None else _commits(how.range)
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    given = found.options(options)
    with progress.listener(repeat.plan, shown, sys.stdout, found.places.history) as listener:
        ended = engine.bisect(
            repeat, line, found.folder, found.places, given, most=how.trials,
            rates=found.config.judging.rates, listener=listener,
        )  # fmt: skip
    said = [f"{repeat.case.id}: {visible(ended.said)}"]
    if ended.culprit and ended.culprit.first == ended.culprit.last in merges:
        said.append(
            "it is a merge; what it brought is searched by: lab bisect "
            f"{earlier.run.id} {repeat.case.id} --range {merges[ended.culprit.first]}"
        )
    if options.as_json:
        print(json.dumps(_told(ended, said)))
    print_end(ended.done, shown, options.notify, "\n".join(said))
    return ended.done.status


def _patches(repeat: Repeat, earlier: RunResult) -> Line:
    """The series that the case's kernel has, patch by patch, from its base on."""
    from orchestrator.plan.prefixes import first_patches
    from orchestrator.runner.bisect import Line

    kernel = repeat.tested.cell.build.kernel
    record = next((one for one in earlier.kernels if one.name == kernel.name), None)
    if record is not None and record.failure is not None:
        raise UserError(
            f"the series of kernel {kernel.name} of run {earlier.run.id} does not apply: patch "
            f"{record.failure.n}, {record.failure.file}:{record.failure.line}",
            "mend that patch, or try --apply 3way",
        )
    if kernel.series is None or record is None or not record.series or repeat.base is None:
        raise UserError(
            f"kernel {kernel.name} of run {earlier.run.id} has no series to search",
            "name a range of commits: --range git:DIR#GOOD..BAD",
        )
    between = (first_patches(kernel, count) for count in range(1, len(record.series)))
    kernels = (repeat.base.cell.build.kernel, *between, kernel)
    return Line(kernels, tuple(patch.subject for patch in record.series))


def _commits(where: str) -> tuple[Line, dict[int, str]]:
    """The commits of a range, and by its place each merge's range of what it brought."""
    from orchestrator.kernel.source.commits import first_parents
    from orchestrator.plan.kernels import resolve_source
    from orchestrator.runner.bisect import Line

    folder = where.removeprefix("git:").rpartition("#")[0]
    start, commits = first_parents(where)
    names = [start, *(commit.id for commit in commits)]
    sources = [resolve_source(f"git:{folder}#{name}", Path.cwd()) for name in names]
    kernels = tuple(
        KernelSpec(name[:12], source) for name, source in zip(names, sources, strict=True)
    )
    titles = tuple(f"{commit.id[:12]} {commit.subject}" for commit in commits)
    merges = {
        place: f"git:{folder}#{commit.parents[0]}..{commit.parents[1]}"
        for place, commit in enumerate(commits, 1)
        if len(commit.parents) > 1
    }
    return Line(kernels, titles, "commit"), merges


def _told(found: Bisected, said: list[str]) -> dict[str, object]:
    """The event that ends the stream of ``--json``."""
    from orchestrator.model.codec import plain

    return {
        "event": "bisect",
        "answer": "\n".join(said),
        "culprit": plain(found.culprit) if found.culprit else None,
        "trials": [[one.place, one.failed] for one in found.trials],
        "left_out": list(found.left_out),
    }
