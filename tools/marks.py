# SPDX-License-Identifier: GPL-2.0-only
"""What the campaigns share: where they keep what is done, and a page's part between two marks."""

from __future__ import annotations

import os
from pathlib import Path

#: Families of the tree's own tests, which have pages of their own and no part in the suite here.
OF_THE_TREE = ("kselftest/", "kunit/", "host/")


def work_folder(name: str) -> Path:
    """Where a campaign keeps its records: below the user's cache (XDG Base Directory)."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / name


def put_between(page: Path, start: str, end: str, body: str) -> None:
    """Replace what stands between two marks of a page; the marks stay."""
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}{body}\n{end}{after}")
