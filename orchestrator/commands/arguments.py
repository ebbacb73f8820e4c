# SPDX-License-Identifier: GPL-2.0-only
"""``lab``: arguments in, exit status out.  The work is in :mod:`orchestrator.commands`.

Imports of what a command needs stand inside it, so that ``lab --help`` answers at once.  Each
command gives its exit status.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from orchestrator import __version__
from orchestrator.commands.cluster import cluster, worker
from orchestrator.commands.options import (
    apply_option,
    choice_options,
    cluster_options,
    json_option,
    mismatched_option,
    personal_option,
    run_and_case,
    run_options,
    run_options_of,
    seconds_value,
    selection_of,
    selection_options,
    size_value,
    toolchain_option,
)
from orchestrator.commands.stored import COMMANDS
from orchestrator.model.errors import EXIT_OK
from orchestrator.model.narrowing import AXES
from orchestrator.plan.explore import MODES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab")
def cli() -> None:
    """Full-system test lab for people who change the Linux kernel's memory management."""


# ---------------------------------------------------------------- what runs something


@cli.command()
@selection_options
@run_options
@cluster_options
@click.option("--fail-on", type=click.Choice(["any", "regression"]), help="What exits with 1.")
@click.option("-x", "--fail-fast", is_flag=True, help="End at the first unforeseen failure.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was cut: keep what is done.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), metavar="N",
              help="What racing workloads start from (default: another one each run).")  # fmt: skip
@click.option("--time-budget", callback=seconds_value, metavar="TIME",
              help="End after so long (90s, 30m, 8h), instead of the profile's.")  # fmt: skip
@click.option("--retries", type=click.IntRange(0), metavar="N",
              help="Try what regressed again at most N times (default: lab.yaml's).")  # fmt: skip
@click.option("--no-retry", is_flag=True, help="Try nothing again: as --retries 0.")
@click.option("--watch", is_flag=True, help="Again whenever the tree or the series changes.")
def run(watch: bool, **options: Any) -> int:
    """Build, boot, run workloads, judge and report."""
    if watch:
        from orchestrator.commands.watch import watch as watching

        if options["resume"] or options["out"]:
            raise click.UsageError("--watch makes many runs: not with --resume or --out")
        if options["series"] == "-":
            raise click.UsageError("--watch reads the series again each time: - can be read once")
        return watching(selection_of(options), sys.argv[1:])
    from orchestrator.commands.run import command_of
    from orchestrator.commands.run import run as command

    if options["resume"]:
        # The same plan as before: what was asked for then, shown as it is asked for now.
        words = command_of(options["resume"])
        asked = run.make_context("run", words).params
        kept = ("resume", "plain", "as_json", "quiet", "notify", "jobs", "fail_fast")
        where = {n: options[n] for n in ("scheduler", "store", "tls") if options[n] is not None}
        options = {**asked, **{name: options[name] for name in kept}, "out": None, **where}
    return command(selection_of(options), run_options_of(options))


@cli.command()
@selection_options
@run_options
@cluster_options
@click.option("--time-budget", callback=seconds_value, metavar="TIME",
              help="End after so long (90s, 30m, 8h), instead of lab.yaml's.")  # fmt: skip
@click.option("--keep-reports", type=click.IntRange(1), metavar="N",
              help="How many runs stay in reports/ (default: 30).")  # fmt: skip
