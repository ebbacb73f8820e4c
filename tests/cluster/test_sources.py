# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources through the store: real git objects, a patched tree as its difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_lab import tree_of

from orchestrator.cluster.goods import Store
from orchestrator.cluster.sources import Source, fetch_trees, share_tree
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source.store import git, has_object, open_store
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import KernelSpec

BASE = {f"file{number}.c": f"{number}\n" * 500 for number in range(50)}
SPEC = KernelSpec("k", "path:x")


def test_a_tree_and_its_base(tmp_path: Path) -> None:
    cache, store = Cache(tmp_path / "a"), Store(str(tmp_path / "store"))
    base = tree_of(BASE, cache)
    tree = tree_of({**BASE, "file3.c": "changed\n"}, cache)
    sources = share_tree(KernelTree(SPEC, "6.12", base, tree), cache, store)
    assert [one.tree for one in sources] == [base, tree]
    assert share_tree(KernelTree(SPEC, "6.12", base, tree), cache, store) == sources
    other = Cache(tmp_path / "b")
    fetch_trees(sources, other, store)
    assert git(other, "cat-file", "blob", f"{tree}:file3.c").text == "changed\n"
    assert git(other, "cat-file", "blob", f"{tree}:file4.c").text == BASE["file4.c"]
    sizes = sorted(p.stat().st_size for p in (other.store / "objects" / "pack").glob("*.pack"))
    assert sizes[0] < 2000 < sizes[1]  # the difference is small
    packs = set((other.store / "objects" / "pack").iterdir())
    fetch_trees(sources, other, store)  # once
    assert set((other.store / "objects" / "pack").iterdir()) == packs


def test_a_base_that_is_not_all_here_is_not_needed(tmp_path: Path) -> None:
    cache, store = Cache(tmp_path / "a"), Store(str(tmp_path / "store"))
    tree = tree_of(BASE, cache)
    sources = share_tree(KernelTree(SPEC, "6.12", "ab" * 20, tree), cache, store)
    assert [one.tree for one in sources] == [tree]
    other = Cache(tmp_path / "b")
    fetch_trees(sources, other, store)
    assert has_object(other, f"{tree}^{{tree}}")


def test_a_pack_under_a_false_name_is_found_out(tmp_path: Path) -> None:
    """Whoever can write to the store can have a name lead elsewhere, and gets nothing by it."""
    cache, store = Cache(tmp_path / "a"), Store(str(tmp_path / "store"))
    good = tree_of(BASE, cache)
    evil = tree_of({**BASE, "file3.c": "evil\n"}, cache)
    (source,) = share_tree(KernelTree(SPEC, "6.12", evil, evil), cache, store)
    other = Cache(tmp_path / "b")
    with pytest.raises(HostError, match="has not all of it"):
        fetch_trees((Source(good, source.digest),), other, store)
    assert not has_object(other, f"{evil}^{{tree}}")
    assert not list((other.store / "objects" / "pack").iterdir())


def test_a_damaged_pack(tmp_path: Path) -> None:
    cache, store = Cache(tmp_path / "a"), Store(str(tmp_path / "store"))
    open_store(cache)
    (tmp_path / "tree.pack").write_bytes(b"PACK\0\0\0\2 and rubbish" * 10)
    digest = store.share({"tree.pack": tmp_path / "tree.pack"})
    with pytest.raises(HostError, match="damaged"):
        fetch_trees((Source("ab" * 20, digest),), cache, store)
