# SPDX-License-Identifier: GPL-2.0-only
"""``lab list --touching``: the workloads that run a function, a file, or what a series changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from orchestrator.commands.workspace import find_places
from orchestrator.judge.coverage_map import Asked, touching
from orchestrator.kernel.series import load
from orchestrator.kernel.series.changed import changed_lines
from orchestrator.model.codec import plain
from orchestrator.model.coverage import Lines
from orchestrator.model.errors import UserError
from orchestrator.runner.coverage_map import known

HOW = "count it: lab run --config coverage --workload '*'"


def list_touching(what: str, as_json: bool) -> int:
    """List them, those that run most of it first.

    :param what: a function's name, a file of the kernel's (``mm/mmap.c``), or a series as
        ``--series`` takes it.
    :raises UserError: when nothing was ever counted, or the series cannot be read.
    """
    asked = _asked(what)
    reaches = known(find_places(anywhere=True).cache)
    if not reaches:
        raise UserError("nobody has counted yet what workloads run", HOW)
    found = touching(reaches, asked)
    if as_json:
        click.echo(json.dumps([plain(one) for one in found], indent=1))
        return 0
    for one in found:
        shown = ", ".join(one.functions[:6]) + (" ..." if len(one.functions) > 6 else "")
        click.echo(f"{one.workload:<32} {' '.join(one.arches):<13} {shown}")
    if not found:
        counted = len({reach.workload for reach in reaches})
        click.echo(f"none of the {counted} workloads that were counted runs any of {what}")
    return 0


def _asked(what: str) -> Asked:
    if what.endswith((".c", ".h")):  # before what exists: one stands in a kernel's tree
        return Asked(files={os.path.normpath(what): Lines()})
    if what.startswith(("git:", "b4:")) or "/" in what or Path(what).exists():
        return Asked(files=dict(changed_lines(load.load_series(what).patches)))
    return Asked(functions=frozenset((what,)))
