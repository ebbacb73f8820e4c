# SPDX-License-Identifier: GPL-2.0-only
"""docs/security.md: each threat has a test, and each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import HOME

PAGE = (HOME / "docs/security.md").read_text(encoding="utf-8")
NODES = sorted(set(re.findall(r"`(tests/[\w./]+\.py(?:::\w+)?)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line]


@pytest.mark.parametrize("node", NODES)
def test_each_test_is_there(node: str) -> None:
    path, _, name = node.partition("::")
    text = (HOME / Path(path)).read_text(encoding="utf-8")
    assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE)


def test_each_threat_has_a_test() -> None:
    assert len(ROWS) > 25
    for row in ROWS:
        _threat, wall, shown = (cell.strip() for cell in row.strip("|").split(" | "))
        assert wall
        assert shown.rstrip("| ") == "the same" or "`tests/" in shown, row
