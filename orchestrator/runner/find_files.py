# SPDX-License-Identifier: GPL-2.0-only
"""The finds of a run as files: each program as text, and as a C file where there is one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from orchestrator.model.results import RunResult
from orchestrator.report.finds_text import Told, finds_of, program_text
from orchestrator.results.runs import file_stem

#: In a run's folder, and in a capsule.
FOLDER = "finds"


def leave_finds(run: RunResult, folder: Path) -> None:
    """Write the finds of a run below its folder; that a file cannot be written is no failure.

    :param folder: the run's.
    """
    found = finds_of(run)
    if found:
        write(found, folder / FOLDER)


def write(found: Iterable[Told], folder: Path) -> None:
    """Write finds into a folder, which is made: ``SIGNATURE.txt`` and ``SIGNATURE.c``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found:
            stem = folder / file_stem(one.find.signature)
            stem.with_name(f"{stem.name}.txt").write_text(program_text(one.find), "utf-8")
            if one.source:
                stem.with_name(f"{stem.name}.c").write_text(one.source, "utf-8")
    except OSError as error:
        logging.getLogger("lab.run").warning("%s: %s", folder, error)
