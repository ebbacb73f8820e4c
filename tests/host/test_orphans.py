# SPDX-License-Identifier: GPL-2.0-only
"""What labs that were killed left running."""

from __future__ import annotations

import os

from orchestrator.host import process
from orchestrator.host.orphans import orphans


def test_orphans_are_those_whose_reaper_is_gone(tmp_path):
    def put(pid: int, cmdline: bytes, environ: bytes) -> None:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(cmdline)
        (folder / "environ").write_bytes(environ)

    put(10, b"python3\0-I\0-S\0/lab/orchestrator/reaper.py\0aaaa\0", b"PATH=/bin\0")
    put(11, b"qemu-system-x86_64\0-name\0lab\0", b"PATH=/bin\0LAB_TOKEN=aaaa\0")
    put(12, b"qemu-system-x86_64\0-name\0lab\0", b"LAB_TOKEN=bbbb\0PATH=/bin\0")
    put(13, b"cc1\0", b"LAB_TOKEN=bbbb")
    put(14, b"bash\0", b"NOT_LAB_TOKEN=bbbb\0")
    put(15, b"", b"")
    (tmp_path / "16").mkdir()  # gone between listing and reading
    assert orphans(tmp_path) == (12, 13)


def test_a_living_labs_children_are_no_orphans():
    with process.start(["sleep", "20"]) as child:
        assert child.pid not in orphans()
    assert os.getpid() not in orphans()
