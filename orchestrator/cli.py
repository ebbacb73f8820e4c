# SPDX-License-Identifier: GPL-2.0-only
"""``lab``: arguments in, exit status out.  The work is in :mod:`orchestrator.commands`.

Imports of what a command needs stand inside it, so that ``lab --help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from orchestrator import __version__
from orchestrator.errors import EXIT_HOST, EXIT_INTERRUPTED, EXIT_USAGE, LabError

F = Callable[..., Any]


def selection_options(function: F) -> F:
    """The options that say what to run; shared by run, plan and build."""
    multiple: dict[str, Any] = {"multiple": True}
    for option in (
        click.option("-p", "--profile", help="Profile of lab.yaml (default: its default_profile)."),
        click.option("--arch", "arches", **multiple, help="Architecture; repeatable."),
        click.option("--kernel", "kernels", **multiple, help="Kernel of lab.yaml; repeatable."),
        click.option("--config", "configs", **multiple, help="Config of lab.yaml; repeatable."),
        click.option("--shape", "shapes", **multiple, help="Guest shape; repeatable."),
        click.option("--workload", "workloads", **multiple, help="Workload or glob; repeatable."),
        click.option("--source", help="debian:6.12[=VERSION], path:DIR, git:DIR#REF or tar:FILE."),
        click.option("--series", help="Folder of patches, mbox, patch, or git:DIR#A..B."),
        click.option("--baseline", help="A run or kernel to compare with, or none."),
    ):
        function = option(function)
    return function


def run_options(function: F) -> F:
    """The options that say how to run and how to tell."""
    for option in (
        click.option("--jobs", type=click.IntRange(1), help="Cores to use (default: all)."),
        click.option("--out", type=click.Path(path_type=Path), help="Folder for this run."),
        click.option("--plain", is_flag=True, help="Dated lines instead of a live view."),
        click.option("--json", "as_json", is_flag=True, help="One JSON event a line."),
    ):
        function = option(function)
    return function


def _selection(options: dict[str, Any]) -> Any:
    from orchestrator.config_values import resolve_series, resolve_source
    from orchestrator.plan import Selection

    here = Path.cwd()
    source, series = options["source"], options["series"]
    return Selection(
        profile=options["profile"],
        arches=options["arches"],
        kernels=options["kernels"],
        configs=options["configs"],
        shapes=options["shapes"],
        workloads=options["workloads"],
        source=resolve_source(source, here) if source else None,
        series=resolve_series(series, here) if series else None,
    )


def _run_options(options: dict[str, Any], **more: Any) -> Any:
    from orchestrator.commands.run import RunOptions

    names = ("jobs", "out", "plain", "as_json", "baseline", "fail_on")
    return RunOptions(**{name: options[name] for name in names if name in options}, **more)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab")
def cli() -> None:
    """Full-system test lab for people who change the Linux kernel's memory management."""


@cli.command()
@selection_options
@run_options
@click.option("--fail-on", type=click.Choice(["any", "regression"]), help="What exits with 1.")
@click.pass_context
def run(context: click.Context, **options: Any) -> None:
    """Build, boot, run workloads, judge and report."""
    from orchestrator.commands.run import run as command

    context.exit(command(_selection(options), _run_options(options)))


@cli.command()
@selection_options
@run_options
@click.pass_context
def build(context: click.Context, **options: Any) -> None:
    """Build the kernels of a plan and stop there."""
    from orchestrator.commands.run import run as command

    context.exit(command(_selection(options), _run_options(options, boot=False)))


@cli.command()
@selection_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def plan(as_json: bool, **options: Any) -> None:
    """Show what a run would build, boot and run; start nothing."""
    from orchestrator.commands.run import plan_text

    click.echo(plan_text(_selection(options), as_json, options["baseline"]))


@cli.command()
@click.argument("run_name", metavar="RUN")
@click.argument("case", metavar="CASE")
@run_options
@click.option("--on", help="Run it on this kernel of lab.yaml instead.")
@click.pass_context
def rerun(context: click.Context, run_name: str, case: str, on: str | None, **options: Any) -> None:
    """Run the workload of one case of an earlier run again."""
    from orchestrator.commands.run import rerun as command

    context.exit(command(run_name, case, _run_options(options), on))


def _die(error: LabError) -> int:
    sys.stdout.flush()
    click.echo(f"lab: {error.message}", err=True)
    if error.hint:
        click.echo(f"     {error.hint}", err=True)
    return error.exit_status


def _stop_once(number: int, frame: FrameType | None) -> NoReturn:
    """Stop in good order; what a second signal would cut short takes seconds at the most."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Entry point: turn expected errors into one line and the right exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, a shell's background job
            signal.signal(number, _stop_once)
    status = EXIT_HOST
    try:
        status = cli.main(standalone_mode=False) or 0
    except click.exceptions.Abort:
        click.echo("lab: interrupted", err=True)
        status = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = EXIT_USAGE
    except LabError as error:
        status = _die(error)
    except KeyboardInterrupt:
        click.echo("lab: interrupted", err=True)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`lab list | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        click.echo(f"lab: unexpected {type(error).__name__}: {error}", err=True)
        click.echo("     this is a bug of the lab; LAB_DEBUG=1 shows the traceback", err=True)
        if os.environ.get("LAB_DEBUG"):
            raise
    sys.exit(status)


if __name__ == "__main__":
    main()
