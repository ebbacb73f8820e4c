# SPDX-License-Identifier: GPL-2.0-only
"""A mutant as a tree of the store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.host.cache.files import Cache
from orchestrator.kernel.mutants.find import of_functions
from orchestrator.kernel.mutants.plant import plant
from orchestrator.kernel.source import store, worktree
from orchestrator.kernel.source.fetch import BaseSource
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import KernelTree
from orchestrator.model.spec import KernelSpec

FILE = "mm/userfaultfd.c"


def test_a_mutants_kernel_differs_in_one_place(base: BaseSource, cache: Cache) -> None:
    tree = KernelTree(KernelSpec("k", base.source), base.version, base.tree, base.tree)
    mutant = of_functions(["step_3"], tree, cache).mutants[0]
    made = plant(mutant, tree, cache)
    assert store.touched_files(tree.tree, made.tree, cache) == (FILE,) == made.touched_files
    before, after = (store.read_file(one.tree, FILE, cache) for one in (tree, made))
    assert before is not None
    assert after == before.replace(b"return 3;", b"return 4;")
    assert (made.base_tree, made.version) == (tree.tree, "6.12.117")
    assert mutant.name in made.notes[-1]
    # It is checked out as an increment, and as what it is.
    with worktree.checkout(made, base.slot, cache) as folder:
        assert (folder / FILE).read_bytes() == after
        assert (folder / "scripts/run.sh").stat().st_mode & 0o111


def test_the_same_mutant_is_the_same_tree(base: BaseSource, cache: Cache) -> None:
    tree = KernelTree(KernelSpec("k", base.source), base.version, base.tree, base.tree)
    first, second = of_functions(["step_3"], tree, cache).mutants
    assert plant(first, tree, cache).tree == plant(first, tree, cache).tree
    assert plant(first, tree, cache).tree != plant(second, tree, cache).tree


def test_a_file_that_is_not_there_is_refused(base: BaseSource, cache: Cache) -> None:
    tree = KernelTree(KernelSpec("k", base.source), base.version, base.tree, base.tree)
    mutant = replace(of_functions(["step_3"], tree, cache).mutants[0], file="mm/other.c")
    with pytest.raises(HostError, match=r"mm/other\.c is not in the tree of k"):
        plant(mutant, tree, cache)
