# SPDX-License-Identifier: GPL-2.0-only
"""What an archive tells of the host that made it."""

from __future__ import annotations

from tarfile import TarInfo

from orchestrator.host.archive import of_root, reproducible


def member() -> TarInfo:
    found = TarInfo("a")
    found.uid = found.gid = 1000
    found.uname = found.gname = "me"
    found.mtime, found.mode = 1_700_000_000, 0o755
    return found


def test_nothing_of_the_owner_travels() -> None:
    kept = of_root(member())
    assert (kept.uid, kept.gid, kept.uname, kept.gname) == (0, 0, "root", "root")
    assert (kept.mode, kept.mtime) == (0o755, 1_700_000_000)


def test_nor_the_time_where_the_archive_is_to_be_the_same_again() -> None:
    kept = reproducible(member())
    assert kept.mtime == 0
    assert (kept.uid, kept.gname, kept.mode) == (0, "root", 0o755)
