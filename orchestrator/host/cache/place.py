# SPDX-License-Identifier: GPL-2.0-only
"""Whether a folder can be the cache: found out before anything is downloaded into it or built."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from orchestrator.model.errors import HostError, LabError, UserError

# Kbuild: "source directory cannot contain spaces or colons" (the kernel's top Makefile).
_REFUSED = {" ": "a blank", "\t": "a tab", "\n": "a line end", ":": "a colon"}


#: Who says where the cache is, where that is not the environment variable itself.
FROM_ENV = "LAB_CACHE_FROM"


def named_by() -> str:
    """Who names the cache's folder, for people; empty where nobody does."""
    return (os.environ.get(FROM_ENV) or "LAB_CACHE") if os.environ.get("LAB_CACHE") else ""


def check_path(folder: Path) -> Path:
    """See that a path can be that of a cache; nothing is made.  Gives what of it is there.

    :raises UserError: when it is one that Kbuild refuses, or is no folder.
    """
    what = _what(folder)
    for sign, name in _REFUSED.items():
        if sign in str(folder):
            raise UserError(f"{what} has {name} in its path, where no kernel can be built", _way())
    above = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    if not above.is_dir():
        raise UserError(f"{what} cannot be used: {above} is no folder", _way())
    return above


def check_place(folder: Path) -> None:
    """See that the cache's folder does for kernel sources and builds; then make it.

    :raises UserError: as :func:`check_path` does.
    :raises HostError: when it cannot be written, or its file system lacks what is needed.
    """
    above, what = check_path(folder), _what(folder)
    try:
        # A folder that is to be made lies on the file system of the one that it is made in.
        with tempfile.TemporaryDirectory(prefix=".lab-probe-", dir=above) as name:
            lacks = _lacks(Path(name))
        if not lacks:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"{what} cannot be written: {error.strerror}", _way()) from error
    if lacks:
        raise HostError(f"{what} is on a file system {lacks}", _way())


def _what(folder: Path) -> str:
    return f"the cache {folder}" + (f", as {named_by()} has it," if named_by() else "")


def place_problem(folder: Path) -> LabError | None:
    """The same as a value."""
    try:
        check_place(folder)
    except LabError as error:
        return error
    return None


def _lacks(probe: Path) -> str:
    """What a file system lacks, as the end of "is on a file system ..."; "" for nothing."""
    # Trees of the kernel have files whose names differ in case alone (net/netfilter/xt_DSCP.c).
    (probe / "a").touch()
    if (probe / "A").exists():
        return "that does not tell capital letters from small ones"
    if os.statvfs(probe).f_flag & os.ST_NOEXEC:
        return "where no program runs (mounted noexec)"
    try:
        (probe / "link").symlink_to("a")
    except OSError:
        return "without symbolic links"
    with (probe / "a").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return "without file locks"
    (probe / "a").chmod(0o755)
    if not os.access(probe / "a", os.X_OK):
        return "that keeps no permissions"
    return ""


def _way() -> str:
    """A command that gives the cache a place that can be one."""
    home = os.environ.get("HOME", "")
    if home.startswith("/") and not any(sign in home for sign in _REFUSED):
        with contextlib.suppress(OSError):
            if Path(home).is_dir() and os.access(home, os.W_OK):
                return "export LAB_CACHE=$HOME/lab-cache"
    return f"export LAB_CACHE=/var/tmp/lab-cache-{os.getuid()}"
