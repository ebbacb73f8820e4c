# SPDX-License-Identifier: GPL-2.0-only
"""Where a command finds lab.yaml, the cache, the reports and the history."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.host import walls
from orchestrator.host.cache.files import Cache
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import UserError
from orchestrator.model.spec import LabConfig
from orchestrator.plan.find import Found, find_lab
from orchestrator.plan.kernels import STDIN
from orchestrator.plan.lab_yaml import load_config
from orchestrator.runner.context import Places, cache_folder, reports_of

if TYPE_CHECKING:
    from orchestrator.plan.matrix import Selection


def find_places(lab_yaml: Path | None = None, *, anywhere: bool = False) -> Places:
    """Find everything from lab.yaml's place, or from that of a kernel tree without one.

    :param anywhere: the lab's own lab.yaml serves any folder: for who names a kernel.
    :raises UserError: when there is neither.
    """
    found = Found(lab_yaml) if lab_yaml else find_lab(Path.cwd(), anywhere=anywhere)
    places = Places.of_found(found)
    _clean_up(places.cache)
    return places


def in_tree(selection: Selection, places: Places) -> Selection:
    """The tree is the source in a kernel tree without lab.yaml, unless another is named."""
    if places.tree is None or selection.source is not None or selection.kernels:
        return selection
    return replace(selection, source=f"path:{places.tree}")


def places_here() -> Places:
    """The places of a folder without a lab.yaml: what only reads stored results needs no other."""
    here = Path.cwd()
    return Places(here / "lab.yaml", here / "reports", cache_folder(), here / "kernel-configs")


def reports_folder(*names: str) -> Path:
    """Where stored runs are; those named by their folders alone need no lab.yaml (CI's artefacts).

    :raises UserError: when there is no lab.yaml, and a name is no folder.
    """
    return stored_places(*names).reports


def stored_places(*names: str) -> Places:
    """As :func:`find_places`, and without a lab.yaml where all ``names`` are folders of runs.

    The lab's own lab.yaml serves a folder in which it has served before.

    :raises UserError: when there is none, and a name is no folder.
    """
    try:
        return find_places(anywhere=reports_of(Path.cwd()).is_dir())
    except UserError:
        if names and all(Path(name.partition(":")[0]).is_dir() for name in names):
            return places_here()
        raise


def _clean_up(cache: Cache) -> None:
    """Remove what a killed lab left; the import is only paid where there is something."""
    imports = cache.store / "objects" / "pack"
    with contextlib.suppress(OSError):
        if any(cache.tmp.glob("*")) or any(imports.glob("*tmp*")):
            from orchestrator.host.cache.scratch import clean_leftovers

            clean_leftovers(cache)


def with_history(places: Places) -> None:
    """See before a run that its history can be used; one that was damaged is mended, and told.

    :raises UserError: it is no history of ours, or a newer lab's: that must not wait for the end.
    :raises HostError: it cannot be opened, or no other written in its place.
    """
    if places.history.exists():
        import click

        from orchestrator.results.mended import mended

        told = mended(places.history, places.reports)
        if told:
            click.echo(f"lab: {told}", err=True)


def read(places: Places) -> LabConfig:
    """Read and validate lab.yaml and the manifests.

    :raises ConfigError: with every problem found.
    """
    return load_config(places.lab_yaml, tuple(ARCHES))


def load(places: Places) -> LabConfig:
    """As :func:`read`, for who builds or boots: the walls that it wants stand from then on.

    :raises HostError: when this host cannot have them.
    """
    config = read(places)
    walls.put_up(config.walls)
    return config


def command_line(series: str | None = None) -> str:
    """The command this process was started with, for a shell.

    :param series: the file that stands for the series of standard input, which is read only once.
    """
    words = sys.argv[1:]
    if series is not None:
        given = f"--series={STDIN}"
        words = [f"--series={series}" if word == given else word for word in words]
        for at, word in enumerate(words[1:], 1):
            if word == STDIN and words[at - 1] == "--series":
                words[at] = series
    return shlex.join(["lab", *words])
