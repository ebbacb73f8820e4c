# SPDX-License-Identifier: GPL-2.0-only
"""`lab doctor`: the cache's place, disk and memory, and what killed labs left."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from orchestrator.commands import asking
from orchestrator.commands.asking import BAD, OK, WARN, Check
from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.place import place_problem
from orchestrator.host.orphans import orphans
from orchestrator.model.spec import LabConfig

# A first run of smoke: sources 2 GB, two build folders, roots, ccache; later ones need little.
_FIRST_RUN_MIB, _LATER_MIB = 10 << 10, 3 << 10
# Beside the guests: QEMU's own memory and a compiler on each core.
_SPARE_MIB = 1024


def place(cache: Cache) -> Iterator[Check]:
    """Its path, its file system, and the room there is."""
    if (problem := place_problem(cache.folder)) is not None:
        yield Check("cache", BAD, problem.message, problem.hint)
        return
    yield Check("cache", OK, str(cache.folder))
    free = shutil.disk_usage(cache.folder).free >> 20
    used = cache.store.exists()
    need = _LATER_MIB if used else _FIRST_RUN_MIB
    text = f"{free >> 10} GiB free, {'a run' if used else 'a first run'} needs {need >> 10}"
    fix = "lab gc --max-size 5G" if used else "export LAB_CACHE=/LARGER/DISK/lab-cache"
    yield Check("disk", OK if free >= need else BAD, text, fix if free < need else "")


def usable(cache: Cache) -> Cache:
    """The cache, or one of this process alone where there can be none: it is not made then."""
    if place_problem(cache.folder) is None:
        return cache
    return Cache(process.temp_folder() / "cache")


def memory(config: LabConfig | None) -> Iterator[Check]:
    """Memory for a guest and a build."""
    told = asking.read(Path("/proc/meminfo"))
    match = re.search(r"^MemAvailable:\s+(\d+) kB", told, re.MULTILINE)
    if match is None:
        return
    free = int(match[1]) >> 10
    largest = max((shape.memory_mib for shape in config.shapes), default=1024) if config else 1024
    need = largest + _SPARE_MIB
    text = f"{free} MiB available, a guest and a build take up to {need}"
    yield Check("memory", OK if free >= need else WARN, text)


def leftovers(cache: Cache) -> Iterator[Check]:
    """Files and processes of labs that were killed."""
    from orchestrator.host.cache.survey import survey_kind

    left = survey_kind(cache, "tmp") if cache.folder.is_dir() else ()
    if left:
        text = f"{len(left)} of killed labs in {cache.tmp}"
        yield Check("leftover files", WARN, text, "lab gc")
    else:
        yield Check("leftover files", OK, "none")
    pids = " ".join(map(str, orphans()))
    if pids:
        yield Check("leftover processes", WARN, f"of killed labs: {pids}", f"kill -9 {pids}")
    else:
        yield Check("leftover processes", OK, "none")
