# SPDX-License-Identifier: GPL-2.0-only
"""Options that several commands share, and what becomes of their values.

Imports of what a value needs stand inside: ``lab --help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.model.spec import APPLY_MODES
from orchestrator.plan.prefixes import BOOT, DEPTHS

F = Callable[..., Any]
T = TypeVar("T")


def _read(value: str | None, parse: Callable[[str], T]) -> T | None:
    """An option's value as ``parse`` reads it; what it raises is a usage error."""
    try:
        return None if value is None else parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _toolchain(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """What compiles the kernels: ``gcc[-N]`` or ``clang[-N]``."""
    from orchestrator.model.toolchain import Toolchain

    return _read(value, Toolchain.parse)


mismatched_option = click.option(
    "--build-mismatched", is_flag=True, help="Build although a requested symbol did not take."
)
toolchain_option = click.option(
    "--toolchain", callback=_toolchain, metavar="NAME[-N]", help="gcc or clang, for every config."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
#: Read before a command is, by commands/personal.py.
personal_option = click.option(
    "--no-personal", is_flag=True, expose_value=False, help="Without ~/.config/lab.yaml."
)


def _two_at_most(
    context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    if len(value) > 2:
        raise click.UsageError(f"a RUN and a CASE, and no more: {value[2]!r}", context)
    return value


#: A run and a case, each of which may be left out.
run_and_case = click.argument("words", metavar="[RUN] [CASE]", nargs=-1, callback=_two_at_most)


apply_option = click.option(
    "--apply", type=click.Choice(APPLY_MODES), help="How a series goes on that does not just fit."
)


each_patch_option = click.option(
    "--each-patch",
    is_flag=False,
    flag_value=BOOT,
    type=click.Choice(DEPTHS),
    help=f"Every patch of the series by itself too, so far ({BOOT} where not said).",
)


def _with(options: tuple[Callable[[F], F], ...], function: F) -> F:
    """A command with these options; the one that is put on last is the first in its help."""
    for option in reversed(options):
        function = option(function)
    return function


_MULTIPLE: dict[str, Any] = {"multiple": True}
# Which kernel, and which guests and workloads.
_CHOICE = (
    click.option("-p", "--profile", help="Profile of lab.yaml (default: its default_profile)."),
    click.option("--arch", "arches", **_MULTIPLE, help="Architecture; repeatable."),
    click.option("--kernel", "kernels", **_MULTIPLE, help="Kernel of lab.yaml; repeatable."),
    click.option("--config", "configs", **_MULTIPLE, help="Config of lab.yaml; repeatable."),
    click.option("--shape", "shapes", **_MULTIPLE, help="Guest shape; repeatable."),
    click.option("--workload", "workloads", **_MULTIPLE, help="Workload or glob; repeatable."),
    click.option("--source", help="debian:6.12[=VERSION], [path:]DIR, git:DIR#REF or tar:FILE."),
    click.option("--series", help="Folder, mbox, patch, git:DIR#A..B, b4:ID, or - (stdin)."),
    apply_option,
)
_HOW_BUILT = (mismatched_option, toolchain_option, personal_option)


def selection_options(function: F) -> F:
    """The options that say what to run; shared by run, plan and build."""
    compared = (
        click.option("--baseline", help="A run or kernel to compare with, last-clean, or none."),
        click.option("--base", metavar="REF", help="Compare with this commit of the tree's own."),
        each_patch_option,
    )
    return _with((*_CHOICE, *compared, *_HOW_BUILT), function)


def choice_options(function: F) -> F:
    """Those of them that say which kernel, guest and workloads: nothing is compared."""
    return _with((*_CHOICE, *_HOW_BUILT), function)


def run_options(function: F) -> F:
    """The options that say how to run and how to tell."""
    options = (
        click.option("--jobs", type=click.IntRange(1), help="Cores to use (default: all)."),
        click.option("--out", type=click.Path(path_type=Path), help="Folder for this run."),
        click.option("--plain", is_flag=True, help="Dated lines instead of a live view."),
        click.option("--json", "as_json", is_flag=True, help="One JSON event a line."),
        click.option("-q", "--quiet", is_flag=True, help="One line at the end, and no more."),
        click.option(
            "--notify/--no-notify",
            default=None,
            help="Have the terminal notify at the end (default: after 30 s; not under CI).",
        ),
    )
    return _with(options, function)


def cluster_options(function: F) -> F:
    """The options that say on which machines a run is carried out."""
    options = (
        click.option("--scheduler", metavar="URL", help="Run on a cluster's workers; local: here."),
        click.option("--store", metavar="URL", help="What its workers share: a folder, s3://..."),
        tls_option,
    )
    return _with(options, function)


#: The folder that ``lab cluster init`` made.
tls_option = click.option(
    "--tls",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Its certificates, of lab cluster init.",
)


def size_value(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    """A size such as ``500M`` or ``20G``, as bytes."""
    from orchestrator.host.cache.trim import parse_size

    return _read(value, parse_size)


def seconds_value(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> float | None:
    """A duration such as ``90s``, ``30m`` or ``8h``, in seconds."""
    from orchestrator.model.formats import parse_seconds

    return _read(value, parse_seconds)


def selection_of(options: dict[str, Any]) -> Any:
    """The :class:`.Selection` that the options of a command make."""
    from orchestrator.model.arch import ALIASES
    from orchestrator.plan.kernels import STDIN, resolve_series, resolve_source
    from orchestrator.plan.matrix import Selection

    here = Path.cwd()
    source, series = options["source"], options["series"]
    names = ("profile", "kernels", "configs", "shapes", "workloads", "apply", "build_mismatched",
             "toolchain")  # fmt: skip
    return Selection(
        **{name: options[name] for name in names if name in options},
        arches=tuple(ALIASES.get(name, name) for name in options["arches"]),
        source=None if source is None else resolve_source(source, here),
        series=series if series in (None, STDIN) else resolve_series(series, here),
    )


def run_options_of(options: dict[str, Any], **more: Any) -> Any:
    """The :class:`.Options` of a run that the options of a command make."""
    from orchestrator.commands.run import Options

    if options["quiet"] and options["as_json"]:
        raise click.UsageError("--quiet leaves one line for people: it does not go with --json")
    if options.get("no_retry"):
        if options["retries"]:
            raise click.UsageError("--no-retry and --retries: one of them")
        options = {**options, "retries": 0}
    names = ("jobs", "out", "plain", "as_json", "quiet", "notify", "each_patch",
             "baseline", "base", "fail_on", "resume", "seed", "time_budget", "retries",
             "fail_fast", "scheduler", "store", "tls")  # fmt: skip
    return Options(**{name: options[name] for name in names if name in options}, **more)
