# SPDX-License-Identifier: GPL-2.0-only
"""What the campaigns share: where they keep what is done, and a page's part between two marks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
#: Families of the tree's own tests, which have pages of their own and no part in the suite here.
OF_THE_TREE = ("kselftest/", "kunit/", "host/")


def git(*words: str) -> str:
    """What git says of this tree."""
    return subprocess.run(
        ["git", "-C", str(HOME), *words], capture_output=True, text=True, timeout=20, check=True
    ).stdout.strip()


def work_folder(name: str) -> Path:
    """Where a campaign keeps its records: below the user's cache (XDG Base Directory)."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / name


def put_between(page: Path, start: str, end: str, body: str) -> None:
    """Replace what stands between two marks of a page; the marks stay."""
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}{body}\n{end}{after}")
