# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources between machines: git objects in packs, a patched tree as what it has more.

git names what it unpacks by its content, so that a pack cannot give another tree than was asked
for; whether it has all of the tree is looked at before the tree is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster.goods import Good, Store
from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.locks import locked
from orchestrator.host.cache.scratch import scratch
from orchestrator.host.process import CommandFailed
from orchestrator.kernel.source.store import git, has_object, open_store
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree

# A pack of all of a kernel's 80,000 files is written in half a minute on an idle core.
DEADLINE = 900.0
_KIND = "trees"
_PACK = "tree.pack"
_OBJECTS = "the store of kernel sources"


@dataclass(frozen=True)
class Source:
    """A tree id of git's, and the pack in the store that completes it."""

    tree: str
    digest: str


def share_tree(tree: KernelTree, cache: Cache, store: Store) -> tuple[Source, ...]:
    """Put a kernel's sources into the store; gives what is to be fetched, in that order.

    :raises HostError: when git cannot pack them, or the store cannot be written.
    """
    if tree.base_tree not in ("", tree.tree):
        try:
            base = _share(tree.base_tree, "", cache, store)
            return base, _share(tree.tree, tree.base_tree, cache, store)
        except CommandFailed:
            pass  # of a base that was looked at in the user's repository this cache has not all
    return (_share(tree.tree, "", cache, store),)


def _share(tree: str, base: str, cache: Cache, store: Store) -> Source:
    name = f"{tree}-{base}" if base else tree
    digest = store.noted(_KIND, name)
    if digest is None:
        # Without this lock, who cleans up after killed labs takes what git is writing for theirs.
        lock = locked(cache.import_lock, deadline=DEADLINE, shared=True, what=_OBJECTS)
        with lock, scratch(cache) as folder:
            # What the store's own packs hold is copied, and not packed anew.
            wanted = f"{tree}\n" + (f"^{base}\n" if base else "")
            words = ("pack-objects", "--revs", "--quiet", "--window=0", folder / "pack")
            git(cache, *words, input=wanted.encode(), deadline=DEADLINE)
            pack = next(iter(folder.glob("pack-*.pack")))
            digest = store.share({_PACK: pack})
        store.note(_KIND, name, digest)
    return Source(tree, digest)


def fetch_trees(sources: tuple[Source, ...], cache: Cache, store: Store) -> None:
    """Have a kernel's sources in the cache's own store of objects, each once.

    :raises HostError: when a pack is missing, damaged, or has not all of its tree.
    """
    open_store(cache)
    with locked(cache.import_lock, deadline=DEADLINE, what=_OBJECTS):
        for source in sources:
            if not has_object(cache, f"{source.tree}^{{tree}}"):
                _fetch(source, cache, store)


def _fetch(source: Source, cache: Cache, store: Store) -> None:
    with scratch(cache) as folder:
        (pack,) = store.fetch(Good("pack", source.digest), folder)
        try:
            # Hashes each object and fails on one that is damaged.
            name = git(cache, "index-pack", pack, deadline=DEADLINE).text.split()[-1]
        except CommandFailed as error:
            told = f"the sources {source.tree[:12]} in the store are damaged: {error.message}"
            raise HostError(told, "empty the store's names/trees") from error
        target = cache.store / "objects" / "pack"
        target.mkdir(parents=True, exist_ok=True)
        kept = target / f"pack-{name}.pack"
        Path(pack).replace(kept)
        pack.with_suffix(".idx").replace(kept.with_suffix(".idx"))
    try:
        git(cache, "rev-list", "--objects", "--quiet", source.tree, deadline=DEADLINE)
    except CommandFailed as error:
        kept.with_suffix(".idx").unlink()
        kept.unlink()
        told = f"the pack of {source.tree[:12]} in the store has not all of it: {error.message}"
        raise HostError(told, "empty the store's names/trees") from error
