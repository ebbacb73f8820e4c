# SPDX-License-Identifier: GPL-2.0-only
"""A while without Python's search for cycles of objects, which values have none of."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """For what makes a million values: to look at them all again and again takes a third of it.

    What refers to itself in a circle stays until the end of the with block.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
