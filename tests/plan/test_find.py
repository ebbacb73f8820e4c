# SPDX-License-Identifier: GPL-2.0-only
"""Which lab.yaml is used where, and what counts as a kernel tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import make_kernel_tree

from orchestrator.model.errors import UserError
from orchestrator.plan.find import Found, find_lab, is_kernel_tree, tree_above


def test_find_lab(lab: Path) -> None:
    deep = lab.parent / "guest-tests/move"
    assert find_lab(deep, {}) == Found(lab)
    assert find_lab(lab.parent, {}) == Found(lab)
    other = lab.parent / "other.yaml"
    other.write_text("")
    assert find_lab(deep, {"LAB_YAML": str(other)}) == Found(other)
    assert find_lab(lab.parent, {"LAB_YAML": "other.yaml"}) == Found(other)
    with pytest.raises(UserError, match="LAB_YAML"):
        find_lab(deep, {"LAB_YAML": "nowhere"})


def test_find_lab_without_one(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_lab(tmp_path, {})
    assert "lab init" in caught.value.hint


def test_a_kernel_tree_without_a_lab_yaml_has_the_labs_own(tmp_path: Path) -> None:
    tree, home = tmp_path / "work" / "linux", tmp_path / "home"
    make_kernel_tree(tree)
    (tree / "mm").mkdir()
    assert find_lab(tree, {}, home) == Found(home / "lab.yaml", tree, tree)
    assert find_lab(tree / "mm", {}, home) == Found(home / "lab.yaml", tree, tree)
    # A file of the user's wins, in the tree or beside it.
    (tree.parent / "lab.yaml").write_text("")
    assert find_lab(tree / "mm", {}, home) == Found(tree.parent / "lab.yaml")
    (tree / "lab.yaml").write_text("")
    assert find_lab(tree / "mm", {}, home) == Found(tree / "lab.yaml")
    with pytest.raises(UserError, match="LAB_YAML"):
        find_lab(tree, {"LAB_YAML": "nowhere"}, home)


def test_where_nothing_of_the_folder_is_needed_the_labs_own_serves(tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    empty.mkdir()
    assert find_lab(empty, {}, home, anywhere=True) == Found(home / "lab.yaml", serves=empty)
    (empty / "lab.yaml").write_text("")
    assert find_lab(empty, {}, home, anywhere=True) == Found(empty / "lab.yaml")


def test_the_tree_that_a_folder_is_in(tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    make_kernel_tree(tree)
    (tree / "mm").mkdir()
    assert tree_above(tree / "mm") == tree
    assert tree_above(tmp_path) is None


def test_what_is_a_kernel_tree(tmp_path: Path) -> None:
    make_kernel_tree(tmp_path)
    assert is_kernel_tree(tmp_path)
    (tmp_path / "Kconfig").rename(tmp_path / "Kconfig.away")
    assert not is_kernel_tree(tmp_path)
    (tmp_path / "Kconfig.away").rename(tmp_path / "Kconfig")
    (tmp_path / "Makefile").write_text("VERSION = 6\nall:\n")
    assert not is_kernel_tree(tmp_path)
    (tmp_path / "Makefile").write_text("\nPATCHLEVEL = 1\nVERSION := $(shell git describe)\n")
    assert not is_kernel_tree(tmp_path)
    (tmp_path / "Makefile").unlink()
    assert not is_kernel_tree(tmp_path)
    assert not is_kernel_tree(tmp_path / "nowhere")