@click.option("--keep-baseline", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep the result of a clean night there, for CI.")  # fmt: skip
@click.option("--always", is_flag=True, help="Send the summary of a clean night too.")
@click.option("--test-summary", is_flag=True, help="Send a test to who is told; run nothing.")
def nightly(**options: Any) -> int:
    """A night by itself: update, run within a budget, compare, keep, tell.

    The profile nightly is run, what is worth most first, and compared with the last clean and
    complete night; old runs go.  With --quiet nothing is printed after a clean night.
    """
    from orchestrator.commands.nightly import NightOptions
    from orchestrator.commands.nightly import nightly as command

    if options["series"] == "-":
        raise click.UsageError("--series - can be read once, and a night goes on: name a file")
    own = ("keep_reports", "keep_baseline", "always", "test_summary")
    night = NightOptions(**{name: options[name] for name in own})
    return command(selection_of(options), run_options_of(options), night, options)


@cli.command()
@selection_options
@run_options
def build(**options: Any) -> int:
    """Build the kernels of a plan and stop there."""
    from orchestrator.commands.run import run as command

    return command(selection_of(options), run_options_of(options, boot=False))


@cli.command()
@selection_options
@json_option
def plan(as_json: bool, **options: Any) -> int:
    """Show what a run would build, boot and run; start nothing."""
    from orchestrator.commands.run import plan_text

    about = (options["baseline"], options["base"], options["each_patch"])
    click.echo(plan_text(selection_of(options), as_json, *about))
    return EXIT_OK


@cli.command()
@click.option("--kernel", help="Kernel of lab.yaml.")
@click.option("--config", help="Config of lab.yaml.")
@click.option("--arch", help="Architecture.")
@click.option("--shape", help="Guest shape.")
@click.option("--source", help="debian:6.12[=VERSION], [path:]DIR, git:DIR#REF or tar:FILE.")
@click.option("--series", help="Folder, mbox, patch, git:DIR#A..B, b4:ID, or - (stdin).")
@apply_option
@click.option("--workload", "workloads", multiple=True, help="Put it into /tmp/lab; repeatable.")
@click.option("--push", "files_in", multiple=True, metavar="FILE[:DEST]",
              help="Into the guest before COMMAND; a folder too; repeatable.")  # fmt: skip
@click.option("--pull", "files_out", multiple=True, metavar="SRC[:DEST]",
              help="Out of the guest after COMMAND, failed or not; repeatable.")  # fmt: skip
@click.option("--share", "shares", multiple=True, metavar="DIR[:rw]",
              help="A folder of this machine, in the guest below /home; repeatable.")  # fmt: skip
@mismatched_option
@personal_option
@toolchain_option
@click.option("--jobs", type=click.IntRange(1), help="Cores to build with (default: all).")
@click.option("--plain", is_flag=True, help="Dated lines instead of a live view.")
@click.argument("command", nargs=-1)
def shell(command: tuple[str, ...], workloads: tuple[str, ...], **options: Any) -> int:
    """Boot a guest and log in, or run COMMAND in it and give its exit status.

    The kernel is built where it is not in the cache.  The guest dies when the shell ends.  One
    word is a line for the guest's shell, several are a program and its arguments.
    """
    from orchestrator.commands.shell import ShellOptions
    from orchestrator.commands.shell import shell as function

    names = {"kernel": "kernels", "config": "configs", "arch": "arches", "shape": "shapes"}
    chosen = {many: (options[one],) if options[one] else () for one, many in names.items()}
    selection = selection_of({**options, **chosen, "workloads": workloads})
    files = {name: options[name] for name in ("files_in", "files_out", "shares")}
    how = ShellOptions(command, bool(workloads), options["jobs"], options["plain"], **files)
    return function(selection, how)


@cli.command()
@run_and_case
@run_options
@personal_option
@click.option("--on", metavar="KERNEL", help="Run it on this kernel of lab.yaml instead.")
@click.option("--until-fail", "trials", type=click.IntRange(1), metavar="N",
              help="Again until it fails, at most N times, in a fresh guest each.")  # fmt: skip
@click.option(
    "--until-decided",
    "pairs",
    type=click.IntRange(1),
    metavar="N",
    help="With and without the series in turn until it is known, at most N times each.",
)
@click.option("--no-base", is_flag=True, help="Leave out the base kernel.")
@click.option("--gdb", is_flag=True, help="Boot its guest for gdb, the workload at the ready.")
def rerun(
    words: tuple[str, ...], on: str | None, trials: int | None, pairs: int | None, no_base: bool,
    gdb: bool, **options: Any,
) -> int:  # fmt: skip
    """Run one case of an earlier run again, on the base kernel first.

    Without CASE the first that failed, without RUN that of the latest run.  Same kernel image,
    root, guest shape and QEMU command line.  The last line tells whether it failed again, and
    whether the series is to blame.
    """
    from orchestrator.commands.rerun import RerunOptions
    from orchestrator.commands.rerun import rerun as command

    if gdb and trials:
        raise click.UsageError("--gdb waits for you: it does not go with --until-fail")
    if pairs and (trials or no_base or gdb):
        raise click.UsageError("--until-decided does not go with --until-fail, --no-base or --gdb")
    how = RerunOptions(on, trials or pairs or 1, pairs is not None, not no_base, gdb)
    return command(words, run_options_of(options), how)


@cli.command()
@run_and_case
@run_options
@click.option("--range", "where", metavar="git:DIR#A..B",
              help="Commits after A, which is good, up to B, in place of patches.")  # fmt: skip
@click.option("--trials", type=click.IntRange(2), default=100, show_default=True, metavar="N",
              help="Stop after so many, sure or not.")  # fmt: skip
@click.option("--resume", metavar="RUN", help="Go on with a search that was interrupted.")
def bisect(words: tuple[str, ...], where: str | None, trials: int, **options: Any) -> int:
    """Find the patch of a run's series that brought a failing case.

    Without CASE the first that failed, without RUN that of the latest run.  A flaky case is tried
    until it is sure; what does not build is left out.  The last line names the patch, how sure
    that is, and how often the case failed with and without it.
    """
    from orchestrator.commands.bisect import BisectOptions
    from orchestrator.commands.bisect import bisect as command

    return command(words, run_options_of(options), BisectOptions(where, trials))


@cli.command()
@run_and_case
@run_options
@click.option("--axis", "axes", type=click.Choice(AXES), multiple=True,
              help="Change only this; repeatable.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, metavar="N",
              help="Stop after so many, done or not.")  # fmt: skip
@click.option("--resume", metavar="RUN", help="Go on with a search that was interrupted.")
def narrow(words: tuple[str, ...], axes: tuple[str, ...], trials: int, **options: Any) -> int:
    """Find out what of its guest a failing case needs.

    Without CASE the first that failed, without RUN that of the latest run.  CPUs, memory, swap,
    boot arguments, the workload's arguments and time, fragments of the config, their symbols and
    the architecture are changed; what takes no build comes first.  The last line says what the
    failure needs, what does not matter, and without what the case cannot be tried.
    """
    from orchestrator.commands.narrow import NarrowOptions
    from orchestrator.commands.narrow import narrow as command

    return command(words, run_options_of(options), NarrowOptions(axes or AXES, trials))


@cli.command()
@choice_options
@run_options
@click.option("--function", "functions", multiple=True, metavar="NAME[,NAME...]",
              help="NAME or FILE:NAME (default: the series' lines); repeatable.")  # fmt: skip
@click.option("--mutant", "names", multiple=True, metavar="NAME",
              help="Only this one, FILE:LINE:COLUMN:OPERATOR; repeatable.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N",
              help="Try so many, chosen at random (default: all).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=1, show_default=True,
              metavar="N", help="What the choice and the order come of.")  # fmt: skip
@click.option("--budget", callback=seconds_value, metavar="TIME",
              help="Begin no further mutant after so long (90s, 30m, 8h).")  # fmt: skip
@click.option("--resume", metavar="CAMPAIGN", help="Go on with one that is not at its end.")
@click.option("--dry-run", is_flag=True, help="List the mutants; build nothing.")
def mutate(**options: Any) -> int:
    """Would a fault in this code be noticed?  Plant small ones, and see which workload fails.

    One fault at a time in the lines of the series, or in functions, each built as an increment and
    tried until the first case fails.  What survives is a test that is missing.
    """
    from orchestrator.commands.mutate import MutateOptions, asked_before
    from orchestrator.commands.mutate import mutate as command

    if options["resume"]:
        # The same mutants as before, shown as it is asked for now.
        asked = mutate.make_context("mutate", asked_before(options["resume"])).params
        kept = ("resume", "plain", "as_json", "quiet", "notify", "jobs", "budget", "dry_run")
        options = {**asked, **{name: options[name] for name in kept}, "out": None}
    own = ("functions", "names", "sample", "seed", "budget", "dry_run")
    how = MutateOptions(**{name: options[name] for name in own})
    run_as = {name: value for name, value in options.items() if name not in own}
    return command(selection_of(options), run_options_of(run_as), how)


@cli.command()
@click.argument("words", metavar="[DO] [WHAT...]", nargs=-1)
@choice_options
@run_options
@click.option("--time", "seconds", callback=seconds_value, metavar="TIME",
              help="So long (90s, 30m, 8h; default: 30m; of shrink: no limit).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), metavar="N",
              help="What programs are drawn from (default: another one each time).")  # fmt: skip
@click.option("--mode", type=click.Choice(sorted(MODES)), default="steady", show_default=True,
              help="How programs are carried out.")  # fmt: skip
@click.option("--finds", type=click.IntRange(1), metavar="N",
              help="End with so many that nobody foresaw.")  # fmt: skip
@click.option("--corpus", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Programs that are kept (default: in the cache).")  # fmt: skip
@click.option("--unguided", is_flag=True,
              help="Draw all programs anew, whatever the kernel tells of coverage.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1), default=500, show_default=True, metavar="N",
              help="Of shrink: stop after so many, done or not.")  # fmt: skip
@click.option("--resume", metavar="RUN", help="Of shrink: go on with one that was interrupted.")
def explore(words: tuple[str, ...], **options: Any) -> int:
    """Try programs that nobody thought of, against a model of memory.

    Random programs of memory management in fresh copies of the guests until the time is spent;
    a find is a failing case with its smallest program.  DO is `replay FILE` (carry out one
    program), `shrink RUN FIND` (make a find's program smaller in fresh guests), `corpus export
    DIR`, `corpus import DIR` or `corpus minimise`.
    """
    from orchestrator.commands.explore import ExploreOptions
    from orchestrator.commands.explore import explore as command

    own = ("seconds", "seed", "mode", "finds", "corpus", "unguided", "trials")
    how = ExploreOptions(**{name: options[name] for name in own})
    run_as = {name: value for name, value in options.items() if name not in own}
    return command(words, selection_of(options), run_options_of(run_as), how)


for _command in (*COMMANDS, worker, cluster):
    cli.add_command(_command)


# ---------------------------------------------------------------- the lab itself


@cli.command("list")
@click.argument("words", metavar="[KIND] [NAME...]", nargs=-1)
@click.option(
    "--touching",
    metavar="WHAT",
    help="Workloads that ran a function, a file or folder (mm/mmap.c), or what a series changes.",
)
@json_option
def list_(words: tuple[str, ...], touching: str | None, as_json: bool) -> int:
    """List the workloads, or what else lab.yaml defines.

    KIND is workloads, kernels, configs, shapes, profiles or arches (default: workloads).  NAME is
    one of their names, a family of workloads (uffd-move) or a glob ('uffd-move/swap*').  Without a
    KIND a NAME is looked for among the workloads and then among the rest.
    """
    if touching is not None:
        from orchestrator.commands.touching import list_touching

        return list_touching(touching, as_json)
    from orchestrator.commands.list import listing

    return listing(words, as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".", metavar="[DIR]")
def init(folder: Path) -> int:
    """Write a commented lab.yaml."""
    from orchestrator.commands.init import init as command

    return command(folder)


@cli.command()
@json_option
@click.option("--packages", is_flag=True, help="Only name the Debian packages the lab needs.")
def doctor(as_json: bool, packages: bool) -> int:
    """Name what this machine lacks, and the command that mends it."""
    from orchestrator.commands.doctor import doctor as command

    return command(as_json, packages)


@cli.command()
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=size_value,
    help="Size to trim to (default: the cache's budget).",
)
@click.option("--older-than", type=click.FloatRange(0), metavar="DAYS", help="Unused for so long.")
@click.option("--all", "everything", is_flag=True, help="Everything that no lab is using.")
@click.option("--keep-reports", type=click.IntRange(1), metavar="N",
              help="The stored runs too: keep the newest N.")  # fmt: skip
@click.option("--reports", is_flag=True, help="The stored runs and not the cache: 30 are kept.")
@click.option("--dry-run", is_flag=True, help="Only tell.")
@json_option
def gc(**options: Any) -> int:
    """Trim the cache, least recently used first; never what a lab at work uses.

    With --reports or --keep-reports old runs go: never the latest, one that another was compared
    with, or the last clean one.
    """
    if options["reports"] and any(options[o] for o in ("max_size", "older_than", "everything")):
        raise click.UsageError("--reports is about runs: not with --max-size, --older-than, --all")
    from orchestrator.commands.gc import gc as command

    return command(**options)


@cli.command()
@click.argument("shell_name", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Put it where the shell looks for yours.")
def completion(shell_name: str, install: bool) -> int:
    """Print what makes bash, zsh or fish complete lab's words and values."""
    from orchestrator.commands.completion import completion as command

    return command(shell_name, install)


def main() -> NoReturn:
    """Carry out this process's command line."""
    from orchestrator.commands.entry import run_command

    if "_LAB_COMPLETE" in os.environ:
        from orchestrator.commands.complete import offer_values

        offer_values(cli)
    run_command(cli)
