# SPDX-License-Identifier: GPL-2.0-only
"""tools/marks.py: a page's part between two marks, and where campaigns keep their records."""

from __future__ import annotations

from pathlib import Path

import pytest
from marks import put_between, work_folder


def test_the_table_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- a -->\nold\n<!-- end -->\nbelow\n")
    put_between(page, "<!-- a -->\n", "<!-- end -->", "new")
    assert page.read_text() == "above\n<!-- a -->\nnew\n<!-- end -->\nbelow\n"


def test_records_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/x")
    assert work_folder("lab-clean") == Path("/var/x/lab-clean")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert work_folder("lab-clean") == Path.home() / ".cache" / "lab-clean"
