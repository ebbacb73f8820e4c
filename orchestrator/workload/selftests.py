# SPDX-License-Identifier: GPL-2.0-only
"""Build a collection of a kernel tree's own selftests for a guest's architecture.

Only what the build reads leaves the object store: no work tree is needed or held.  What was built
is kept by the content of those files, so that a series that leaves them alone costs nothing here.
Everything is linked statically: the guest has the C library of its own distribution or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.host import tools
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked, looking
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.build.request import compiler_version
from orchestrator.kernel.source import store
from orchestrator.model.arch import Arch
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree, Selftest, Selftests
from orchestrator.workload import target_libs
from orchestrator.workload.selftest_make import DEADLINE, SELFTESTS, Job, Maker, Repair

# Part of every identity: raise it when what comes out changes.
RECIPE = 6
# What `make headers` reads, and what the selftests include besides; the rest is looked up.
_HEADERS = ("Makefile", "Kbuild", "scripts", "include/uapi", "include/asm-generic")
_ARCH_HEADERS = (
    "Makefile", "include", "entry/syscalls", "tools", "kernel/syscalls", "kernel/Makefile.syscalls",
)  # fmt: skip
_TOOLS = (SELFTESTS, "tools/include", "tools/arch", "tools/scripts", "tools/build")
# Names that a collection had before: ``vm`` became ``mm`` in v6.3.
_FORMER = {"mm": "vm"}
_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)
_ROUNDS = 6


def build_selftests(
    tree: KernelTree,
    collection: str,
    arch: Arch,
    cache: Cache,
    *,
    jobs: int,
    repairs: Iterable[Repair] = (),
    tell: Notice = lambda _: None,
) -> Selftests:
    """Build a collection, or take what was built before.

    A collection that the tree lacks, and a program that does not build, are told in the value.

    :param collection: its folder below tools/testing/selftests.
    :param tell: told what is going on.
    :raises HostError: when a host tool is missing, the disk is full or make is killed.
    """
    folder = _folder_of(tree.tree, collection, cache)
    if folder is None:
        return Selftests(collection, missing=f"this kernel has no {SELFTESTS}/{collection}")
    repairs = tuple(repairs)
    libraries = target_libs.target_libraries(arch, cache, tell)
    job = _job(tree.tree, folder, arch, repairs, libraries, cache)
    kept = cache.selftests / job.identity
    lock = cache.lock_beside(kept)
    what = f"the selftests {collection}"
    with locked(lock, deadline=DEADLINE * 1.5, on_wait=tell, what=what):
        found = _find(kept, collection, cache)
        if found is None:
            with scratch(cache) as work:
                tell(f"building {SELFTESTS}/{folder}")
                Maker(job, work, cache, jobs, libraries, tell).make(repairs)
                shutil.rmtree(kept, ignore_errors=True)
                kept.parent.mkdir(parents=True, exist_ok=True)
                (work / "new").rename(kept)
            found = _find(kept, collection, cache)
    if found is None:
        raise HostError(
            f"what was built of {SELFTESTS}/{folder} cannot be read", "is the cache's disk full?"
        )
    return found


def _find(kept: Path, collection: str, cache: Cache) -> Selftests | None:
    try:
        with looking(cache):
            record = json.loads((kept / "selftests.json").read_text())
            os.utime(kept)
        tests = tuple(Selftest(**entry) for entry in record.pop("tests"))
        return Selftests(collection=collection, files=kept / "files", tests=tests, **record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---------------------------------------------------------------- what it is made of


def _folder_of(tree: str, collection: str, cache: Cache) -> str | None:
    for folder in (collection, _FORMER.get(collection)):
        if folder and store.read_file(tree, f"{SELFTESTS}/{folder}/Makefile", cache) is not None:
            return folder
    return None


def _job(
    tree: str,
    folder: str,
    arch: Arch,
    repairs: tuple[Repair, ...],
    libraries: target_libs.TargetLibraries,
    cache: Cache,
) -> Job:
    own = f"arch/{arch.srcarch}"
    paths = [*_HEADERS, *(f"{own}/{path}" for path in _ARCH_HEADERS), *_TOOLS]
    files = store.list_entries(tree, paths, cache)
    files |= _included(tree, f"{SELFTESTS}/{folder}/", files, cache)
    words = [
        str(RECIPE), folder, arch.name, compiler_version(arch.gcc), target_libs.recipe(),
        libraries.missing, repr(repairs), *_nested(folder), *_narrow(arch),
        *(f"{p} {m} {o}" for p, (m, o) in sorted(files.items())),
    ]  # fmt: skip
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()
    return Job(tree, folder, arch, files, f"{folder.replace('/', '-')}-{arch.name}-{digest[:24]}")


def _nested(folder: str) -> tuple[str, ...]:
    """What to call the way in which a collection below another one is made."""
    return ("flags of the Makefile above",) if "/" in folder else ()


def _narrow(arch: Arch) -> tuple[str, ...]:
    """What to call a host whose compiler makes 32-bit programs of the architecture too."""
    return ("32-bit programs",) if arch.narrow and tools.has("32-bit gcc") else ()


def _included(
    tree: str, under: str, have: Mapping[str, tuple[str, str]], cache: Cache
) -> dict[str, tuple[str, str]]:
    """Files from elsewhere in the tree that the sources in a folder include, by any way round."""
    found: dict[str, tuple[str, str]] = {}
    fresh = [path for path in have if path.startswith(under) and path.endswith((".c", ".h", ".S"))]
    for _ in range(_ROUNDS):
        wanted: set[str] = set()
        for path, text in store.read_files(tree, fresh, cache).items():
            for name in _INCLUDE.findall(text):
                named = os.fsdecode(name)
                beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
                wanted |= {beside, posixpath.normpath(named)}
        wanted = {w for w in wanted if not w.startswith(("/", ".."))} - have.keys() - found.keys()
        # Names such as stdio.h are asked for as well: the tree has no such file at its top.
        new = store.list_entries(tree, sorted(wanted), cache) if wanted else {}
        new = {path: entry for path, entry in new.items() if path in wanted}
        if not new:
            break
        found |= new
        fresh = list(new)
    return found
