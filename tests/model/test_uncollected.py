# SPDX-License-Identifier: GPL-2.0-only
"""The search for cycles rests for a while, and goes on afterwards as it did before."""

from __future__ import annotations

import contextlib
import gc

import pytest

from orchestrator.model.uncollected import uncollected


@pytest.mark.parametrize("before", [True, False])
def test_it_is_as_it_was_whatever_happens(before: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with contextlib.suppress(ValueError), uncollected(), uncollected():
            assert not gc.isenabled()
            raise ValueError
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
