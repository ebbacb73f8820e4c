# SPDX-License-Identifier: GPL-2.0-only
"""Where a build begins: in the work tree and build folder whose content is nearest to it.

A work tree belongs to no source.  It is switched by rewriting what differs, and Kbuild compiles
what sees a file that was rewritten, so that the first build of a user's tree costs what a series on
the kernel beside it does.  Nearness is counted in objects: each knows every file it was made of.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.host import process
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import Notice, locked
from orchestrator.host.cache.survey import mtime
from orchestrator.kernel.build.folders import cut_short, is_whole, origin, recipes, was_whole
from orchestrator.kernel.build.request import BuildRequest
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError

# A tree that differs in more files is another kernel; those of 6.12.90 and 6.12.117 are 3,000.
_MOST_FILES = 5000
# Beyond this share of its objects a work tree of one's own pays from the second build on.
_MOST_STALE = 0.5
# So many objects more or less are no reason to leave the source's own work tree.
_FEW = 20
# Most builds that begin near are done in less; one that does not may take an hour (seconds).
_PATIENCE = 60.0
# Every object is made anew when this program is.
_CHECKER = "tools/objtool/"
_GREP_DEADLINE = 120.0


@dataclass(frozen=True)
class Start:
    """Where a build begins: ``slot`` names the work tree, and with it the build folders.

    Of the ``total`` objects there ``stale`` are to be compiled anew, as far as that can be foreseen
    (Kconfig and the Makefiles have a say too).  ``total`` is 0 where all are to be compiled, and
    ``sibling`` set where they are those of another config.
    """

    slot: str
    stale: int = 0
    total: int = 0
    sibling: bool = False


def choose(wanted: BuildRequest, cache: Cache, on_wait: Notice) -> Start:
    """Choose the work tree for a build: the nearest, or the source's own (``wanted.slot``).

    One that another lab uses is waited for a minute at most, unless another is as near; after that
    one that is less near serves, and in the end the source's own.  It may be in use again by then.

    :param on_wait: told once when the nearest is in use.
    :raises HostError: when git or grep cannot tell.
    """
    until = time.monotonic() + _PATIENCE
    told = False
    while True:
        found = list(_starts(wanted, cache))
        own = next((start for start in found if start.slot == wanted.slot), Start(wanted.slot))
        near = sorted((start for start in found if _is_near(start)), key=lambda s: _rank(s, own))
        late = time.monotonic() > until
        for start in near if late else _as_near(near):
            if _is_free(cache, start.slot, wanted.tree.tree):
                return start
        used = [start.slot for start in near] or _switched(wanted, cache)
        if late or not used:
            return own
        if not told:
            on_wait(f"waiting for the source tree {used[0]}: another lab is using it")
            told = True
        _await(cache, used, wanted.tree.tree, until)


def _as_near(near: Sequence[Start]) -> list[Start]:
    """The first, and those that are no worse."""
    return [
        start
        for start in near
        if (start.sibling, start.stale // _FEW) == (near[0].sibling, near[0].stale // _FEW)
    ]


def _await(cache: Cache, slots: Sequence[str], tree: str, until: float) -> None:
    """Wait until the first of these work trees may have come free."""
    while time.monotonic() <= until and not _is_free(cache, slots[0], tree):
        process.sleep(0.2)


def _switched(wanted: BuildRequest, cache: Cache) -> list[str]:
    """The work trees of which nothing is known, since another lab is just switching them."""
    arch, tree = wanted.arch.name, wanted.tree.tree
    return [
        path.name
        for path in sorted(cache.trees.glob("*/"))
        if not cache.slot(path.name).stamp.exists()
        and any(cache.build_folders(path.name, "*", arch))
        and not _is_free(cache, path.name, tree)
    ]


def _is_near(start: Start) -> bool:
    return start.total > 0 and start.stale <= start.total * _MOST_STALE


def _rank(start: Start, own: Start) -> tuple[bool, int, bool, int, str]:
    return start.sibling, start.stale // _FEW, start != own, start.stale, start.slot


def _is_free(cache: Cache, slot: str, tree: str) -> bool:
    """Whether nobody is at work on another tree there."""
    place = cache.slot(slot)
    with contextlib.suppress(OSError):
        if place.stamp.read_text() == tree:
            return True  # shared
    try:
        with locked(place.lock, deadline=0.0):
            return True
    except HostError:
        return False


def _starts(wanted: BuildRequest, cache: Cache) -> Iterator[Start]:
    """Every work tree of nearly these sources with a build folder to begin in."""
    arch, config = wanted.arch.name, wanted.build.config
    by = config.toolchain.folder
    for slot in sorted(cache.slots()):
        exact = cache.build_folder(slot, config.folder, arch, by)
        sibling = not exact.exists()  # it will be a copy, see build_folder()
        if sibling:
            folders = [path for path in cache.build_folders(slot, "*", arch, by) if is_whole(path)]
        else:
            folders = [exact] if was_whole(exact) else []
        if folders:
            changed = _changed(slot, folders[0], wanted, cache)
            if changed is not None:
                yield Start(slot, *_count(folders[0], slot, changed), sibling=sibling)


def _changed(slot: str, objects: Path, wanted: BuildRequest, cache: Cache) -> set[str] | None:
    """The files that are newer than the objects once the work tree is switched; None: too many.

    None too where the trees they came from are no longer there.
    """
    try:
        held = cache.slot(slot).stamp.read_text()
        version = store.kernel_version(held, cache) or ""
        if version.split(".")[:2] != wanted.tree.version.split(".")[:2]:
            return None
        changed = set(store.touched_files(held, wanted.tree.tree, cache))
        for tree in origin(objects).trees:
            changed.update(store.touched_files(tree, held, cache))
    except (OSError, process.CommandFailed):
        return None
    return changed if len(changed) <= _MOST_FILES else None


def _count(objects: Path, slot: str, changed: set[str]) -> tuple[int, int]:
    """How many objects of a build folder are to be compiled anew, and of how many.

    Another lab may be at work there: what vanishes meanwhile does not count.
    """
    since = cut_short(objects)
    trusted = {
        os.path.relpath(path, objects)
        for path in recipes(objects)
        if since is None or mtime(path) < since
    }
    total = max(origin(objects).count, len(trusted))
    if any(name.startswith(_CHECKER) for name in changed):
        return total, total
    seen = seeing(objects, [f"/{slot}/{name}" for name in changed], steady=False)
    return total - len(trusted - {os.path.normpath(name) for name in seen}), total


def seeing(objects: Path, texts: Sequence[str], steady: bool = True) -> set[str]:
    """The ``.NAME.cmd`` files below a build folder that have one of these texts.

    Each holds the command, and what scripts/basic/fixdep.c found its result to depend on: an
    object, or what is compiled for its text alone (asm-offsets.s, vmlinux.lds).

    :param steady: nobody else is at work there, so that a file which cannot be read is an error.
    :raises HostError: when grep fails.
    """
    usable = [text for text in texts if "\n" not in text]
    if not usable:
        return set()
    done = process.run(
        ["grep", "-rlZF", "--include=.*.cmd", "-f", "-", "--", "."],
        deadline=_GREP_DEADLINE, input=os.fsencode("\n".join(usable)), cwd=objects, check=False,
        env={"LC_ALL": "C"},
    )  # fmt: skip
    if done.status > (1 if steady else 2):
        raise process.CommandFailed(done)
    return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
