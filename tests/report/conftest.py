# SPDX-License-Identifier: GPL-2.0-only
"""Golden files, and the sample run of the folder above."""

import os
import re

import pytest

from orchestrator import HOME

TESTS = HOME / "tests"

GOLDEN = TESTS / "data" / "report"


def without_assets(page: str) -> str:
    """A page without its stylesheet and script, and without the script's digest."""
    page = re.sub(r"(<style>).*?(</style>)", r"\1\nreport.css\n\2", page, flags=re.DOTALL)
    page = re.sub(r"(<script>).*?(</script>)", r"\1\nreport.js\n\2", page, flags=re.DOTALL)
    return re.sub(r"'sha256-[\w+/=]+'", "'sha256-DIGEST'", page)


@pytest.fixture
def golden():
    """Compare a text with its golden file; ``LAB_UPDATE_GOLDEN=1`` writes it instead.

    What a page takes from a file of its own is not of its making: see :func:`without_assets`.
    """

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        text = without_assets(text)
        if os.environ.get("LAB_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return check
