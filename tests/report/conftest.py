# SPDX-License-Identifier: GPL-2.0-only
"""Golden files, and the sample run of the folder above."""

import os

import pytest

from orchestrator import HOME

TESTS = HOME / "tests"

GOLDEN = TESTS / "data" / "report"


@pytest.fixture
def golden():
    """Compare a text with its golden file; ``LAB_UPDATE_GOLDEN=1`` writes it instead."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("LAB_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return check
