# SPDX-License-Identifier: GPL-2.0-only
"""``lab run``, ``lab build`` and ``lab plan``: make a plan, have it run, show what comes of it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.commands.base import against_base
from orchestrator.commands.each_patch import by_patch
from orchestrator.commands.elsewhere import cluster_of
from orchestrator.commands.incoming import received
from orchestrator.commands.likely import likeliest_first
from orchestrator.commands.workspace import (
    command_line,
    find_places,
    in_tree,
    load,
    read,
    stored_places,
    with_history,
)
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.plan.matrix import Selection, make_plan
from orchestrator.results import runs, store

if TYPE_CHECKING:
    from orchestrator.model.spec import Plan
    from orchestrator.runner.context import Places
    from orchestrator.runner.run import Done


@dataclass(frozen=True)
class Options:
    """The options of ``lab run`` that are no selection.

    ``baseline`` is a run, ``last-clean``, a kernel's name or None; ``fail_on`` is ``any``,
    ``regression`` or None (regression where there is a baseline).  ``seed`` is that of the looping
    workloads (None: a new one), ``time_budget`` (s) takes the place of the profile's.  ``base`` is
    a commit of the tree under test, which is built and run as its baseline.  ``each_patch`` says
    how far every beginning of the tested series is tried (:data:`.prefixes.DEPTHS`; None: only the
    whole).  ``retries`` is how often a case that regressed is tried again at most (None: as
    lab.yaml says).  ``fail_fast`` ends at the first failure that nobody foresaw.  ``scheduler`` is
    a cluster's address, ``store`` and ``tls`` are its store and the folder with the certificates
    (None: as ``cluster:`` of lab.yaml says).
    """

    baseline: str | None = None
    fail_on: str | None = None
    out: Path | None = None
    jobs: int | None = None
    plain: bool = False
    as_json: bool = False
    boot: bool = True
    resume: str | None = None
    seed: int | None = None
    time_budget: float | None = None
    base: str | None = None
    each_patch: str | None = None
    quiet: bool = False
    notify: bool | None = None
    retries: int | None = None
    fail_fast: bool = False
    scheduler: str | None = None
    store: str | None = None
    tls: Path | None = None


def run(selection: Selection, options: Options) -> int:
    """Do a whole run and give its exit status.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    from orchestrator.commands.summary import print_end

    done, shown = carry_out(selection, options)
    print_end(done, shown, options.notify)
    return done.status


def carry_out(
    selection: Selection,
    options: Options,
    *,
    command: str = "",
    beside: tuple[Path, ...] = (),
    arrange: Callable[[Plan, Places], Plan] | None = None,
) -> tuple[Done, str]:
    """A whole run up to its summary; gives it, and how it was shown (:func:`.progress.choose`).

    :param command: what is stored as the run's command (default: that of this process).
    :param beside: folders of runs elsewhere that ``last-clean`` may mean too.
    :param arrange: puts the plan in an order (default: what is likeliest to fail comes first).
    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    from orchestrator.commands import progress
    from orchestrator.runner.run import (
        RunOptions,
        check_baseline,
        choose_baseline,
        last_clean,
        run_plan,
    )

    places = find_places(anywhere=selection.source is not None)
    config = load(places)
    with_history(places)
    if options.fail_on == "regression" and options.baseline is None and options.base is None:
        raise UserError(
            "--fail-on regression: without a baseline nothing can be called a regression",
            "name one with --baseline; `--baseline none` says that there is none yet, and any "
            "failure counts",
        )
    selection = received(in_tree(selection, places), places)
    selection = against_base(selection, options.base, options.baseline)
    baseline, selection = choose_baseline(places, config, selection, options.baseline)
    plan = make_plan(config, selection, tuple(ARCHES))
    if options.time_budget is not None:
        plan = replace(plan, time_budget=options.time_budget)
    check_baseline(plan)
    plan = by_patch(plan, options.each_patch)
    if options.baseline == runs.LAST_CLEAN:
        baseline = last_clean(places, plan, beside)
        if baseline.run is None and not options.quiet:
            click.echo(f"lab: {no_clean_run(plan.profile)}", err=True)
    if arrange is None:
        plan = likeliest_first(plan, places, base_beside=options.fail_fast)
    else:
        plan = arrange(plan, places)
    how = RunOptions(
        out=options.out,
        resume=runs.find_run(places.reports, options.resume) if options.resume else None,
        jobs=options.jobs,
        boot=options.boot,
        seed=options.seed,
        fail_on=options.fail_on,
        command=command or command_line(selection.series),
        retries=options.retries,
        fail_fast=options.fail_fast,
    )
    engine = cluster_of(config, options.scheduler, options.store, options.tls)
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    with progress.listener(plan, shown, sys.stdout, places.history) as listener:
        done = run_plan(plan, places, how, baseline=baseline, listener=listener, engine=engine)
        return done, shown


def no_clean_run(profile: str) -> str:
    """What is said where ``last-clean`` finds none."""
    return f"no clean and complete run of profile {profile} yet: every failure counts"


def command_of(run_name: str) -> list[str]:
    """The words after ``lab run`` that an earlier run was started with.

    :raises UserError: when there is no such run, or another command made it.
    """
    earlier = store.load(runs.find_run(stored_places().reports, run_name))
    words = shlex.split(earlier.run.command)
    if words[:2] != ["lab", "run"]:
        raise UserError(
            f"run {earlier.run.id} cannot be resumed: it was made by {earlier.run.command!r}",
            "start it again",
        )
    if any(word.partition("=")[0] == "--resume" for word in words):
        raise UserError(
            f"run {earlier.run.id} cannot be resumed again: an older lab that resumed it did not "
            "keep what was asked for",
            "start it again",
        )
    return words[2:]


def plan_text(
    selection: Selection,
    as_json: bool,
    baseline: str | None = None,
    base: str | None = None,
    each_patch: str | None = None,
) -> str:
    """What ``lab plan`` prints."""
    from orchestrator.commands.foretell import first_builds, notes
    from orchestrator.plan.show import explain, plan_to_dict

    places = find_places(anywhere=selection.source is not None)
    config = read(places)
    selection = against_base(in_tree(selection, places), base, baseline)
    if baseline and any(kernel.name == baseline for kernel in config.kernels):
        selection = replace(selection, baseline=baseline)
    plan = by_patch(make_plan(config, selection, tuple(ARCHES)), each_patch)
    plan = likeliest_first(plan, places)
    if as_json:
        return json.dumps(plan_to_dict(plan), indent=1)
    more = (first_builds(plan, places.cache), "\n".join(notes(plan, places.cache)))
    return "\n".join([explain(plan), *(f"{text}\n" for text in more if text)])
