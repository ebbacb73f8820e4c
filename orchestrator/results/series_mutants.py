# SPDX-License-Identifier: GPL-2.0-only
"""What is known of a series' mutants, told beside the runs of that series.

A campaign of mutants is no run.  What it came to belongs to the runs of the same sources too, whose
results.json is left as it is: ``series-mutants.json`` in their folders has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from orchestrator.judge.mutants import counts
from orchestrator.judge.prefixes import without_prefixes
from orchestrator.model import codec
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.mutants import Campaign, SeriesMutants
from orchestrator.model.results import RunResult
from orchestrator.results import mutants

FILE = "series-mutants.json"
SCHEMA = 1
_UNFIT = (OSError, ValueError, TypeError, LookupError, codec.MismatchError, RecursionError)


def read(folder: Path) -> tuple[SeriesMutants, ...]:
    """What the run in a folder knows; none where there is no file, or an unfit one."""
    try:
        data = json.loads((folder / FILE).read_text(encoding="ascii"))
        if data["schema"] != SCHEMA:
            return ()
        return tuple(codec.build(SeriesMutants, one) for one in data["mutants"])
    except _UNFIT:
        return ()


def keep(folder: Path, found: tuple[SeriesMutants, ...]) -> None:
    """Tell a run's folder what is known, in place of what was known before.

    :raises HostError: when it cannot be written.
    """
    content = {"schema": SCHEMA, "mutants": codec.plain(found)}
    try:
        temporary = folder / f".{FILE}.tmp"
        temporary.write_text(codec.dumps(content, indent=1), encoding="ascii")
        temporary.replace(folder / FILE)
    except OSError as error:
        raise HostError(f"cannot write {folder / FILE}: {error.strerror}") from error


def known(reports: Path, run: RunResult) -> tuple[SeriesMutants, ...]:
    """What the newest campaign on each series of a run came to, of the very same sources."""
    if not any(kernel.series for kernel in run.kernels):
        return ()
    campaigns = list(_campaigns(reports))
    found = (next(of_run(run, one), None) for one in reversed(campaigns))
    by_kernel: dict[str, SeriesMutants] = {}
    for one in filter(None, found):
        by_kernel.setdefault(one.kernel, one)
    return tuple(by_kernel.values())


def of_run(run: RunResult, campaign: Campaign) -> Iterator[SeriesMutants]:
    """What a campaign came to, for the kernel of a run that has the same sources and a series."""
    found = counts(campaign) if campaign.series else ()
    if not found:
        return
    for kernel in without_prefixes(run).kernels:
        if kernel.series and kernel.tree == campaign.tree:
            yield SeriesMutants(kernel.name, campaign.name, found, campaign.sampled)


def _campaigns(reports: Path) -> Iterator[Campaign]:
    for folder in mutants.list_campaigns(reports):
        try:
            yield mutants.load(folder)
        except UserError:  # of another lab, or damaged: it tells nothing
            continue
