# SPDX-License-Identifier: GPL-2.0-only
"""``--series -``: a series from standard input, kept so that a rerun or a resumed run has it."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from orchestrator.model.errors import UserError
from orchestrator.plan.kernels import STDIN
from orchestrator.runner.context import Places

if TYPE_CHECKING:
    from orchestrator.plan.matrix import Selection

_NAME = "standard input"


def received(selection: Selection, places: Places) -> Selection:
    """The selection with the series of standard input as a file, where it names that.

    The file is ``reports/series/stdin-DIGEST.mbox``: beside the runs and not in the cache, which
    holds only what can be made again.  It is unpacked, and named by its content.

    :raises UserError: when standard input holds no series; nothing is kept then.
    :raises HostError: when it cannot be kept.
    """
    if selection.series != STDIN:
        return selection
    from orchestrator.host.cache.files import write_atomic
    from orchestrator.kernel.series.files import read_stream
    from orchestrator.kernel.series.load import read_series

    if sys.stdin is None:
        raise UserError("standard input is closed", "give the series as a file")
    if sys.stdin.isatty():
        click.echo("lab: the series is read from this terminal; Ctrl-D ends it", err=True)
    data = read_stream(sys.stdin.buffer, _NAME)
    read_series(data, _NAME)
    digest = hashlib.sha256(data).hexdigest()[:16]
    file = places.reports / "series" / f"stdin-{digest}.mbox"
    if not file.exists():
        write_atomic(file, data)
    return replace(selection, series=str(file))
