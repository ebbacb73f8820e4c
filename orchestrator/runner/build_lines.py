# SPDX-License-Identifier: GPL-2.0-only
"""The source around the errors of a build, for who reads of it without that tree.

Read from the object store: by then the work tree may hold another kernel.  Whatever goes wrong here
costs the lines and nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from orchestrator.kernel.lines.excerpts import PatchedSource, Place
from orchestrator.model.errors import Interrupted
from orchestrator.model.results import BuildRecord
from orchestrator.runner.context import Context, Kernel

log = logging.getLogger("lab.build")

#: As many places of a build are quoted: one mistake makes many errors.
MOST = 5


def with_lines(record: BuildRecord, kernel: Kernel, context: Context) -> BuildRecord:
    """Give a build's record with the lines around its first errors; takes a moment where it failed.

    :raises Interrupted: when the lab is being stopped.
    """
    places = dict.fromkeys((m.file, m.line) for m in record.errors if m.file and m.line > 0)
    if not places or not kernel.exact:
        return record
    try:
        source = PatchedSource(kernel.tree, context.cache)
        shown = [source.describe(Place("", file, line)) for file, line in list(places)[:MOST]]
    except Interrupted:
        raise
    except Exception as error:
        log.warning("source lines of build %s", record.id, exc_info=error)
        return record
    sources = {f"{one.file}:{one.line}": one.excerpt for one in shown if one.excerpt.text}
    return replace(record, sources=sources)
