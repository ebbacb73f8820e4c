# SPDX-License-Identifier: GPL-2.0-only
"""``lab mutate``: how much of a change, or of some functions, the workloads would notice."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.commands.run import Options
from orchestrator.commands.workspace import (
    command_line,
    find_places,
    in_tree,
    load,
    stored_places,
)
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import EXIT_OK, UserError
from orchestrator.plan.matrix import Selection, make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.kernel.mutants.find import Found
    from orchestrator.model.mutants import Campaign, Mutant
    from orchestrator.runner.mutate import Ended, Wanted


@dataclass(frozen=True)
class MutateOptions:
    """``functions`` as typed, several in one word divided by commas; see :class:`.mutate.Wanted`.

    With ``dry_run`` the mutants are listed, and nothing is built.
    """

    functions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sample: int | None = None
    seed: int = 1
    budget: float | None = None
    dry_run: bool = False


def mutate(selection: Selection, options: Options, how: MutateOptions) -> int:
    """Plant and try mutants, and tell what was caught and what survived.

    Gives 0 where all that were judged were caught, 1 where some survived, 3 where not all could be
    judged or tried.

    :raises UserError: for anything wrong in lab.yaml or on the command line.
    """
    from orchestrator.commands import progress
    from orchestrator.commands.incoming import received
    from orchestrator.runner import mutate as engine

    places = find_places(anywhere=selection.source is not None)
    config = load(places)
    selection = received(in_tree(selection, places), places)
    plan = make_plan(config, selection, tuple(ARCHES))
    wanted = _wanted(options, how, command_line(selection.series))
    shown = progress.choose(options.plain, options.as_json, sys.stdout, options.quiet)
    began = time.monotonic()
    if how.dry_run:
        _print_list(*engine.listed(plan, wanted, places), as_json=options.as_json)
        return EXIT_OK
    with progress.listener(plan, shown, sys.stdout, places.history) as listener:
        ended = engine.mutate(plan, wanted, places, listener=listener)
    return _print_end(ended, shown, options.notify, time.monotonic() - began)


def asked_before(name: str) -> list[str]:
    """The words behind ``lab mutate`` that a campaign was begun with.

    :raises UserError: when there is no such campaign.
    """
    from orchestrator.results import mutants

    campaign = mutants.load(mutants.find(stored_places().reports, name))
    words = shlex.split(campaign.command)
    if words[:2] != ["lab", "mutate"]:
        raise UserError(f"campaign {campaign.name} was made by {campaign.command!r}",
                        "begin it again")  # fmt: skip
    return words[2:]


def _wanted(options: Options, how: MutateOptions, command: str) -> Wanted:
    from orchestrator.results import mutants
    from orchestrator.runner.mutate import Wanted

    if how.functions and how.names:
        raise UserError("--function and --mutant exclude each other",
                        "name the mutants alone")  # fmt: skip
    functions = (name.strip() for word in how.functions for name in word.split(","))
    folder = mutants.find(stored_places().reports, options.resume) if options.resume else None
    return Wanted(
        tuple(dict.fromkeys(filter(None, functions))), tuple(dict.fromkeys(how.names)),
        how.sample, how.seed, how.budget, options.jobs, options.out, folder, command,
    )  # fmt: skip


def _print_list(found: Found, chosen: Sequence[Mutant], *, as_json: bool) -> None:
    """The mutants in the order in which they would be tried, and what is left out."""
    from orchestrator.model.codec import plain
    from orchestrator.report.mutants_text import left_out
    from orchestrator.report.text import visible

    if as_json:
        told = {
            "population": len(found.mutants),
            "mutants": [plain(one) for one in chosen],
            "left_out": [plain(one) for one in found.left_out],
        }
        click.echo(json.dumps(told, indent=1))
        return
    for one in chosen:
        click.echo(visible(f"{one.name:<48}  {one.function}(): {one.told}"))
    for lost in found.left_out:
        click.echo(visible(f"left out: {left_out(lost)}"))
    click.echo(f"{len(chosen)} of {len(found.mutants)} mutants would be tried")


def _print_end(ended: Ended, shown: str, notify: bool | None, seconds: float) -> int:
    from orchestrator.commands.entry import let_go_of_stdout
    from orchestrator.commands.notify import notify as tell
    from orchestrator.judge.mutants import exit_status, sentence
    from orchestrator.report.mutants_text import lines

    campaign, status = ended.campaign, exit_status(ended.campaign)
    line = f"mutants: {sentence(campaign)}; exit status {status}"
    try:
        if shown == "json":
            print(json.dumps(_told(campaign, str(ended.folder), status)), flush=True)
        elif shown == "quiet":
            print(line, flush=True)
        else:
            print("\n".join(lines(campaign)))
            if campaign.cut:
                print(f"`lab mutate --resume {campaign.name}` goes on")
            print(f"exit status {status}; report: {ended.folder / 'index.html'}", flush=True)
    except BrokenPipeError:
        let_go_of_stdout()
    if shown != "json":
        tell(notify, seconds, line, sys.stdout)
    return status


def _told(campaign: Campaign, folder: str, status: int) -> dict[str, object]:
    """The event that ends the stream of ``--json``."""
    from orchestrator.judge.mutants import total
    from orchestrator.model.codec import plain

    return {
        "event": "mutants", "campaign": campaign.name, "folder": folder, "exit_status": status,
        "score": plain(total(campaign)), "population": campaign.population,
        "chosen": campaign.chosen, "cut": campaign.cut,
        "survived": [one.mutant.name for one in campaign.tried if one.outcome.value == "survived"],
    }  # fmt: skip
