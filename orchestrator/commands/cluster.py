# SPDX-License-Identifier: GPL-2.0-only
"""``lab worker`` and ``lab cluster``: the machines of a cluster, and its certificates."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.commands.options import tls_option
from orchestrator.model.errors import EXIT_OK

PORT = 8786


@click.command()
@click.option("--scheduler", required=True, metavar="URL", help="tcp://127.0.0.1:8786, tls://HOST.")
@tls_option
@click.option("--store", metavar="URL", help="Its own way to the store, where that is another.")
@click.option("--name", help="What reports call it (default: the host's name and a number).")
@click.option("--cores", type=click.IntRange(1), help="Cores to offer (default: all).")
def worker(
    scheduler: str, tls: Path | None, store: str | None, name: str | None, cores: int | None
) -> int:
    """Work for a cluster: build kernels and run guests for whoever asks its scheduler.

    Offers what lab doctor finds: cores, memory, disk, KVM, guests of which architectures.  Ends
    with Ctrl-C; what it was at is then another worker's.
    """
    from orchestrator.cluster.remote import WorkerOptions, serve_worker
    from orchestrator.cluster.tls import parse
    from orchestrator.runner.context import cache_folder

    options = WorkerOptions(name or "", cores, store or "")
    return serve_worker(parse(scheduler, tls), tls, cache_folder(), options, _say)


@click.command()
@click.argument("what", metavar="WHAT", type=click.Choice(["init", "scheduler"]))
@click.argument(
    "folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False)
)
@click.option("--listen", default=f"tcp://127.0.0.1:{PORT}", show_default=True, metavar="URL",
              help="Where the scheduler is reached; with --tls tls://HOST:8786.")  # fmt: skip
@tls_option
def cluster(what: str, folder: Path | None, listen: str, tls: Path | None) -> int:
    """Make a cluster's certificates (init DIR), or be its scheduler until Ctrl-C.

    Whoever reaches a scheduler has every worker run any code: without certificates it listens on
    the loopback alone.
    """
    if (what == "init") != (folder is not None):
        raise click.UsageError("lab cluster init DIR, or lab cluster scheduler without a DIR")
    if folder is not None:
        from orchestrator.cluster.tls import CA_KEY, DAYS, make

        for path in make(folder):
            click.echo(path)
        _say(
            f"valid for {DAYS} days; copy all but {CA_KEY} to each machine: who has them runs code"
        )
        return EXIT_OK
    from orchestrator.cluster.remote import serve_scheduler
    from orchestrator.cluster.tls import parse

    return serve_scheduler(parse(listen, tls), tls, _say)


def _say(text: str) -> None:
    click.echo(f"lab: {text}", err=True)
