# SPDX-License-Identifier: GPL-2.0-only
"""Libraries for the guests' architectures, linked statically into the kernel's selftests.

They come from the same Debian release as the guests' root, unpacked by the same tool, so that no
foreign architecture has to be known to the host's apt and no package is installed on the host.
Only the headers and archives named here are taken: a whole sysroot would bring kernel headers of
its own, and the selftests must see those of the tree under test.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.guest.mmdebstrap import DEADLINE, SUITE, unpack
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.host.cache.scratch import scratch
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError

_RECIPE = 1


@dataclass(frozen=True)
class Library:
    """A library by what ``-l`` calls it, its package, and its headers below ``usr/include``."""

    name: str
    package: str
    headers: tuple[str, ...]


LIBRARIES = (
    Library("cap", "libcap-dev", ("sys/capability.h", "sys/psx_syscall.h")),
    Library("cap-ng", "libcap-ng-dev", ("cap-ng.h",)),
    Library("numa", "libnuma-dev", ("numa.h", "numaif.h", "numacompat1.h")),
    Library("popt", "libpopt-dev", ("popt.h",)),
    Library("uring", "liburing-dev", ("liburing.h", "liburing/*.h")),
)


@dataclass(frozen=True)
class TargetLibraries:
    """Where they are; ``missing`` says why there are none."""

    include: Path | None = None
    lib: Path | None = None
    missing: str = ""


def recipe() -> str:
    """What decides what :func:`target_libraries` gives, for the identity of what is linked."""
    return repr((_RECIPE, SUITE, LIBRARIES))


def target_libraries(arch: Arch, cache: Cache, tell: Notice) -> TargetLibraries:
    """Give the libraries for an architecture, fetched where the cache does not have them.

    Without them most selftests still build: so what goes wrong is told in the value.
    """
    name = f"libs-{arch.name}-{hashlib.sha256(recipe().encode()).hexdigest()[:24]}"
    folder = cache.selftests / name
    lock = cache.lock_beside(folder)
    try:
        with locked(lock, deadline=DEADLINE * 1.5, on_wait=tell, what=f"libraries of {arch.name}"):
            with looking(cache):
                there = (folder / "lib").is_dir()
                if there:
                    os.utime(folder)
            if not there:
                tell(f"fetching libraries for {arch.name}")
                _fetch(arch, folder, cache)
    except HostError as error:
        return TargetLibraries(missing=error.message)
    return TargetLibraries(folder / "include", folder / "lib")


def _fetch(arch: Arch, folder: Path, cache: Cache) -> None:
    packages = [library.package for library in LIBRARIES]
    with scratch(cache) as work:
        archive, new = work / "libraries.tar", work / "new"
        failed = f"cannot fetch {','.join(packages)} for {arch.name}"
        unpack(packages, arch, archive, failed=failed)
        _take(archive, new)
        new.rename(folder)


def _take(archive: Path, folder: Path) -> None:
    """Take the headers and archives of ``LIBRARIES`` out of an unpacked system."""
    (folder / "lib").mkdir(parents=True)
    (folder / "include").mkdir()
    headers = tuple(pattern for library in LIBRARIES for pattern in library.headers)
    archives = {f"lib{library.name}.a" for library in LIBRARIES}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            path = member.name.removeprefix("./")
            header = re.sub(r"^usr/include/([^/]+-linux-gnu[^/]*/)?", "", path)
            if header != path and any(fnmatchcase(header, pattern) for pattern in headers):
                target = folder / "include" / header
            elif path.startswith(("usr/lib/", "lib/")) and Path(path).name in archives:
                target = folder / "lib" / Path(path).name
            else:
                continue
            content = tar.extractfile(member)
            assert content is not None  # a plain file has one
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
