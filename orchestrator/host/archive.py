# SPDX-License-Identifier: GPL-2.0-only
"""Filters for what goes into a tar archive: whose it is there, and of when."""

from __future__ import annotations

from tarfile import TarInfo


def of_root(member: TarInfo) -> TarInfo:
    """A filter of :meth:`tarfile.TarFile.add`: root's, whoever owns the file on this host."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def reproducible(member: TarInfo) -> TarInfo:
    """A filter of the same kind: the same archive whoever makes it, and whenever."""
    member.mtime = 0
    return of_root(member)
