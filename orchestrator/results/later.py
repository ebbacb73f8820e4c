# SPDX-License-Identifier: GPL-2.0-only
"""What becomes known of a run after its end: values in a small file beside its results.json.

The results stay as they are: a later lab, and whoever has copied them, reads what the run found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.model import codec
from orchestrator.model.errors import HostError

SCHEMA = 1
_UNFIT = (OSError, ValueError, TypeError, LookupError, codec.MismatchError, RecursionError)
T = TypeVar("T")


def read(path: Path, key: str, kind: type[T]) -> tuple[T, ...]:
    """The values of a file; none where there is no file, or an unfit one.

    What a newer lab wrote is unfit.

    :param key: under which they stand.
    """
    try:
        data = json.loads(path.read_text(encoding="ascii"))
        if data["schema"] != SCHEMA:
            return ()
        return tuple(codec.build(kind, one) for one in data[key])
    except _UNFIT:
        return ()


def write(path: Path, key: str, values: Sequence[object]) -> None:
    """Write the values of a file, in place of an earlier state, in one step.

    :raises HostError: when it cannot be written.
    """
    content = {"schema": SCHEMA, key: codec.plain(tuple(values))}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(codec.dumps(content, indent=1), encoding="ascii")
        temporary.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error
