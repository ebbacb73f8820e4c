# SPDX-License-Identifier: GPL-2.0-only
"""Work trees of kernels: slots, switched between trees by rewriting what differs.

A slot is first made for a source, and then used by whatever is near to what it holds.  It is a
folder ``trees/SLOT`` with an index, a stamp (the tree it holds) and a lock beside it.  Since
unchanged files keep their times, ``make O=`` after a switch compiles only what changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.host.cache.files import Cache, Slot, write_atomic
from orchestrator.host.cache.locks import Notice, locked, try_lock
from orchestrator.kernel.source import store
from orchestrator.model.kernel import KernelTree

# The first checkout writes 1.7 GB; a slow disk may take minutes for it.
_SWITCH_DEADLINE = 1800.0
_SLOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,100}")


@contextlib.contextmanager
def checkout(
    tree: KernelTree | str,
    slot: str,
    cache: Cache,
    *,
    deadline: float = 3600.0,
    on_wait: Notice | None = None,
) -> Iterator[Path]:
    """Give a work tree that holds ``tree`` for the length of a with block; write nothing into it.

    Users of one and the same tree share the slot, so that two architectures of a kernel build side
    by side; who needs another tree of it waits until they are gone.

    :param deadline: seconds to wait for other users of the slot.
    :param on_wait: told once when the slot is in use.
    :raises HostError: when the slot did not come free, or the disk is full.
    """
    wanted = tree.tree if isinstance(tree, KernelTree) else tree
    if not _SLOT.fullmatch(slot):
        raise ValueError(f"not a slot name: {slot!r}")
    place = cache.slot(slot)
    what = f"the source tree {slot}"
    until = time.monotonic() + deadline

    def left() -> float:
        return max(0.0, until - time.monotonic())

    while True:
        with contextlib.ExitStack() as stack:
            # Who waits for another tree holds the gate, so that those who come later for the tree
            # that is there do not keep him waiting for good.
            with locked(place.gate, deadline=left(), on_wait=on_wait, what=what):
                file = stack.enter_context(
                    locked(place.lock, deadline=left(), shared=True, on_wait=on_wait, what=what)
                )
                if not _holds(place, wanted):
                    stack.close()
                    file = stack.enter_context(
                        locked(place.lock, deadline=left(), on_wait=on_wait, what=what)
                    )
                    if not _holds(place, wanted):
                        _switch(place, wanted, cache)
                    # flock(2): the conversion may let another waiter in first.
                    if not try_lock(file, fcntl.LOCK_SH) or not _holds(place, wanted):
                        continue
            yield place.folder
            return


def intact(slot: str, cache: Cache) -> bool:
    """Whether a slot's files are what its stamp says, and nothing lies between them.

    Half a second of reading, to be done beside something that takes longer.  What is not intact is
    made anew by the next checkout.

    :raises HostError: when git cannot tell.
    """
    place = cache.slot(slot)

    def ask(*words: str) -> bytes:
        return store.git(
            cache, *words, index=place.index, worktree=place.folder, deadline=_SWITCH_DEADLINE,
            patient=True,
        ).stdout  # fmt: skip

    # Not diff-files, which lists what only has another time, as in a cache that was copied.
    diff = ("--no-optional-locks", "diff", "--name-only", "-z", "--no-ext-diff")
    if not ask(*diff) and not ask("clean", "-ffdxn"):
        return True
    place.stamp.unlink(missing_ok=True)
    return False


def _holds(place: Slot, tree: str) -> bool:
    try:
        return place.stamp.read_text() == tree and place.folder.is_dir()
    except OSError:
        return False


def _switch(place: Slot, tree: str, cache: Cache) -> None:
    """Make the folder hold ``tree``; the stamp is away while it does not.

    From a tree that the stamp vouches for, only what differs is looked at: :func:`intact` tells
    whether the rest is as it was left.  Without a stamp every file is compared.
    """
    folder, index, stamp = place.folder, place.index, place.stamp
    old = stamp.read_text() if stamp.exists() and index.exists() else ""
    stamp.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    # Left by a git that was killed with its lab: the slot's lock says nobody else is at work.
    place.index_lock.unlink(missing_ok=True)
    if old:
        quick = ("read-tree", "-m", "-u", old, tree)  # fails where a file to change is not as left
        done = store.git(
            cache, *quick, index=index, worktree=folder, deadline=_SWITCH_DEADLINE, check=False
        )
        if done.status == 0:
            _touch_linked(folder, store.touched_files(old, tree, cache))
            write_atomic(stamp, tree.encode())
            return
        place.index_lock.unlink(missing_ok=True)
    arguments = ("read-tree", "--reset", "-u", tree)
    done = store.git(
        cache, *arguments, index=index, worktree=folder, deadline=_SWITCH_DEADLINE,
        check=not index.exists(),
    )  # fmt: skip
    if done.status != 0:
        # An index that git cannot read: without it every file is written anew.
        index.unlink(missing_ok=True)
        place.index_lock.unlink(missing_ok=True)
        store.git(cache, *arguments, index=index, worktree=folder, deadline=_SWITCH_DEADLINE)
    store.git(cache, "clean", "-ffdxq", index=index, worktree=folder, deadline=_SWITCH_DEADLINE)
    _touch_linked(folder, store.file_names(tree, cache))
    write_atomic(stamp, tree.encode())


def _touch_linked(folder: Path, names: Iterable[str]) -> None:
    """Renew the times of the files to which those of ``names`` lead that are links.

    make goes by the time of what a link leads to, which may be older than an object that was made
    when another file stood there.
    """
    top = folder.resolve()
    for name in names:
        path = folder / name
        if path.is_symlink() and path.is_file() and path.resolve().is_relative_to(top):
            path.touch()
