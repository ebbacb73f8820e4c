# SPDX-License-Identifier: GPL-2.0-only
"""``lab list --touching``: the workloads that run a function, a file, or what a series changes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath

import click

from orchestrator.commands.workspace import find_places
from orchestrator.judge.coverage_map import Asked, Counted, of_series, run_by_nobody, touching
from orchestrator.kernel.series import load
from orchestrator.kernel.series.changed import changes
from orchestrator.model.codec import plain
from orchestrator.model.coverage import Lines
from orchestrator.model.errors import UserError
from orchestrator.model.formats import listed
from orchestrator.model.names import nearest
from orchestrator.runner.coverage_map import counted, known

HOW = "count it: lab run --config coverage --workload '*'"
_WHICH = "`coverage:` of a config in lab.yaml says which files are counted"
_SOURCE = re.compile(r"(.+\.[chS])(?::(\d+)(?:-(\d+))?)?")
_NAME = re.compile(r"([A-Za-z_]\w*)(?:\(\))?")
_FEW = 6


def list_touching(what: str, as_json: bool) -> int:
    """List them, those that run most of it first.

    :param what: a function's name, a file or folder of the kernel's (``mm/mmap.c``, also by its
        path in a tree, and with lines as ``mm/mmap.c:10-20``), or a series as ``--series`` has it.
    :raises UserError: when nothing was ever counted, or nothing of this, and for a series that
        cannot be read.
    """
    cache = find_places(anywhere=True).cache
    reaches, functions = known(cache), counted(cache)
    if not reaches:
        raise UserError("nobody has counted yet what workloads run", HOW)
    asked = _asked(what, functions)
    found = touching(reaches, asked)
    if as_json:
        click.echo(json.dumps([plain(one) for one in found], indent=1))
        return 0
    for one in found:
        click.echo(f"{one.workload:<32} {' '.join(one.arches):<13} {_few(one.functions)}")
    if not found:
        counting = len({reach.workload for reach in reaches})
        click.echo(f"none of the {counting} workloads that were counted runs any of {what}")
    elif nobody := run_by_nobody(reaches, asked, functions):
        click.echo(f"{'run by none':<46} {_few(nobody)}")
    return 0


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if names[_FEW:] else "")


def _asked(what: str, functions: Counted) -> Asked:
    source = _SOURCE.fullmatch(what)  # before what exists: one stands in a kernel's tree
    if source is not None:
        first, last = int(source[2] or 0), int(source[3] or source[2] or 0)
        lines = Lines(range(first, last + 1)) if first else Lines()
        return Asked(files=dict.fromkeys(_files(source[1], functions), lines))
    if below := _below(what, functions):
        return Asked(files=dict.fromkeys(below, Lines()))
    name = _NAME.fullmatch(what)
    if name is not None and not Path(what).exists():
        if not any(one.name == name[1] for has in functions.values() for one in has):
            every = {one.name for has in functions.values() for one in has}
            close = nearest(name[1], every)
            raise UserError(
                f"no function {name[1]} was counted: which workloads run it is not known",
                f"did you mean {close!r}?" if close else _WHICH,
            )
        return Asked(functions=frozenset((name[1],)))
    return _of_series(what, functions)


def _of_series(what: str, functions: Counted) -> Asked:
    changed = changes(load.load_series(what).patches)
    lacking = sorted({one.file for one in changed if one.file.endswith(".c")} - set(functions))
    if lacking:
        click.echo(f"lab: not counted, so that nobody is known to run it: {', '.join(lacking)}",
                   err=True)  # fmt: skip
    return of_series(changed, functions)


def _files(name: str, functions: Counted) -> tuple[str, ...]:
    """The counted files that a path means: its own, or those that it or they end with.

    :raises UserError: when it means none.
    """
    path = os.path.normpath(name)
    if path in functions:
        return (path,)
    # A path through somebody's tree ends with the file's, and a mere name is how that one's ends.
    longest = max((file for file in functions if path.endswith(f"/{file}")), key=len, default="")
    found = (longest,) if longest else tuple(f for f in functions if f.endswith(f"/{path}"))
    if not found:
        raise UserError(
            f"{name} was not counted: which workloads run it is not known",
            _WHICH,
        )
    if len(found) > 1:
        click.echo(f"lab: {name} is {listed(found)}", err=True)
    return found


def _below(what: str, functions: Counted) -> tuple[str, ...]:
    """The counted files of a folder of the kernel's; none where a series may be meant."""
    path, folder = Path(what), os.path.normpath(what)
    if path.is_file() or (path.is_dir() and not any(path.glob("*.[ch]"))):
        return ()
    known = {str(parent) for file in functions for parent in PurePosixPath(file).parents} - {"."}
    fits = (one for one in known if folder == one or folder.endswith(f"/{one}"))
    longest = max(fits, key=len, default="")
    return tuple(file for file in functions if longest and file.startswith(f"{longest}/"))
