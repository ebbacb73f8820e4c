# SPDX-License-Identifier: GPL-2.0-only
"""``lab nightly``: update, run, keep, prune, tell; one at a time."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from orchestrator import HOME
from orchestrator.commands.likely import knowing
from orchestrator.commands.run import Options, carry_out
from orchestrator.commands.summary import print_end
from orchestrator.commands.telling import Teller
from orchestrator.commands.workspace import find_places, read
from orchestrator.host import process
from orchestrator.host.only_one import only_one
from orchestrator.model.errors import EXIT_HOST, EXIT_OK, HostError, LabError, UserError
from orchestrator.model.nightly import NightlySpec
from orchestrator.model.spec import Plan
from orchestrator.plan.matrix import Selection
from orchestrator.plan.worth import most_valuable_first
from orchestrator.report.night import Letter, is_silent, letter, no_run
from orchestrator.results import runs
from orchestrator.results.cell_past import cell_pasts
from orchestrator.results.prune import prune
from orchestrator.runner import record
from orchestrator.runner.context import Places
from orchestrator.runner.run import Done

#: The lock of a lab's nights, below reports/.
LOCK = ".nightly.lock"
# Seconds for one command of update:.
_UPDATE = 3600.0


@dataclass(frozen=True)
class NightOptions:
    """The options that are the night's own; None or False leaves it to lab.yaml."""

    keep_reports: int | None = None
    keep_baseline: Path | None = None
    always: bool = False
    test_summary: bool = False

    def over(self, spec: NightlySpec) -> NightlySpec:
        """``nightly:`` of lab.yaml with these over it."""
        return replace(
            spec,
            keep_reports=self.keep_reports or spec.keep_reports,
            keep_baseline=self.keep_baseline or spec.keep_baseline,
            always=self.always or spec.always,
        )


def nightly(
    selection: Selection, options: Options, night: NightOptions, typed: dict[str, Any]
) -> int:
    """Do a night and give its exit status: the run's, or 3 where that is 0 and all else is not.

    :param typed: the options as they were typed, for the command by which the run is known.
    :raises UserError: for anything wrong in lab.yaml or on the command line.
    :raises HostError: when another night is at work.
    """
    places = find_places(anywhere=selection.source is not None)
    spec = night.over(read(places).nightly)
    teller = Teller(spec, places.lab_yaml.parent)
    teller.check()
    if night.test_summary:
        return _test(teller)
    selection = replace(selection, profile=selection.profile or spec.profile)
    options = replace(
        options,
        baseline=options.baseline or (None if options.base else runs.LAST_CLEAN),
        time_budget=options.time_budget or spec.time_budget,
    )
    try:
        with only_one(places.reports / LOCK, "another night", _who()):
            troubles = _update(spec, places, options)
            beside = (spec.keep_baseline,) if spec.keep_baseline else ()
            done, shown = carry_out(
                selection, options, command=_as_run(selection, options, typed), beside=beside,
                arrange=_arranged,
            )  # fmt: skip
            troubles += _keep(spec, places, done)
    except Exception as error:
        told = error if isinstance(error, LabError) else _bug(error)
        teller.tell(no_run(told), "", told.exit_status)
        raise
    return _end(teller, spec, options, done, shown, troubles)


def _test(teller: Teller) -> int:
    """Send a text that says so, and do nothing else."""
    if not teller.can:
        raise UserError(
            "nobody is told: nightly: in lab.yaml has neither mail: nor command:",
            f"{HOME / 'docs' / 'lab-yaml.md'} describes them",
        )
    test = Letter("lab nightly: a test", "This is what a summary of a night comes as.\n")
    told = teller.tell(test, "", EXIT_OK)
    if told is None:
        click.echo(f"sent {teller.how}")
        return EXIT_OK
    return EXIT_HOST


