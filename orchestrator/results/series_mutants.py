# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a series' mutants, told beside the runs of that series.

A campaign of mutants is no run.  What it came to belongs to the runs of the same sources too, whose
results.json is left as it is: ``series-mutants.json`` in their folders has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.judge.mutants import counts
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model.errors import UserError
from orchestrator.model.mutants import Campaign, SeriesMutants
from orchestrator.model.results import RunResult
from orchestrator.results import later, mutants

FILE = "series-mutants.json"
_KEY = "mutants"


def read(folder: Path) -> tuple[SeriesMutants, ...]:
    """What the run in a folder knows."""
    return later.read(folder / FILE, _KEY, SeriesMutants)


def keep(folder: Path, found: tuple[SeriesMutants, ...]) -> None:
    """Tell a run's folder what is known, in place of what was known before.

    :raises HostError: when it cannot be written.
    """
    later.write(folder / FILE, _KEY, found)


def known(reports: Path, run: RunResult) -> tuple[SeriesMutants, ...]:
    """What the newest campaign on each series of a run came to, of the very same sources."""
    wanted = {kernel.name for kernel in without_prefixes(run).kernels if kernel.series}
    found: dict[str, SeriesMutants] = {}
    for folder in reversed(mutants.list_campaigns(reports)):
        if not wanted - found.keys():
            break
        try:
            campaign = mutants.load(folder)
        except UserError:  # of another lab, or damaged: it tells nothing
            continue
        for one in of_run(run, campaign):
            found.setdefault(one.kernel, one)
    return tuple(found.values())


def of_run(run: RunResult, campaign: Campaign) -> Iterator[SeriesMutants]:
    """What a campaign came to, for the kernel of a run that has the same sources and a series."""
    found = counts(campaign) if campaign.series else ()
    if not found:
        return
    for kernel in without_prefixes(run).kernels:
        if kernel.series and kernel.tree == campaign.tree:
            yield SeriesMutants(kernel.name, campaign.name, found, campaign.sampled)
