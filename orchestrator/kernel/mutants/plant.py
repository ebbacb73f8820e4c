# SPDX-License-Identifier: GPL-2.0-only
"""A kernel with one fault in it: a tree of the store that differs in one file."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.host.cache.files import Cache
from orchestrator.host.cache.scratch import scratch
from orchestrator.kernel.mutants.find import mutated
from orchestrator.kernel.source import store
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.mutants import Mutant


def plant(mutant: Mutant, tree: KernelTree, cache: Cache) -> KernelTree:
    """The kernel's tree with the mutant in it; only objects of the store are written.

    :raises HostError: when the store cannot be written, or the tree has not the mutant's file.
    """
    entries = store.list_entries(tree.tree, [mutant.file], cache)
    source = store.read_file(tree.tree, mutant.file, cache)
    if source is None or mutant.file not in entries:
        raise HostError(f"{mutant.file} is not in the tree of {tree.spec.name}")
    text = mutated(mutant, source)
    blob = store.git(cache, "hash-object", "-w", "--stdin", input=text).text.strip()
    mode = entries[mutant.file][0]
    with scratch(cache) as folder:
        index = folder / "index"
        store.git(cache, "read-tree", tree.tree, index=index)
        info = f"{mode},{blob},{mutant.file}"
        store.git(cache, "update-index", "--cacheinfo", info, index=index)
        made = store.git(cache, "write-tree", index=index).text.strip()
    return replace(
        tree, tree=made, base_tree=tree.tree, touched_files=(mutant.file,), hunks=(),
        notes=(*tree.notes, f"with a mutant: {mutant.name}"),
    )  # fmt: skip