def _end(
    teller: Teller, spec: NightlySpec, options: Options, done: Done, shown: str,
    troubles: tuple[str, ...],
) -> int:  # fmt: skip
    """Say what the night came to, here and elsewhere."""
    run, comparison = done.result, done.comparison
    page = spec.url.replace("{run}", run.run.id) or str(done.folder / "index.html")
    summary = letter(run, comparison, page, troubles)
    silent = is_silent(run, troubles)
    if shown != "quiet":
        print_end(done, shown, options.notify)
    for trouble in troubles:
        click.echo(f"lab: {trouble}", err=True)
    status = done.status or (EXIT_HOST if troubles else EXIT_OK)
    failed = None
    if teller.can and (spec.always or not silent):
        failed = teller.tell(summary, run.run.id, status, page)
        if failed is None and shown == "plain":
            click.echo(f"summary: sent {teller.how}")
    if shown == "quiet" and not silent and (failed is not None or not teller.can):
        click.echo(f"{summary.subject}\n\n{summary.text}", nl=False)
    return status or (EXIT_OK if failed is None else EXIT_HOST)


def _arranged(plan: Plan, places: Places) -> Plan:
    """The plan in order of worth, and in each cell what is likeliest to fail first.

    A history that cannot be read is no reason to stop.
    """
    with contextlib.suppress(LabError):
        plan = most_valuable_first(plan, cell_pasts(places.history))
    return knowing(plan, places)


def _update(spec: NightlySpec, places: Places, options: Options) -> tuple[str, ...]:
    """Run the commands of ``update:``; gives a sentence for each that failed.

    The night goes on with the sources that are there: it is told, and nothing is lost.
    """
    troubles = []
    for words in spec.update:
        if not (options.quiet or options.as_json):
            click.echo(f"update: {shlex.join(words)}")
        try:
            process.run(words, deadline=_UPDATE, cwd=places.lab_yaml.parent)
        except HostError as error:
            troubles.append(f"the update failed, the sources are as they were: {error.message}")
    return tuple(troubles)


def _keep(spec: NightlySpec, places: Places, done: Done) -> tuple[str, ...]:
    """Keep a clean night where that is asked for, and remove old runs; gives what went wrong."""
    troubles = []
    run = done.result.run
    if spec.keep_baseline and run.exit_status == EXIT_OK and run.complete:
        try:
            runs.copy_results(done.folder, spec.keep_baseline)
        except HostError as error:
            troubles.append(error.message)
    protect = [done.folder]
    if run.baseline:
        protect.append(places.reports / run.baseline)
    prune(places.reports, spec.keep_reports, protect)
    return tuple(troubles)


def _bug(error: Exception) -> HostError:
    """What is told of an error that nobody foresaw; the command's end tells it too."""
    return HostError(f"unexpected {type(error).__name__}: {error}", "this is a bug of the lab")


def _who() -> str:
    """This night, for one that comes while it is at work."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        user = str(os.getuid())
    return f"process {os.getpid()} of {user}, since {record.now()}"


# Options of a run by what they are called in the code.
_MANY = {"arches": "--arch", "kernels": "--kernel", "configs": "--config", "shapes": "--shape",
         "workloads": "--workload"}  # fmt: skip
_ONE = ("source", "series", "apply", "base", "toolchain")


def _as_run(selection: Selection, options: Options, typed: dict[str, Any]) -> str:
    """The ``lab run`` that does the same: ``lab run --resume`` goes on with it."""
    words = ["lab", "run", "-p", selection.profile or ""]
    for name, option in _MANY.items():
        words += [word for value in typed[name] for word in (option, value)]
    for name in _ONE:
        if typed[name] is not None:
            words += [f"--{name}", str(typed[name])]
    if typed["build_mismatched"]:
        words.append("--build-mismatched")
    if options.baseline is not None:
        words += ["--baseline", options.baseline]
    if options.time_budget is not None:
        words += ["--time-budget", f"{options.time_budget:g}s"]
    return shlex.join(words)
