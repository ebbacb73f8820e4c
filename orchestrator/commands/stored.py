# SPDX-License-Identifier: GPL-2.0-only
"""The options of the commands that look at stored results, and at logs; they run nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.commands.options import json_option, run_and_case


@click.command("open")
@run_and_case
@click.option("--print", "only_print", is_flag=True, help="Only print where the page is.")
def open_(words: tuple[str, ...], only_print: bool) -> int:
    """Open the page of a run (the latest) in the browser, at CASE if one is named."""
    from orchestrator.commands.open import open_page

    return open_page(words, only_print)


@click.command()
@run_and_case
@click.option("--build", is_flag=True, help="The log of its kernel's build.")
@click.option("--path", is_flag=True, help="Only print where the logs are.")
def logs(words: tuple[str, ...], **options: Any) -> int:
    """Show what the kernel and the workload of a case said, the kernel's reports first.

    Without CASE that of the first that failed, without RUN of the latest run.
    """
    from orchestrator.commands.logs import LogsOptions
    from orchestrator.commands.logs import logs as command

    return command(words, LogsOptions(**options))


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--kernel-a", metavar="KERNEL", help="Kernel of A, where it has several.")
@click.option("--kernel-b", metavar="KERNEL", help="Kernel of B, where it has several.")
@click.option(
    "--fail-on", type=click.Choice(["regression", "any", "never"]), default="regression",
    show_default=True, help="What exits with 1: a regression, any failure of B, or nothing.",
)  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Page to write.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="JUnit to write.")
@json_option
def compare(a: str, b: str, **options: Any) -> int:
    """Set run B beside run A: what regressed, what is fixed.

    A is the baseline, B the candidate, each `latest`, `last-failed`, `@2` (the run before the
    latest), a run's id or a part of it that no other has, or a run's folder.  The reports go to
    reports/compare-A-B, or where --html and --junit say.
    """
    from orchestrator.commands.compare import CompareOptions
    from orchestrator.commands.compare import compare as command

    return command(a, b, CompareOptions(**options))


@click.command()
@click.argument("run_name", metavar="RUN", required=False)
@click.option("--index", is_flag=True, help="Write the pages over all runs instead.")
@click.option("--baseline", help="A run, a kernel of the run, or none (default: as it was run).")
@click.option("--markdown", is_flag=True, help="Only print a summary for GitHub, in its Markdown.")
@click.option("--patchwork", is_flag=True, help="Only print a check for Patchwork, as JSON.")
@click.option("--mail", is_flag=True, help="Only print a summary as plain text for a mail.")
@click.option("--tested-by", default="", metavar="'NAME <MAIL>'",
              help="With --mail: a Tested-by where all is well.")  # fmt: skip
@click.option("--url", default="", help="Where the run is published; {run} in it is its id.")
@click.option("--context", default="", metavar="NAME", help="The check's name (lab-PROFILE).")
@click.option("--kcidb", is_flag=True, help="Only print a report for KCIDB, as JSON.")
@click.option("--origin", default="", metavar="NAME",
              help="With --kcidb: the lab's name there (kcidb_origin of lab.yaml).")  # fmt: skip
@json_option
def report(run_name: str | None, index: bool, **options: Any) -> int:
    """Write junit.xml and index.html of a run again, from its stored results.

    With --index, and no RUN, the pages over all runs: reports/index.html and trends.html.
    """
    if index:
        from orchestrator.commands.report import index as pages

        if run_name or any(value for name, value in options.items() if name != "as_json"):
            raise click.UsageError("--index is about all runs: it goes with --json alone")
        return pages(options["as_json"])
    if run_name is None:
        raise click.UsageError("Missing argument 'RUN'.")
    from orchestrator.commands.report import ReportOptions
    from orchestrator.commands.report import report as command

    printed = ("markdown", "patchwork", "mail", "kcidb")
    if sum(options[name] for name in (*printed, "as_json")) > 1:
        raise click.UsageError("--markdown, --patchwork, --mail, --kcidb or --json: one of them")
    if options["url"] and not any(options[name] for name in printed):
        raise click.UsageError("--url goes with --markdown, --patchwork, --mail or --kcidb")
    if options["kcidb"] and options["baseline"]:
        raise click.UsageError("--kcidb tells what a run found, without a baseline")
    if options["origin"] and not options["kcidb"]:
        raise click.UsageError("--origin goes with --kcidb")
    if options["tested_by"] and not options["mail"]:
        raise click.UsageError("--tested-by goes with --mail")
    if options["context"] and not options["patchwork"]:
        raise click.UsageError("--context goes with --patchwork")
    return command(run_name, ReportOptions(**options))


@click.command()
@click.argument("case", metavar="[CASE-GLOB]", required=False)
@click.option("--verdict", type=click.Choice(["pass", "fail", "skip", "error"]),
              help="Only cases that came to it.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@click.option("--rebuild", is_flag=True, help="Read the stored runs again first.")
@click.option("--flaky", is_flag=True, help="The cases that passed and failed on one kernel.")
@json_option
def history(case: str | None, flaky: bool, as_json: bool, **options: Any) -> int:
    """Show earlier runs, or what the cases that fit a glob came to in them.

    CASE-GLOB is a case's id, whole parts of it (uffd-move/swap, counters) or a glob
    ('*:kernel-log').  Without one and without --verdict the runs are shown.
    """
    from orchestrator.commands import history as commands

    if flaky:
        if options["verdict"]:
            raise click.UsageError("--verdict does not go with --flaky: it is about both")
        return commands.flaky(case, options["limit"], options["rebuild"], as_json)
    return commands.history(case, as_json=as_json, **options)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--vmlinux", type=click.Path(path_type=Path), metavar="FILE",
              help="The log's kernel with debug information, for source lines.")  # fmt: skip
@click.option("--allow", multiple=True, metavar="REGEX",
              help="Reports whose title or text matches do not fail; repeatable.")  # fmt: skip
@click.option("--known", type=click.Path(path_type=Path), metavar="FILE",
              help="lab.yaml, or a file with its known_issues: alone.")  # fmt: skip
@click.option("--full", is_flag=True, help="All reports, and all of their text.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML here.")
@click.option("--json", "as_json", is_flag=True, help="One JSON event a line.")
def log(files: tuple[str, ...], **options: Any) -> int:
    """Read console or dmesg logs of any machine (- is standard input) and tell their reports.

    Exits with 1 where one is neither allowed nor known.
    """
    from orchestrator.commands.log import LogOptions
    from orchestrator.commands.log import log as command

    return command(files, LogOptions(**options))


#: They are part of :data:`.arguments.cli`.
COMMANDS = (open_, logs, compare, report, history, log)
