# SPDX-License-Identifier: GPL-2.0-only
"""Campaigns of mutants, stored: mutants.json in a folder of its own, and how one is found.

A campaign is no run: its kernels are broken on purpose, so that it has no place in the history, is
no baseline, and ``latest`` is another one's.
"""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.model import codec, lookup
from orchestrator.model.errors import HostError, UserError
from orchestrator.model.mutants import Campaign

FILE = "mutants.json"
SCHEMA = 1
#: Below reports/.
FOLDER = "mutants"
LATEST = "latest"


def save(campaign: Campaign, folder: Path) -> None:
    """Write a campaign's mutants.json, in place of an earlier state.

    :raises HostError: when it cannot be written.
    """
    target = folder / FILE
    temporary = folder / f".{FILE}.tmp"
    try:
        temporary.write_text(codec.dumps(codec.plain(campaign), indent=1) + "\n", "ascii")
        temporary.replace(target)
    except OSError as error:
        raise HostError(
            f"cannot write {target}: {error.strerror}",
            "free some space, then `lab mutate --resume`",
        ) from error


def load(folder: Path) -> Campaign:
    """The campaign in a folder.

    :raises UserError: when there is none, or one that this lab cannot read.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_text("ascii"))
        if isinstance(data, dict) and data.get("schema") != SCHEMA:
            raise UserError(
                f"{path}: schema {data.get('schema')!r}, and this lab reads {SCHEMA}",
                "read it with the lab that wrote it",
            )
        return codec.build(Campaign, data)
    except (OSError, ValueError, codec.MismatchError, RecursionError) as error:
        raise UserError(f"{path}: no campaign of mutants: {error}", "begin one anew") from error


def list_campaigns(reports: Path) -> tuple[Path, ...]:
    """The folders of the campaigns below ``reports``, the oldest first."""
    return tuple(sorted(path.parent for path in (reports / FOLDER).glob(f"*/{FILE}")))


def find(reports: Path, name: str) -> Path:
    """The folder of the campaign that ``name`` means: ``latest``, an id, part of one, or a path.

    :raises UserError: when there is none, or several.
    """
    path = Path(name)
    if (path / FILE).is_file():
        return path.resolve()
    known = {one.name: one for one in list_campaigns(reports)}
    if name == LATEST and known:
        return known[max(known)]
    if name in known:
        return known[name]
    fitting = [one for one in known if name and one.startswith(name)]
    fitting = fitting or list(lookup.fitting(name, known, "-"))
    if len(fitting) > 1:
        raise lookup.ambiguous("campaigns", name, sorted(fitting, reverse=True))
    if fitting:
        return known[fitting[0]]
    raise UserError(
        f"no campaign of mutants {name!r} in {reports / FOLDER}",
        lookup.near(name, tuple(known)) if known else "begin one with `lab mutate`",
    )
