# SPDX-License-Identifier: GPL-2.0-only
"""``lab explore``: random programs against a model of memory, until the time is spent."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.incoming import received
from orchestrator.commands.run import Options
from orchestrator.commands.workspace import (
    command_line,
    find_places,
    in_tree,
    load,
    stored_places,
    with_history,
)
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_OK, UserError
from orchestrator.model.formats import counted
from orchestrator.model.spec import Plan, WorkloadSpec
from orchestrator.plan.explore import (
    MODES,
    REPLAY,
    configs_for,
    exploring,
    mode_of,
    refuse_unable,
    replaying,
)
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.results import corpus, kept

if TYPE_CHECKING:
    from orchestrator.runner.context import Listener, Places
    from orchestrator.runner.run import Done, RunOptions

#: How long is explored where nothing is said (s).
TIME = 1800.0
_CORPUS_DOES = ("export", "import", "minimise")


@dataclass(frozen=True)
class ExploreOptions:
    """``seconds`` is how long, ``seed`` what the programs come of (None: another one each time).

    ``finds`` ends it with so many that nobody foresaw; ``trials`` and ``seconds`` are what a find
    that is made smaller may take.  ``corpus`` is a folder (None: the cache's).
    ``unguided``: no program is made of others, whatever the kernel tells of coverage.
    """

    seconds: float | None = None
    seed: int | None = None
    mode: str = "steady"
    finds: int | None = None
    corpus: Path | None = None
    unguided: bool = False
    trials: int = 500


def explore(
    words: tuple[str, ...], selection: Selection, options: Options, how: ExploreOptions
) -> int:
    """What the words ask for; none: explore.

    :param words: none, ``replay FILE``, ``shrink RUN FIND`` or ``corpus export|import|minimise``.
    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    match words:
        case ():
            return _explore(selection, options, how)
        case ("replay", file):
            return _replay(Path(file), selection, options, how)
        case ("shrink", *what) if what or options.resume:
            return _shrink(tuple(what), options, how)
        case ("corpus", does, folder) if does in _CORPUS_DOES[:2]:
            return _corpus(does, Path(folder), how)
        case ("corpus", "minimise"):
            return _corpus("minimise", None, how)
    raise click.UsageError(
        "nothing, `replay FILE`, `shrink RUN FIND`, `corpus export DIR`, `corpus import DIR` or "
        f"`corpus minimise`, not {shlex.join(words)!r}"
    )


def _plan(selection: Selection, mode: str, places: Places) -> Plan:
    if selection.workloads:
        raise click.UsageError("--workload: lab explore has its own, --mode says which")
    config = load(places)
    chosen = replace(
        received(in_tree(selection, places), places), workloads=(MODES[mode],),
        configs=configs_for(mode, config, selection.configs),
    )  # fmt: skip
    plan = make_plan(config, chosen, tuple(ARCHES))
    refuse_unable(plan, mode, config)
    return exploring(plan, mode)


def _explore(selection: Selection, options: Options, how: ExploreOptions) -> int:
    from orchestrator.runner import explore as engine
    from orchestrator.runner.guiding import Guidance

    places = find_places(anywhere=selection.source is not None)
    plan = _plan(selection, how.mode, places)
    with_history(places)
    folder = how.corpus or places.cache.corpus
    # A kernel that cannot have allocations fail would skip what does.
    known = corpus.read(folder)
    programs = tuple(one for one in known if mode_of(one[1], how.mode) == how.mode)
    seed = secrets.randbits(32) if how.seed is None else how.seed
    guidance = Guidance(kept.read(folder), seed=seed, unguided=how.unguided)

    def carry_out(given: RunOptions, listener: Listener) -> Done:
        return engine.explore(
            plan, places, given, seconds=how.seconds or TIME, seed=seed, finds=how.finds,
            corpus=programs, guidance=guidance, listener=listener,
        )  # fmt: skip

    def end(done: Done) -> Iterator[str]:
        new = 0
        for why, lines in engine.programs_of(done.result):
            new += corpus.keep(folder, [lines], why)
        if new:
            yield f"{counted(new, 'program')} new in the corpus {folder}"
        if guidance.kept:
            # Another exploration may have added some by now.
            both = kept.joined(kept.read(folder), guidance.bases)
            new = kept.write(folder, kept.bounded(both))
            yield f"{counted(new, 'program')} more to make others of in {folder / kept.FOLDER}"

    return _run(plan, places, selection, options, carry_out, end)


def _replay(file: Path, selection: Selection, options: Options, how: ExploreOptions) -> int:
    from orchestrator.runner.run import run_plan

    name, lines = corpus.read_file(file)
    places = find_places(anywhere=selection.source is not None)
    plan = _plan(selection, mode_of(lines, how.mode), places)

    def one(spec: WorkloadSpec) -> WorkloadSpec:
        return replaying(spec, [(REPLAY, lines)])

    cells = (replace(cell, workloads=tuple(map(one, cell.workloads))) for cell in plan.cells)
    plan = replace(plan, cells=tuple(cells))

    def carry_out(given: RunOptions, listener: Listener) -> Done:
        return run_plan(plan, places, given, listener=listener)

    def end(_done: Done) -> Iterator[str]:
        yield f"{counted(len(lines), 'step')} of program {name}"

    return _run(plan, places, selection, options, carry_out, end)


def _run(
    plan: Plan,
    places: Places,
    selection: Selection,
    options: Options,
    carry_out: Callable[[RunOptions, Listener], Done],
    end: Callable[[Done], Iterator[str]],
) -> int:
    """Carry out a plan, show how it goes on and what it came to; gives its exit status."""
    from orchestrator.commands import progress
    from orchestrator.commands.summary import print_end
    from orchestrator.runner.run import RunOptions

    if options.resume:
        raise click.UsageError("--resume: only `lab explore shrink` can go on")
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    given = RunOptions(
        out=options.out, jobs=options.jobs, command=command_line(selection.series), retries=0
    )
    with progress.listener(plan, shown, sys.stdout, places.history) as listener:
        done = carry_out(given, listener)
    said = "; ".join(end(done))
    if options.as_json and said:
        print(json.dumps({"event": "explore", "answer": said}))
    print_end(done, shown, options.notify, said)
    return done.status


def _shrink(words: tuple[str, ...], options: Options, how: ExploreOptions) -> int:
    """Make a find's program smaller, tell each step that is gone, and what is left.

    Gives 0 where nothing more can go, 1 where that is not known or the find does not come again.
    """
    from orchestrator.commands import progress
    from orchestrator.commands.chosen import failing
    from orchestrator.commands.summary import print_end
    from orchestrator.report.text import visible
    from orchestrator.runner import shrink as engine

    chosen = failing(words, options.resume, engine.NOTES)
    if chosen.case.find is None:
        raise UserError(f"{chosen.case.id} is no find: it has no program",
                        f"`lab report {chosen.folder.name}` names its finds")  # fmt: skip
    repeat = chosen.repeat(with_base=False)
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    with progress.listener(repeat.plan, shown, sys.stdout, chosen.places.history) as listener:
        ended = engine.shrink(
            repeat, chosen.folder, chosen.places, chosen.options(options), most=how.trials,
            seconds=how.seconds, listener=listener,
        )  # fmt: skip
    folder = how.corpus or chosen.places.cache.corpus
    if ended.sure:
        corpus.keep(folder, [ended.program], chosen.case.find.title)
    said = f"{chosen.case.id}: {visible(ended.said)}"
    if options.as_json:
        told = {"event": "shrink", "answer": said, "complete": ended.sure}
        print(json.dumps(told | {"program": ended.program}))
    program = "\n".join(["program:", *(f"  {visible(line)}" for line in ended.program)])
    print_end(ended.done, shown, options.notify, said, program)
    return ended.done.status


def _corpus(does: str, folder: Path | None, how: ExploreOptions) -> int:
    """Have the corpus's files elsewhere, programs of elsewhere in it, or fewer of them."""
    mine = how.corpus or stored_places(".").cache.corpus
    if folder is None:
        programs, bases = corpus.read(mine), kept.read(mine)
        gone, passing = corpus.superfluous(programs), kept.superfluous(bases)
        corpus.remove(mine, gone)
        if passing:
            kept.write(mine, (base for base in bases if base.name not in passing))
        click.echo(f"{counted(len(gone), 'program')} of {len(programs)} gone, contained in others")
        if bases:
            less = f"{counted(len(passing), 'program')} of {len(bases)} to make others of gone"
            click.echo(f"{less}: the rest passes as much")
        return EXIT_OK
    source, target = (mine, folder) if does == "export" else (folder, mine)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder", "name a folder of programs")
    programs, bases = corpus.read(source), kept.read(source)
    new = corpus.keep(target, [lines for _, lines in programs])
    more = kept.write(target, kept.bounded(kept.joined(kept.read(target), bases))) if bases else 0
    click.echo(f"{counted(new, 'program')} of {len(programs)} new in {target}")
    if bases:
        click.echo(f"{counted(more, 'program')} of {len(bases)} to make others of new there")
    return EXIT_OK
